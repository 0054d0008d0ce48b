"""The edits, as text in and text out."""

import ast
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import alembic
import pytest

from projects.setup_door import SCRIPTS
from toolkit.project import read_project
from toolkit.project.facts import MetadataSource, UrlSource
from toolkit.project.reach import reachable
from toolkit.setup.application import with_lifespan
from toolkit.setup.changes import FileChange, unified_diff
from toolkit.setup.dependencies import (
    ALEMBIC,
    SQLALCHEMY,
    CannotEditError,
    drivers_for,
    needed_for_scaffold,
    old_fastapi,
    outdated,
    with_requirements,
)
from toolkit.setup.env_file import Wanted, gives_no_metadata, plan_env, with_imports
from toolkit.setup.ini import option, render_ini, with_import_root
from toolkit.setup.settings_block import (
    BlockError,
    EnvFile,
    first_name,
    modules_of,
    render_block,
    with_modules,
)

pytestmark = pytest.mark.any_sqlalchemy

TEMPLATES = SCRIPTS.parent / "templates"
BOTH = [SQLALCHEMY, ALEMBIC]
LINES = [requirement.line for requirement in BOTH]


@pytest.mark.parametrize(
    "text",
    [
        '[project]\nname = "x"\ndependencies = []\n',
        '[project]\nname = "x"\ndependencies = ["fastapi"]\n',
        '[project]\nname = "x"\ndependencies = ["fastapi",]\n',
        '[project]\ndependencies = [\n    "fastapi[all]>=0.1",  # a ] in a comment\n]\n',
        '[project]\ndependencies = [\n  "fastapi",\n  "uvicorn; python_version < \'4\'"\n]\n'
        "\n[tool.x]\na = 1\n",
        '[project]\nname = "x"\n\n[tool.x]\ndependencies = ["other"]\n',
        '[project]\r\ndependencies = [\r\n    "fastapi",\r\n]\r\n',
    ],
)
def test_a_list_of_dependencies_grows_and_nothing_else_changes(text: str) -> None:
    after = with_requirements("pyproject.toml", text, BOTH)
    old, new = tomllib.loads(text), tomllib.loads(after)
    assert new["project"].pop("dependencies") == [
        *old["project"].pop("dependencies", []),
        *LINES,
    ]
    assert new == old
    kept = [line for line in text.splitlines() if line not in after.splitlines()]
    assert len(kept) <= 1  # a list on one line, or a comma behind the last item
    assert "\r\r" not in after


def test_poetry_pipfile_and_requirements() -> None:
    poetry = (
        '[tool.poetry]\nname = "x"\n\n[tool.poetry.dependencies]\npython = "^3.11"\n\n[a]\nb=1\n'
    )
    new = tomllib.loads(with_requirements("pyproject.toml", poetry, BOTH))
    assert new["tool"]["poetry"]["dependencies"]["sqlalchemy"] == {
        "version": ">=2.1.9",
        "extras": ["asyncio"],
    }
    assert new["a"] == {"b": 1}
    pipfile = with_requirements("Pipfile", '[packages]\nfastapi = "*"\n', BOTH)
    assert tomllib.loads(pipfile)["packages"]["alembic"].startswith(">=")
    assert with_requirements("requirements.txt", "fastapi", BOTH) == "\n".join(
        ["fastapi", *LINES, ""]
    )
    windows = with_requirements("requirements.txt", "fastapi\r\nuvicorn", BOTH)
    assert windows == "\r\n".join(["fastapi", "uvicorn", *LINES, ""])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("setup.py", "setup()"),
        ("pyproject.toml", '[project]\nname = "x"\ndynamic = ["dependencies"]\n'),
        ("pyproject.toml", "[tool.black]\n"),
        ("pyproject.toml", 'project = { name = "x", dependencies = ["a"] }\n'),
    ],
)
def test_a_form_that_cannot_be_edited_is_refused(name: str, text: str) -> None:
    with pytest.raises(CannotEditError):
        with_requirements(name, text, BOTH)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("FastAPI()", "FastAPI(lifespan=lifespan)"),
        ("FastAPI(title='x')", "FastAPI(title='x', lifespan=lifespan)"),
        ("FastAPI(title='ü',)", "FastAPI(title='ü', lifespan=lifespan)"),
        (
            "FastAPI(\n    title='x',\n    debug=True\n)",
            "FastAPI(\n    title='x',\n    debug=True,\n    lifespan=lifespan,\n)",
        ),
        (
            "FastAPI(\n    title='x',  # name\n)",
            "FastAPI(\n    title='x',  # name\n    lifespan=lifespan,\n)",
        ),
    ],
)
def test_the_application_gets_its_lifespan(call: str, expected: str) -> None:
    text = f"from fastapi import FastAPI\n\napp = {call}\nx = 1\n"
    after = with_lifespan(text, "app", "app.db.session_manager")
    assert after == (
        "from fastapi import FastAPI\n\nfrom app.db.session_manager import lifespan\n\n"
        f"app = {expected}\nx = 1\n"
    )
    assert with_lifespan(after, "app", "app.db.session_manager") == after
    windows = with_lifespan(text.replace("\n", "\r\n"), "app", "app.db.session_manager")
    assert windows == after.replace("\n", "\r\n")


