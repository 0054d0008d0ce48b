"""A project without a database layer: one command, then models and endpoints."""

import shlex
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from projects import warm
from projects.layouts import Layout, write
from projects.setup_door import SCRIPTS, alembic, environment, generate, setup, tree
from toolkit.project import read_project
from toolkit.project.dependencies import missing_packages
from toolkit.project.facts import UrlSource
from toolkit.report.exits import Exit
from toolkit.setup.application import with_lifespan
from toolkit.setup.backups import FOLDER
from toolkit.setup.plan import reads_dotenv

Factory = Callable[[str], Layout]

MODEL = """

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base_model import BaseModel


class Customer(BaseModel):
    __tablename__ = "customers"

    name: Mapped[str] = mapped_column(String(200), unique=True)
"""

ENDPOINTS = """

from app.db.models import Customer
from app.db.session_manager import DbSession


@app.post("/customers", status_code=201)
async def create(name: str, session: DbSession) -> dict[str, str]:
    customer = Customer(name=name)
    session.add(customer)
    await session.flush()
    return {"id": str(customer.id), "name": customer.name}


@app.get("/customers")
async def names(session: DbSession) -> list[str]:
    return [customer.name for customer in await Customer.get_all(session)]
"""

REQUESTS = """
import asyncio, httpx
from app.main import app

async def main():
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            made = await client.post("/customers", params={"name": "Ada"})
            print(made.status_code, (await client.get("/customers")).json())

asyncio.run(main())
"""

TEST = """
import httpx

async def test_two(client: httpx.AsyncClient) -> None:
    assert (await client.post("/customers", params={"name": "Bob"})).status_code == 201
    assert sorted((await client.get("/customers")).json()) == ["Ada", "Bob"]
"""


