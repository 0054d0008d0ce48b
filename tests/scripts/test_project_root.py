"""Root, import root, package manager, application, Alembic files, missing packages."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from projects.layouts import write
from toolkit.project import ProjectError, read_project
from toolkit.project.commands import alembic_line, program
from toolkit.project.dependencies import install_line, missing_packages, pip_line
from toolkit.report.exits import Exit, exit_code_table
from toolkit.report.quoting import word

pytestmark = pytest.mark.any_sqlalchemy

MAIN = "from fastapi import FastAPI\n\napp = FastAPI()\n"
FACTORY = "from fastapi import FastAPI\n\n\ndef create(title):\n    return FastAPI(title=title)\n"
PROJECT = "[project]\nname = 'x'\n"
INI = "[alembic]\nscript_location = %s\n"


@pytest.mark.parametrize(
    ("files", "import_root", "app"),
    [
        ({"main.py": MAIN}, ".", "main:app"),
        ({"app/main.py": MAIN}, ".", "app.main:app"),
        (
            {
                "app/factory.py": FACTORY,
                "asgi.py": "from app.factory import create\n\napi = create('shop')\n",
            },
            ".",
            "asgi:api",
        ),
        ({"src/main.py": MAIN}, "src", "main:app"),
        ({"src/shop/__init__.py": "", "src/shop/main.py": MAIN}, "src", "shop.main:app"),
        ({"src/shop/main.py": MAIN}, "src", "shop.main:app"),
        ({"app/main.py": MAIN + "import config\n", "app/config.py": ""}, "app", "main:app"),
        (
            {"app/main.py": MAIN + "from app.config import x\n", "app/config.py": ""},
            ".",
            "app.main:app",
        ),
        (
            {"src/main.py": MAIN + "from src.config import x\n", "src/config.py": ""},
            ".",
            "src.main:app",
        ),
        (
            # `alembic/` is a folder of the project, and still not what env.py imports.
            {"app/main.py": MAIN, "alembic/env.py": "from alembic import context\n"},
            ".",
            "app.main:app",
        ),
    ],
)
def test_import_root(tmp_path: Path, files: dict[str, str], import_root: str, app: str) -> None:
    write(tmp_path, {"requirements.txt": "fastapi\n", **files})
    project = read_project(tmp_path)
    assert project.import_root == tmp_path / import_root
    assert project.app == app


@pytest.mark.parametrize(
    ("files", "manager", "dependency_file"),
    [
        ({"requirements.txt": ""}, "pip", "requirements.txt"),
        ({"requirements/base.txt": ""}, "pip", "requirements/base.txt"),
        ({"pyproject.toml": "[tool.black]\n", "requirements.txt": ""}, "pip", "requirements.txt"),
        ({"pyproject.toml": PROJECT, "requirements.txt": ""}, "pip", "pyproject.toml"),
        ({"pyproject.toml": PROJECT, "uv.lock": ""}, "uv", "pyproject.toml"),
        ({"pyproject.toml": "[tool.poetry]\nname = 'x'\n"}, "poetry", "pyproject.toml"),
        ({"pyproject.toml": PROJECT, "pdm.lock": ""}, "pdm", "pyproject.toml"),
        ({"Pipfile": ""}, "pipenv", "Pipfile"),
        ({"setup.cfg": ""}, "pip", "setup.cfg"),
        ({}, "pip", None),
    ],
)
def test_package_manager(
    tmp_path: Path, files: dict[str, str], manager: str, dependency_file: str | None
) -> None:
    write(tmp_path, {"main.py": MAIN, ".git/HEAD": "", **files})
    project = read_project(tmp_path)
    assert project.package_manager == manager
    expected = tmp_path / dependency_file if dependency_file else None
    assert project.dependency_file == expected


def test_lock_file_of_the_workspace(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pyproject.toml": "[tool.uv.workspace]\nmembers = ['api']\n",
            "uv.lock": "",
            "api/pyproject.toml": PROJECT,
            "api/main.py": MAIN,
        },
    )
    project = read_project(tmp_path)
    assert (project.root, project.package_manager) == (tmp_path / "api", "uv")


def test_several_services_are_ambiguous(tmp_path: Path) -> None:
    for name in ("orders", "users"):
        write(tmp_path / name, {"pyproject.toml": PROJECT, "main.py": MAIN})
    with pytest.raises(ProjectError, match="orders, users") as refused:
        read_project(tmp_path)
    assert refused.value.problem.exit_code == Exit.AMBIGUOUS
    assert "--project" in refused.value.problem.remedy
    assert read_project(tmp_path / "users").root == tmp_path / "users"


def test_example_inside_a_project_is_no_rival(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": PROJECT, "app/main.py": MAIN})
    write(tmp_path / "example", {"pyproject.toml": PROJECT, "server.py": MAIN})
    assert read_project(tmp_path).root == tmp_path


def test_only_installed_code_uses_fastapi(tmp_path: Path) -> None:
    hidden = [".venv/lib/x.py", ".agents/skills/x/app.py", "node_modules/x/app.py", "tests/app.py"]
    hidden += ["miniconda/conda-meta/history", "miniconda/lib/fastapi_app.py"]
    hidden += ["{{cookiecutter.name}}/app/main.py"]  # of what is a template for a project (#12)
    write(tmp_path, {"pyproject.toml": PROJECT, **dict.fromkeys(hidden, MAIN)})
    with pytest.raises(ProjectError) as refused:
        read_project(tmp_path)
    assert refused.value.problem.exit_code == Exit.NO_PROJECT


@pytest.mark.parametrize("make", [True, False])
def test_empty_or_missing_folder(tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "nothing"
    if make:
        folder.mkdir()
    with pytest.raises(ProjectError) as refused:
        read_project(folder)
    assert refused.value.problem.exit_code == Exit.NO_PROJECT


@pytest.mark.parametrize(
    ("source", "app", "factory"),
    [
        ("import fastapi\n\nserver: fastapi.FastAPI = fastapi.FastAPI()\n", "main:server", False),
        (
            "from fastapi import FastAPI\n\ndef create_app() -> FastAPI:\n"
            "    made = FastAPI()\n    return made\n",
            "main:create_app",
            True,
        ),
        (
            "from fastapi import FastAPI\n\ndef create_app():\n    return FastAPI()\n\n"
            "application = create_app()\n",
            "main:application",
            False,
        ),
        (
            "from fastapi import FastAPI\n\nclass Own(FastAPI):\n    pass\n\napp = Own()\n",
            "main:app",
            False,
        ),
        ("from fastapi import APIRouter\n\nrouter = APIRouter()\n", None, False),
    ],
)
def test_application(tmp_path: Path, source: str, app: str | None, factory: bool) -> None:
    write(tmp_path, {"requirements.txt": "", "main.py": source})
    project = read_project(tmp_path)
    assert (project.app, project.app_is_factory) == (app, factory)


def test_two_applications_need_the_flag(tmp_path: Path) -> None:
    write(tmp_path, {"requirements.txt": "", "a/main.py": MAIN, "b/main.py": MAIN})
    problem = read_project(tmp_path).undecided["app"]
    assert "a.main:app, b.main:app" in problem.message
    assert problem.exit_code == Exit.AMBIGUOUS
    assert read_project(tmp_path, app="b.main:app").app == "b.main:app"
    assert read_project(tmp_path, app="b.main").app == "b.main:app"
    with pytest.raises(ProjectError) as refused:
        read_project(tmp_path, app="c.main:app")
    assert refused.value.problem.exit_code == Exit.USAGE


@pytest.mark.parametrize(
    ("location", "scripts"),
    [
        ("migrations", "migrations"),
        ("%(here)s/migrations", "migrations"),
        ("app:migrations", "app/migrations"),
        ("app:store:migrations", "app/store/migrations"),
    ],
)
def test_script_location(tmp_path: Path, location: str, scripts: str) -> None:
    env = "from alembic import context\nimport app.models\n"
    write(tmp_path, {"requirements.txt": "", "app/__init__.py": "", "app/main.py": MAIN})
    write(tmp_path, {"alembic.ini": INI % location, f"{scripts}/env.py": env, "app/models.py": ""})
    (setup,) = read_project(tmp_path).alembic
    assert setup.script_location == tmp_path / scripts
    assert setup.env == tmp_path / scripts / "env.py"
    assert setup.versions == (tmp_path / scripts / "versions",)
    assert setup.imported_modules == ("app.models",)
    assert setup.started_in == tmp_path


def test_ini_elsewhere_and_version_folder(tmp_path: Path) -> None:
    ini = INI % "%(here)s/alembic" + "version_locations = %(here)s/history\n"
    write(tmp_path, {"requirements.txt": "", "main.py": MAIN, "deploy/db.ini": ini})
    (setup,) = read_project(tmp_path).alembic
    assert setup.ini == tmp_path / "deploy" / "db.ini"
    assert setup.versions == (tmp_path / "deploy" / "history",)
    assert not setup.env.exists()


def test_pyproject_alembic(tmp_path: Path) -> None:
    toml = PROJECT + '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'
    write(tmp_path, {"pyproject.toml": toml, "main.py": MAIN})
    (setup,) = read_project(tmp_path).alembic
    assert setup.ini == tmp_path / "pyproject.toml"
    # The ini that Alembic makes beside it has no location of its own: still one environment.
    write(tmp_path, {"alembic.ini": "[alembic]\n"})
    (setup,) = read_project(tmp_path).alembic
    assert setup.ini == tmp_path / "alembic.ini"
    # Where both say something, Alembic asks the ini first.
    both = 'version_locations = "%(here)s/in_toml"\n'
    write(tmp_path, {"pyproject.toml": toml + both})
    write(tmp_path, {"alembic.ini": "[alembic]\nversion_locations = %(here)s/in_ini\n"})
    (setup,) = read_project(tmp_path).alembic
    assert setup.script_location == tmp_path / "migrations"
    assert setup.versions == (tmp_path / "in_ini",)


def test_special_ini_beside_the_usual_one_is_no_rival(tmp_path: Path) -> None:
    write(tmp_path, {"requirements.txt": "", "main.py": MAIN})
    write(tmp_path, {"alembic.ini": INI % "m", "quiet.ini": INI % "m", "tox.ini": "[tox]\n"})
    (setup,) = read_project(tmp_path).alembic
    assert setup.ini == tmp_path / "alembic.ini"
    (setup,) = read_project(tmp_path, ini="quiet.ini").alembic
    assert setup.ini == tmp_path / "quiet.ini"
    with pytest.raises(ProjectError) as refused:
        read_project(tmp_path, ini="tox.ini")
    assert refused.value.problem.exit_code == Exit.USAGE


def test_create_all_is_noticed(tmp_path: Path) -> None:
    source = MAIN + "\nasync def start(c):\n    await c.run_sync(Base.metadata.create_all)\n"
    write(tmp_path, {"requirements.txt": "", "main.py": source, "test_x.py": source})
    assert read_project(tmp_path).create_all == (f"{tmp_path}/main.py:6",)


def test_missing_packages_follow_the_scheme(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": PROJECT, "uv.lock": "", "main.py": MAIN})
    project = read_project(tmp_path)
    everything = dict.fromkeys(project.versions, "1.0")
    assert missing_packages(replace(project, versions=everything)) == ()
    bare = replace(project, versions={**dict.fromkeys(everything), "sqlalchemy": "2.1.9"})
    assert missing_packages(bare) == ("sqlalchemy[asyncio]", "alembic", "asyncpg")
    assert missing_packages(bare, "mysql")[-1] == "aiomysql"
    assert missing_packages(bare, "sqlite+aiosqlite")[-1] == "aiosqlite"
    assert missing_packages(bare, "postgresql+psycopg")[-1] == "psycopg"
    mentioned = replace(bare, schemes=("sqlite", "mysql+asyncmy", "mysql"))
    assert missing_packages(mentioned)[-2:] == ("aiosqlite", "asyncmy")
    # A driver that is named says more than a URL elsewhere that names none.
    later = replace(bare, schemes=("mysql", "mysql+asyncmy"))
    assert missing_packages(later)[-1] == "asyncmy"
    only_psycopg = {**everything, "asyncpg": None}
    assert missing_packages(replace(project, versions=only_psycopg), "postgresql") == ()


@pytest.mark.parametrize(
    ("manager", "line"),
    [
        ("uv", "uv add asyncpg"),
        ("poetry", "poetry add asyncpg"),
        ("pdm", "pdm add asyncpg"),
        ("pipenv", "pipenv install asyncpg"),
        ("pip", "python -m pip install asyncpg"),
    ],
)
def test_install_line(
    tmp_path: Path, manager: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    write(tmp_path, {"requirements.txt": "", "main.py": MAIN})
    project = read_project(tmp_path)
    versions = {**dict.fromkeys(project.versions, "1"), "asyncpg": None, "psycopg": None}
    project = replace(project, versions=versions, package_manager=manager)  # type: ignore[arg-type]
    assert install_line(project, missing_packages(project, "postgresql")) == line


def test_a_program_is_named_so_that_whoever_reads_it_gets_the_project_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Active, by name; else by the path that is found (#16)."""
    bin_ = Path(sys.executable).parent
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    monkeypatch.setenv("PATH", "/nowhere")
    assert (program("python"), program("alembic")) == ("python", "alembic")
    monkeypatch.delenv("VIRTUAL_ENV")
    monkeypatch.chdir(tmp_path)
    assert program("alembic") == word(bin_ / "alembic")
    assert pip_line(["a"]) == f"{word(sys.executable)} -m pip install a"
    monkeypatch.chdir(bin_.parent)
    assert program("alembic") == "bin/alembic"
    monkeypatch.setenv("PATH", str(bin_))
    assert program("alembic") == "alembic"
    # Nothing is installed into a Python that its distribution looks after (PEP 668).
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    assert "venv" not in pip_line(["a"]).replace(str(bin_), "")
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    assert pip_line(["a"]) == "python -m venv .venv && .venv/bin/python -m pip install a"


