"""What stops a run: one message, the flag that settles it, its own exit code, no change."""

import asyncio
import json
import os
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from projects import warm
from projects.layouts import Layout
from projects.setup_door import SCRIPTS, alembic, environment, setup, tree

pytestmark = pytest.mark.any_sqlalchemy

Factory = Callable[[str], Layout]
SQLITE = "sqlite+aiosqlite:///nowhere.db"


@pytest.mark.parametrize(
    ("name", "arguments", "code", "words"),
    [
        ("no_fastapi", [], 3, "--project DIR"),
        ("two_bases", [], 4, "--base MODULE:NAME"),
        ("two_inis", [], 4, "--ini FILE"),
        ("failing_import", [], 5, "app/models/note.py"),
        ("fresh", [], 10, "--scaffold"),
        ("app", ["--scaffold", "app.db"], 2, "leave --scaffold out"),
        ("fresh", ["--scaffold", "app.main"], 2, "app/main.py is a module"),
        ("fresh", ["--scaffold", "9lives"], 2, "no package name"),
        ("app", ["--base", "app.db.base"], 2, "--base"),
        ("app", ["--url-from", "env:1 2"], 2, "--url-from"),
        ("app", ["--url-from", "app.config:settings; import os"], 2, "no Python expression"),
        ("app", ["--ini", "other.ini"], 2, "--ini"),
        ("app", ["--project", "does/not/exist"], 2, "--project"),
        ("app", ["--no-such-flag"], 2, "--no-such-flag"),
    ],
)
def test_a_refusal_has_its_code_and_names_the_way_out(
    name: str, arguments: list[str], code: int, words: str, project_factory: Factory
) -> None:
    layout = project_factory(name)
    before = tree(layout.directory)
    ended = setup(layout.directory, *arguments, url=SQLITE)
    assert ended.code == code, ended.err
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert "hunter2secret" not in ended.err + ended.out
    assert tree(layout.directory) == before


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("two_bases", ["--base", "app.billing:BillingBase"]),
        ("two_inis", ["--ini", "deploy/alembic.ini", "--force"]),
    ],
)
def test_the_flag_settles_it(name: str, flags: list[str], project_factory: Factory) -> None:
    layout = project_factory(name)
    ended = setup(layout.directory, "--json", "--no-prove", *flags, url=SQLITE)
    assert ended.code == 0, ended.err


def test_json_has_the_refusal_too(project_factory: Factory) -> None:
    ended = setup(project_factory("two_bases").directory, "--json", url=SQLITE)
    assert ended.code == ended.document["exit"] == 4
    assert ended.document["status"] == "refused"
    assert "--base" in ended.document["remedy"]


def test_a_failed_proof_puts_everything_back(project_factory: Factory) -> None:
    layout = project_factory("app")
    model = layout.root / "app/models/note.py"
    # It imports; the database refuses it when the table is made.
    model.write_text(
        model.read_text() + "\n\nclass Bad(Base):\n"
        '    __tablename__ = "bad"\n    id: Mapped[int] = mapped_column(primary_key=True)\n'
        "    much: Mapped[int] = mapped_column(\n"
        '        server_default=sqlalchemy.text("(1")\n    )\n'
    )
    model.write_text("import sqlalchemy\n" + model.read_text())
    before = tree(layout.directory)
    ended = setup(layout.directory, url=SQLITE)
    assert ended.code == 8, ended.err
    assert "Nothing was changed" in ended.err
    assert tree(layout.directory) == before


def test_seed_48_a_missing_package_has_its_install_line(
    project_factory: Factory, tmp_path: Path
) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    for name, line in (
        ("app", "uv add 'sqlalchemy[asyncio]' alembic"),
        ("src", "poetry add 'sqlalchemy[asyncio]' alembic"),
    ):
        layout = project_factory(name)
        before = tree(layout.directory)
        ended = setup(layout.directory, url=SQLITE, VIRTUAL_ENV=str(tmp_path / "bare"))
        assert ended.code == 6, ended.err
        assert line in ended.err
        assert tree(layout.directory) == before


def test_a_hand_written_ini_or_env_without_the_other_is_not_overwritten(
    project_factory: Factory,
) -> None:
    layout = project_factory("app")
    (layout.root / "migrations").mkdir()
    (layout.root / "migrations/env.py").write_text("from alembic import context\n# mine\n")
    before = tree(layout.directory)
    ended = setup(layout.directory, url=SQLITE)
    assert ended.code == 7
    assert "migrations/env.py" in ended.err
    assert tree(layout.directory) == before
    assert not (layout.root / "alembic").exists()  # no second, unused environment


MINE = """
from alembic import context
from sqlalchemy import create_engine

from app.db import Base


def mine(item, name, kind, reflected, compare_to):
    return name != "spatial_ref_sys"


def options(dialect):
    return {"version_table": "app_version", "compare_type": True}


more = {"render_item": lambda *_: False}
more["user_module_prefix"] = "t."
more.update(include_schemas=False)

with create_engine("sqlite://").connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=mine,
        **options("sqlite"),
        **more,
        **context.config.attributes,
    )
    with context.begin_transaction():
        context.run_migrations()
"""