@pytest.mark.parametrize(
    "text",
    [
        "app = FastAPI(lifespan=mine)\n",
        "app = FastAPI(**options)\n",
        "app = FastAPI(on_startup=[start])\n",
        "app = make()\n",
        "app = FastAPI()\n@app.on_event('startup')\ndef f(): ...\n",
        "async def lifespan(app): ...\napp = FastAPI()\n",
    ],
)
def test_an_application_that_is_not_simple_is_left_alone(text: str) -> None:
    text = f"from fastapi import FastAPI\n{text}"
    assert with_lifespan(text, "app", "app.db.session_manager") is None


def test_a_block_is_python_and_can_be_read_back() -> None:
    base = MetadataSource("declarative", "shop.orm", "Base", None, 1)
    url = UrlSource("settings", "shop.settings:get_settings().dsn")
    block = render_block(("shop.a", "shop.b"), [base], url)
    names = [getattr(node, "name", "") for node in ast.parse(block).body]
    assert names == ["", "load_metadata", "database_url"]
    assert modules_of(block) == ("shop.a", "shop.b")
    longer = with_modules(block, ("shop.a", "shop.b", "shop.c"))
    assert longer is not None
    assert longer.replace('    "shop.c",\n', "") == block
    assert "from shop.settings import get_settings" in block


def test_two_bases_of_one_name_are_told_apart() -> None:
    bases = [
        MetadataSource(kind, module, name, None, 1)
        for kind, module, name in (
            ("declarative", "shop.orm", "Base"),
            ("declarative", "users.orm", "Base"),
            ("core", "shop.tables", "metadata"),
        )
    ]
    block = render_block((), bases, UrlSource("environment", "env:X"))
    assert "    from shop.orm import Base as Base_1\n" in block
    assert "    from users.orm import Base as Base_2\n" in block
    assert "    return [Base_1.metadata, Base_2.metadata, metadata]\n" in block