def test_into_an_environment_of_ones_own_pip_may_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the Python that it is made of is the distribution's (PEP 668)."""
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    assert sys.prefix != sys.base_prefix
    assert pip_line(["a"]) == "python -m pip install a"


def test_alembic_is_run_by_a_package_manager_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container has the environment, and often no uv: that line would not run (#12)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    env = {"alembic/env.py": "from alembic import context\n", "alembic.ini": INI % "alembic"}
    write(tmp_path, {"pyproject.toml": PROJECT, "uv.lock": "", "main.py": MAIN, **env})
    project = read_project(tmp_path)
    for found, line in (("/usr/bin/uv", "uv run alembic heads"), (None, "alembic heads")):
        monkeypatch.setattr("shutil.which", lambda _name, found=found: found)
        assert alembic_line(project, project.alembic[0], ["heads"]) == line


def test_what_the_dependency_file_lists_is_not_added_again(tmp_path: Path) -> None:
    listed = PROJECT + 'dependencies = ["sqlalchemy[asyncio]", "Alembic>=1"]\n'
    write(tmp_path, {"pyproject.toml": listed, "uv.lock": "", "main.py": MAIN})
    project = read_project(tmp_path)
    assert install_line(project, ["sqlalchemy[asyncio]", "alembic"]) == "uv sync"
    assert install_line(project, ["alembic", "asyncpg"]) == "uv add alembic asyncpg"
    plain = listed.replace("sqlalchemy[asyncio]", "sqlalchemy")
    write(tmp_path, {"pyproject.toml": plain})
    line = install_line(read_project(tmp_path), ["sqlalchemy[asyncio]"])
    assert line == "uv add 'sqlalchemy[asyncio]'"
    # No `-e .`: setuptools finds no package any more beside a new folder of migrations.
    (tmp_path / "uv.lock").unlink()
    write(tmp_path, {"pyproject.toml": listed})
    by_name = install_line(read_project(tmp_path), ["sqlalchemy[asyncio]", "alembic"])
    assert by_name.endswith("-m pip install 'sqlalchemy[asyncio]' alembic")


def test_exit_codes_are_distinct_and_listed() -> None:
    codes = [int(code) for code in Exit]
    assert len(codes) == len(set(codes)) == len(Exit.__members__)
    assert all(f"{code.value:>3}  {code.meaning}" in exit_code_table() for code in Exit)