def test_each_option_of_an_env_py_is_named_before_it_is_replaced(
    project_factory: Factory,
) -> None:
    layout = project_factory("app")
    env = layout.root / "alembic" / "env.py"
    env.parent.mkdir()
    env.write_text(MINE)
    lines = MINE.splitlines()
    lost = [
        f"alembic/env.py:{lines.index(line) + 1} {words} is not carried over"
        for line, words in (
            (lines[12], "version_table='app_version'"),
            ('more = {"render_item": lambda *_: False}', "render_item=lambda *_: False"),
            ('more["user_module_prefix"] = "t."', "user_module_prefix='t.'"),
            ("more.update(include_schemas=False)", "include_schemas=False"),
            ("        include_object=mine,", "include_object=mine"),
            ("        **context.config.attributes,", "**context.config.attributes"),
        )
    ]
    refused = setup(layout.root, url=SQLITE)
    assert refused.code == 7
    forced = setup(layout.root, "--force", url=SQLITE)
    assert forced.code == 0, forced.err
    for output in (refused.err, forced.err, forced.out):
        assert [line for line in lost if line not in output] == [], output
        assert output.count("is not carried over") == len(lost), "compare_type is ours as well"
    (kept,) = [line[5:] for line in forced.out.splitlines() if line.startswith("kept ")]
    assert (layout.root / kept).read_text() == MINE
    # What is replaced the next time is compared with the template: a person's line in it.
    text = env.read_text().replace(
        '"include_schemas": bool', '"version_table": "v",\n"include_schemas": bool'
    )
    env.write_text(text)
    again = setup(layout.root, "--force", "--dry-run", url=SQLITE)
    assert again.out.count("is not carried over") == 1
    assert "version_table='v'" in again.out


def test_seed_46_a_password_with_every_awkward_character_is_never_printed(
    project_factory: Factory,
) -> None:
    layout = project_factory("app")
    url = "postgresql+asyncpg://dev:hunter2%25%40%3A%2F%23secret@127.0.0.1:1/shop"
    ended = setup(layout.directory, url=url)
    assert ended.code == 0, ended.err
    everything = ended.out + ended.err
    for path in layout.root.rglob("*"):
        everything += path.read_text() if path.is_file() else ""
    assert "hunter2" not in everything


def test_env_py_says_which_variable_is_not_set(project_factory: Factory) -> None:
    layout = project_factory("flat")
    (layout.root / "database.py").write_text(
        (layout.root / "database.py")
        .read_text()
        .replace('os.environ["DATABASE_URL"]', '"sqlite+aiosqlite://"')
    )
    assert setup(layout.root, "--url-from", "env:SHOP_DSN", "--no-prove").code == 0
    ended = alembic(layout.root / "alembic.ini", "current", url=SQLITE)
    assert ended.code != 0
    assert "the environment variable SHOP_DSN is not set" in ended.err


def test_create_all_is_reported_with_its_line(project_factory: Factory) -> None:
    layout = project_factory("app")
    main = layout.root / "app/main.py"
    main.write_text(main.read_text() + "\n\nasync def start(c):\n    c(Base.metadata.create_all)\n")
    line = main.read_text().splitlines().index("    c(Base.metadata.create_all)") + 1
    ended = setup(layout.root, "--dry-run", url=SQLITE)
    assert f"app/main.py:{line} creates tables" in ended.out
    assert "alembic stamp head" in ended.out


@pytest.mark.dialects("sqlite", "postgresql")
def test_a_database_with_tables_gets_the_stamp_instructions(
    project_factory: Factory, database_url: str
) -> None:
    layout = project_factory("app")

    async def fill() -> None:
        engine = create_async_engine(database_url)
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE items (id INTEGER, name VARCHAR(9))"))
            await connection.execute(text("INSERT INTO items VALUES (1, 'kept')"))
        await engine.dispose()

    async def rows() -> list[str]:
        engine = create_async_engine(database_url)
        async with engine.connect() as connection:
            found = list(await connection.scalars(text("SELECT name FROM items")))
        await engine.dispose()
        return found

    asyncio.run(fill())
    ended = setup(layout.root, "--check-database", "--no-prove", "--json", url=database_url)
    assert ended.code == 0, ended.err
    (note,) = [note for note in ended.document["notes"] if "own database" in note]
    assert "has tables (items) and no alembic_version" in note
    assert "alembic stamp head" in note
    assert asyncio.run(rows()) == ["kept"]


def test_ctrl_c_leaves_nothing(project_factory: Factory) -> None:
    layout = project_factory("app")
    before = tree(layout.directory)
    with subprocess.Popen(
        ["bash", str(SCRIPTS / "setup-alembic.sh")],
        cwd=layout.root,
        env={**environment(SQLITE), **warm.environment()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "proving it on" in line:
                os.killpg(process.pid, 2)
                break
        process.stderr.read()
        assert process.wait(120) == 130
    assert tree(layout.directory) == before


def test_killed_while_it_proves_the_next_run_goes_on(project_factory: Factory) -> None:
    layout = project_factory("app")
    with subprocess.Popen(
        ["bash", str(SCRIPTS / "setup-alembic.sh")],
        cwd=layout.root,
        env={**environment(SQLITE), **warm.environment()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "proving it on" in line:
                process.kill()
                break
        process.stderr.read()  # until it is gone
    again = setup(layout.root, "--json", url=SQLITE)
    assert again.code == 0, again.err
    assert "an earlier run was killed" in again.err
    assert "put back as they were" in again.err
    # What was not proved was not kept.
    assert again.document["status"] == "done"
    assert again.document["proof"]["tables"] == ["items", "notes"]
    assert json.dumps(sorted(tree(layout.root))).count("journal") == 0