@pytest.mark.sweep(every=3)
@pytest.mark.dialects("postgresql", "sqlite", "mysql")
@pytest.mark.older_sqlalchemy_on("postgresql")
def test_after_one_command_only_models_and_endpoints_are_missing(
    project_factory: Factory, dialect: str, database_url: str
) -> None:
    layout = project_factory("fresh")
    if dialect == "sqlite":
        before = tree(layout.root)
        dry = setup(layout.root, "--scaffold", "app.db", "--dry-run", url=database_url)
        assert dry.code == 0, dry.err
        assert tree(layout.root) == before

    first = setup(layout.root, "--scaffold", "app.db", "--json", url=database_url)
    assert first.code == 0, first.err
    assert any("no tables yet" in note for note in first.document["notes"])
    if dialect == "sqlite":
        after = tree(layout.root)
        again = setup(layout.root, "--scaffold", "app.db", "--no-prove", "--json", url=database_url)
        assert again.document["status"] == "nothing-to-do", again.out
        assert tree(layout.root) == after

    models, main = layout.root / "app/db/models.py", layout.root / "app/main.py"
    models.write_text(models.read_text() + MODEL)
    main.write_text(main.read_text() + ENDPOINTS)
    proved = setup(layout.root, "--json", url=database_url)
    assert proved.code == 0, proved.err
    assert proved.document["status"] == "nothing-to-do"
    assert proved.document["proof"]["tables"] == ["customers"]
    ini = layout.root / "alembic.ini"
    for arguments in (["revision", "--autogenerate", "-m", "customers"], ["upgrade", "head"]):
        ended = alembic(ini, *arguments, url=database_url)
        assert ended.code == 0, ended.err
    ran = subprocess.run(
        [warm.python(), "-W", "error", "-c", REQUESTS],
        cwd=layout.root,
        env=environment(database_url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout == "201 ['Ada']\n", ran.stderr
    (layout.root / "tests/test_customers.py").write_text(TEST)
    options = ["-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    tested = subprocess.run(
        [warm.python(), "-m", "pytest", *options],
        cwd=layout.root,
        env=environment(database_url),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "1 passed" in tested.stdout, tested.stdout + tested.stderr


@pytest.mark.any_sqlalchemy
def test_what_is_written_is_shown_and_only_adds(project_factory: Factory) -> None:
    layout = project_factory("fresh")
    file = layout.root / "pyproject.toml"
    main = layout.root / "app/main.py"
    old, old_main = tomllib.loads(file.read_text()), main.read_text()
    ended = setup(layout.root, "--scaffold", "app.db", "--no-prove", url="sqlite+aiosqlite:///x.db")
    assert ended.code == 0, ended.err
    new = tomllib.loads(file.read_text())
    extra = new["project"]["dependencies"][len(old["project"]["dependencies"]) :]
    new["project"]["dependencies"] = old["project"]["dependencies"]
    assert new == old
    assert [line.split(">=")[0] for line in extra] == [
        "sqlalchemy[asyncio]",
        "alembic",
        "aiosqlite",
    ]
    for line in extra:
        assert f"+{line}" in ended.out or f'"{line}"' in ended.out
    added = [line for line in main.read_text().splitlines() if line not in old_main.splitlines()]
    assert added == [
        "from app.db.session_manager import lifespan",
        "app = FastAPI(title=settings.app_name, lifespan=lifespan)",
    ]


@pytest.mark.any_sqlalchemy
def test_only_the_driver_of_the_database_in_use_is_needed(
    project_factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scaffold names every driver; none but the project's own is to be installed."""
    layout = project_factory("fresh")
    url = "mysql+aiomysql://me@db/shop"
    assert setup(layout.root, "--scaffold", "app.db", "--no-prove", url=url).code == 0
    bare = dict.fromkeys(("sqlalchemy", "greenlet", "alembic", "fastapi"), "2.1.9")
    monkeypatch.setenv("DATABASE_URL", url)
    assert missing_packages(replace(read_project(layout.root), versions=bare)) == ("aiomysql",)
    monkeypatch.delenv("DATABASE_URL")
    (layout.root / ".env").write_text("DATABASE_URL='sqlite:///x.db'\n")
    assert missing_packages(replace(read_project(layout.root), versions=bare)) == ("aiosqlite",)
    (layout.root / ".env").unlink()
    project = replace(read_project(layout.root), versions=bare | {"asyncpg": "0.31"})
    assert missing_packages(project) == ()
    assert project.notes == ()


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("before", "place"),
    [
        (["import os", "", "from fastapi import FastAPI"], [3, 4]),
        (["from fastapi import FastAPI", "", "from app.a import x", "from app.z import y"], [3]),
        (["from fastapi import FastAPI", "", "from app.a import x"], [3]),
    ],
)
def test_the_import_goes_where_a_sorter_puts_it(before: list[str], place: list[int]) -> None:
    text = "\n".join([*before, "", "", "app = FastAPI()", ""])
    after = with_lifespan(text, "app", "app.db.session_manager")
    assert after is not None
    lines = after.splitlines()
    assert lines[place[-1]] == "from app.db.session_manager import lifespan"
    assert [line for number, line in enumerate(lines) if number not in place] == [
        line.replace("FastAPI()", "FastAPI(lifespan=lifespan)") for line in text.splitlines()
    ]


@pytest.mark.any_sqlalchemy
def test_the_projects_settings_object_is_used(project_factory: Factory) -> None:
    layout = project_factory("fresh")
    config = layout.root / "app/config.py"
    config.write_text(
        "from pydantic import SecretStr\n"
        + config.read_text().replace(
            'app_name: str = "fresh"', 'app_name: str = "fresh"\n    database_url: SecretStr'
        )
    )
    url = "sqlite+aiosqlite:///x.db"
    ended = setup(layout.root, "--scaffold", "app.data.store", "--no-prove", "--json", url=url)
    assert ended.code == 0, ended.err
    # From another folder that has no DATABASE_URL of its own: only the settings know it.
    code = (
        "from app.config import settings; from pydantic import SecretStr;"
        "settings.database_url = SecretStr('postgresql://me:pw@db/shop');"
        "from app.data.store.session_manager import database_config as c;"
        "print(c().url.render_as_string(), c().pool_size)"
    )
    ran = subprocess.run(
        [warm.python(), "-c", code],
        cwd=layout.root,
        env=environment(url, DATABASE_POOL_SIZE="7"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "postgresql+asyncpg://me:***@db/shop 7\n", ran.stderr


@pytest.mark.any_sqlalchemy
def test_files_that_a_person_changed_are_kept(project_factory: Factory) -> None:
    layout = project_factory("fresh")
    url = "sqlite+aiosqlite:///x.db"
    assert setup(layout.root, "--scaffold", "app.db", "--no-prove", url=url).code == 0
    base, sessions = (
        layout.root / f"app/db/{name}.py" for name in ("base_model", "session_manager")
    )
    first = sessions.read_text()
    base.write_text(base.read_text() + "\n# mine\n")
    mine = base.read_text()
    again = setup(layout.root, "--scaffold", "app.db", "--no-prove", "--json", url=url)
    assert again.document["status"] == "nothing-to-do"
    assert base.read_text() == mine
    # What the first run wrote is not told to be another's (#16).
    assert [note for note in again.document["notes"] if "differs" in note or "already" in note] == [
        "app/db/base_model.py differs from the template; it is left as it is"
    ]
    assert setup(layout.root, "--scaffold", "app.db", "--no-prove", "--force", url=url).code == 0
    (backup,) = (layout.root / FOLDER).glob("*/app/db/base_model.py")
    assert backup.read_text() == mine
    assert sessions.read_text() == first


@pytest.mark.any_sqlalchemy
def test_packages_that_are_not_installed_are_in_the_file_and_in_the_message(
    project_factory: Factory, tmp_path: Path
) -> None:
    import venv

    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    layout = project_factory("fresh")
    bare, url = str(tmp_path / "bare"), "sqlite+aiosqlite:///x.db"
    ended = setup(layout.root, "--scaffold", "app.db", url=url, VIRTUAL_ENV=bare)
    assert ended.code == 6, ended.err
    assert "python -m pip install 'sqlalchemy[asyncio]' alembic aiosqlite" in ended.err
    assert "sqlalchemy[asyncio]" in (layout.root / "pyproject.toml").read_text()
    assert (layout.root / "alembic/env.py").exists()
    # Installed, the same command goes on.
    again = setup(layout.root, "--scaffold", "app.db", "--json", url=url)
    assert again.code == 0, again.err
    assert again.document["status"] == "nothing-to-do"


@pytest.mark.any_sqlalchemy
def test_a_look_at_a_project_without_a_layer_is_no_refusal(project_factory: Factory) -> None:
    """What is there, what is missing, and the next command (#16)."""
    layout = project_factory("fresh")
    before = tree(layout.root)
    looked = setup(layout.root, "--dry-run")
    assert looked.code == 0, looked.err
    assert "base         none yet" in looked.out
    assert "--scaffold PACKAGE" in looked.out
    line = looked.out.splitlines()[-1]
    bash, door, *words = shlex.split(line.removeprefix("next: "))
    assert (bash, Path(door), *words) == (
        "bash",
        SCRIPTS / "setup-alembic.sh",
        "--scaffold",
        "app.db",
    )
    assert tree(layout.root) == before
    document = setup(layout.root, "--dry-run", "--json").document
    assert (document["status"], document["exit"]) == ("no-database-layer", 0)
    # The same without --dry-run has nothing that it could set up.
    assert setup(layout.root).code == 10
    followed = setup(layout.root, *words, "--no-prove", url="sqlite+aiosqlite:///x.db")
    assert followed.code == 0, followed.err
    assert len(followed.out.splitlines()) <= 60  # whoever reads it pays for each line
    # And the next one, too soon: the env.py of this skill stops, which is no fault of it (#12).
    early = generate(layout.root, "what changes", url="sqlite+aiosqlite:///x.db")
    assert early.code == Exit.NO_CHANGES, early.err
    assert "Write models on app.db.base_model:Base" in early.err


@pytest.mark.any_sqlalchemy
def test_every_database_of_a_project_gets_its_driver(project_factory: Factory) -> None:
    """And a FastAPI that commits too late, or tests that are there, are said (#16)."""
    layout = project_factory("fresh")
    (layout.root / ".env.example").write_text("DATABASE_URL=postgresql+asyncpg://u@db/shop\n")
    (layout.root / "tests").mkdir(exist_ok=True)
    (layout.root / "tests" / "conftest.py").write_text("import pytest\n")
    ended = setup(layout.root, "--scaffold", "app.db", "--no-prove", url="sqlite+aiosqlite:///x.db")
    assert ended.code == 0, ended.err
    listed = (layout.root / "pyproject.toml").read_text()
    assert "aiosqlite>=" in listed
    assert "asyncpg>=" in listed
    assert "tests/conftest.py is not written" in ended.out
    again = setup(
        layout.root, "--scaffold", "app.db", "--no-prove", "--json", url="sqlite+aiosqlite:///x.db"
    )
    assert again.document["changes"] == []


def test_a_url_in_a_dotenv_is_found_by_alembic_and_the_application(
    project_factory: Factory,
) -> None:
    """Where the scripts find it, they do, too: not "DATABASE_URL is not set" (#13)."""
    layout = project_factory("fresh")
    file = layout.root / ".env"
    file.write_text(f"DATABASE_URL=sqlite+aiosqlite:///{layout.root}/found.db\n")
    done = setup(layout.root, "--scaffold", "app.db", "--no-prove")
    assert done.code == 0, done.err
    alembic_ran, application = (
        subprocess.run(
            [warm.python(), *arguments],
            cwd=layout.root,
            env=environment(None),
            capture_output=True,
            text=True,
            check=False,
        )
        for arguments in (
            ("-m", "alembic", "upgrade", "head"),
            (
                "-c",
                "from app.db.session_manager import database_config; print(database_config().url)",
            ),
        )
    )
    assert alembic_ran.returncode == 0, alembic_ran.stderr
    assert (layout.root / "found.db").exists()
    assert application.stdout.strip().endswith("found.db"), application.stderr


@pytest.mark.any_sqlalchemy
def test_a_dotenv_that_nothing_reads_is_said(project_factory: Factory) -> None:
    layout = project_factory("fresh")
    (layout.root / ".env").write_text("DATABASE_URL=sqlite+aiosqlite:///x.db\n")
    project = read_project(layout.root)
    url = UrlSource("environment", "env:DATABASE_URL")
    assert reads_dotenv(project, url) == (True, [])
    bare = replace(project, versions={**project.versions, "python-dotenv": None})
    (note,) = reads_dotenv(bare, url)[1]
    assert ".env has DATABASE_URL, and nothing here reads it: install python-dotenv" in note
    assert reads_dotenv(bare, UrlSource("environment", "env:OTHER_URL")) == (False, [])


@pytest.mark.any_sqlalchemy
def test_env_py_reads_a_hosted_url_as_the_application_does(
    tmp_path: Path, make_database: Callable[[str], str]
) -> None:
    """Else migrations run and the service does not, or the other way round (#13)."""
    project = tmp_path
    (project / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
    (project / "requirements.txt").write_text("fastapi\nsqlalchemy[asyncio]\nalembic\nasyncpg\n")
    url = make_database("postgresql")
    made = setup(project, "--scaffold", "db", "--no-prove", url=url)
    assert made.code == 0, made.err
    for parameters, code, words in (
        ("pgbouncer=true&sslmode=disable", 0, ""),
        ("sslmode=require&sslcert=/none.pem&sslkey=/none.pem", 255, "sslcert or sslkey"),
        ("promise=1", 255, "promise"),
    ):
        ended = alembic(project / "alembic.ini", "current", url=f"{url}?{parameters}")
        assert (ended.code == 0) == (code == 0), ended.err
        assert words in ended.out + ended.err
    again = setup(project, url=url)
    assert "nothing to do" in again.out, again.out


@pytest.mark.any_sqlalchemy
def test_the_fixtures_say_where_pytest_finds_the_application(tmp_path: Path) -> None:
    """A bare `pytest` has only the folder of the tests on its path (#16)."""
    main = "from fastapi import FastAPI\n\napp = FastAPI()\n"
    write(tmp_path, {"requirements.txt": "", "src/shop/__init__.py": "", "src/shop/main.py": main})
    url = "sqlite+aiosqlite:///x.db"
    assert setup(tmp_path, "--scaffold", "shop.db", "--no-prove", url=url).code == 0
    assert 'pythonpath = ["src"]\n' in (tmp_path / "tests" / "conftest.py").read_text()