def test_the_template_has_a_block_and_round_trips() -> None:
    text = (TEMPLATES / "env.py").read_text()
    found = EnvFile.parse(text)
    assert found is not None
    assert found.text() == text
    assert modules_of(found.block) == ("app.models",)
    assert EnvFile.parse(text.replace("# -- end of project settings --", "")) is None


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_module_that_is_gone_leaves_the_block(tmp_path, newline: str) -> None:
    """env.py would stop at its import. Its line ends stay, and are no difference by themselves."""
    base = "from sqlalchemy.orm import DeclarativeBase as D\n\n\nclass Base(D):\n    pass\n"
    model = "from base import Base\n\n\nclass Note(Base):\n    __tablename__ = 'notes'\n"
    (tmp_path / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
    (tmp_path / "base.py").write_text(base)
    (tmp_path / "notes.py").write_text(model)
    project = read_project(tmp_path)
    assert project.base is not None
    template = (TEMPLATES / "env.py").read_text()
    ours = EnvFile.parse(template)
    assert ours is not None
    url = UrlSource("environment", "env:DATABASE_URL")
    earlier = render_block(("gone", *project.model_modules), [project.base], url)
    env = tmp_path / "env.py"
    env.write_text(ours.with_block(earlier).text(), newline=newline)
    wanted = Wanted(project.model_modules, url, explicit=False)
    plan = plan_env(env, template, project, wanted, None, force=False)
    after = ours.with_block(earlier.replace('    "gone",\n', "")).text()
    assert plan.change.after == after.replace("\n", newline)
    env.write_text(after, newline=newline)
    plan = plan_env(env, template, project, wanted, None, force=False)
    assert plan.change.after == plan.change.before
    env.write_text(f"{after}# mine\n", newline=newline)
    plan = plan_env(env, template, project, wanted, None, force=True)
    assert "# mine" not in plan.change.after
    assert plan.change.after.count("\n") == plan.change.after.count(newline)


@pytest.mark.parametrize("expression", ["1 + 1", "f'x'", "a b", "[x][0]", ""])
def test_only_names_can_be_imported(expression: str) -> None:
    with pytest.raises(BlockError):
        first_name(expression)


def test_imports_are_added_behind_the_last_one() -> None:
    text = "import os\n\nfrom app.db import Base\n\nx = Base\n"
    after = with_imports(text, ["app.models.a", "models"])
    assert after.splitlines()[:3] == text.splitlines()[:3]
    assert after.endswith("# noqa: E402, F401\n\nx = Base\n")
    names = {
        alias.asname
        for node in ast.parse(after).body
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert names == {None, "_app_models_a", "_models"}
    windows = with_imports(text.replace("\n", "\r\n"), ["models"])
    assert windows.count("\n") == windows.count("\r\n")
    assert with_imports("import os", ["models"]).startswith("import os\n\n# Added by")


def test_a_patch_is_what_git_applies_where_a_last_line_does_not_end(tmp_path) -> None:
    files = {"a.ini": ("one\ntwo", "one\nthree"), "new.ini": (None, "new"), "b.ini": ("x\n", "y\n")}
    changes = [
        FileChange(tmp_path / name, before, after, "") for name, (before, after) in files.items()
    ]
    for change in changes:
        if change.before is not None:
            change.path.write_text(change.before)
    patch = unified_diff(changes, tmp_path)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=patch, text=True, check=True)
    assert {name: (tmp_path / name).read_text() for name in files} == {
        name: after for name, (_, after) in files.items()
    }


def test_a_persons_ini_gets_one_line(tmp_path) -> None:
    ini = "[alembic]\nscript_location = app/alembic\n# more\n"
    after = with_import_root(ini, tmp_path / "alembic.ini", tmp_path / "src")
    assert option(after, "prepend_sys_path") == "src"
    assert with_import_root(after, tmp_path / "alembic.ini", tmp_path) == after
    windows = with_import_root(ini.replace("\n", "\r\n"), tmp_path / "alembic.ini", tmp_path)
    assert windows.count("\n") == windows.count("\r\n") == 5
    several = f"[other]\nscript_location = elsewhere\n{ini}"
    after = with_import_root(several, tmp_path / "alembic.ini", tmp_path)
    assert option(after, "prepend_sys_path") == "."
    assert option(after, "prepend_sys_path", "other") is None
    modern = ini + "path_separator = os\n"
    after = with_import_root(modern, tmp_path / "alembic.ini", tmp_path)
    assert option(after, "prepend_sys_path") == "%(here)s"


def test_the_template_ini_follows_the_layout(tmp_path) -> None:
    template = (TEMPLATES / "alembic.ini").read_text()
    text = render_ini(template, tmp_path / "alembic.ini", tmp_path / "db mig", tmp_path / "src")
    assert option(text, "script_location") == "%(here)s/db mig"
    assert option(text, "prepend_sys_path") == "%(here)s/src"
    assert "sqlalchemy.url" not in text


@pytest.mark.parametrize(
    ("version", "old"),
    [("1.4.54", True), ("2.0.57", True), ("2.0.58", False), ("2.1.0", True), ("2.1.9", False)],
)
def test_an_old_sqlalchemy_is_said(version: str, old: bool, tmp_path) -> None:
    (tmp_path / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
    project = replace(read_project(tmp_path), versions={"sqlalchemy": version})
    assert (outdated(project) is not None) == old


def test_what_the_scaffold_needs_and_the_file_does_not_list(tmp_path) -> None:
    (tmp_path / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
    (tmp_path / "requirements.txt").write_text("fastapi\nalembic\nsqlalchemy\n")
    project = read_project(tmp_path)
    both = {"asyncpg": "0.31", "aiosqlite": "0.22"}
    for versions, drivers in (({}, ["asyncpg"]), (both, ["asyncpg"])):
        found = replace(project, versions=versions)
        assert [one.name for one in drivers_for(found)] == drivers
        assert [one.name for one in needed_for_scaffold(found)] == [*drivers, "greenlet"]
    spoken = replace(project, schemes=("mysql", "sqlite"), versions=both)
    assert [one.name for one in drivers_for(spoken)] == ["aiomysql", "aiosqlite"]
    (tmp_path / "requirements.txt").write_text("fastapi\nsqlalchemy[asyncio]\npsycopg\n")
    found = replace(read_project(tmp_path), versions={})
    assert [one.line for one in needed_for_scaffold(found)] == [ALEMBIC.line]
    for version, old in (("0.121.0", True), ("0.121.1", False), ("0.122", False), ("", False)):
        said = old_fastapi(replace(project, versions={"fastapi": version}))
        assert (said is not None) == old


def test_what_an_import_brings_along(tmp_path) -> None:
    files = {
        "app/__init__.py": "",
        "app/models/__init__.py": "from . import user\nfrom .deep import *\n",
        "app/models/user.py": "",
        "app/models/deep.py": "if True:\n    from ..other import x\n",
        "app/other.py": "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from app.types import T\n",
        "app/types.py": "",
        "app/lonely.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert reachable([tmp_path], ["app.models"]) == {
        "app",
        "app.models",
        "app.models.user",
        "app.models.deep",
        "app.other",
    }


def test_an_env_as_alembic_init_leaves_it_gives_no_metadata() -> None:
    template = Path(alembic.__file__).parent / "templates" / "async" / "env.py"
    text = template.read_text()
    assert gives_no_metadata(text)
    filled = "from app.models import Base\ntarget_metadata = Base.metadata"
    assert not gives_no_metadata(text.replace("target_metadata = None", filled))
    # Somebody pasted the line above the template's own, which has the last word (#12).
    assert gives_no_metadata(
        text.replace("config =", "target_metadata = Base.metadata\nconfig =", 1)
    )
    assert not gives_no_metadata(text.replace("metadata=target_metadata", "metadata=app.metadata"))
    assert not gives_no_metadata("run(my_own)")
