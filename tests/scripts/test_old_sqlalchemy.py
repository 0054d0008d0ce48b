"""A SQLAlchemy before 2.0 is one line and exit 6, from all four scripts (#12)."""

import json
from pathlib import Path

import pytest

from projects import warm
from projects.layouts import write
from projects.setup_door import SCRIPTS
from projects.shop import Shop
from toolkit.project.errors import ProjectError
from toolkit.project.old_sqlalchemy import require_new_sqlalchemy
from toolkit.report.exits import Exit

pytestmark = pytest.mark.any_sqlalchemy


@pytest.fixture
def old(library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same for this process."""
    monkeypatch.syspath_prepend(str(library))
    return library


DOORS = {
    "setup-alembic.sh": [],
    "generate-migration.sh": ["x"],
    "test-connection.sh": ["--url-env", "DATABASE_URL"],
    "optimize-queries.sh": ["--layers", "code"],
}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """What the environment finds first: an old SQLAlchemy that nobody may import."""
    folder = tmp_path / "library"
    metadata = "Metadata-Version: 2.1\nName: SQLAlchemy\nVersion: 1.4.54\n"
    write(folder, {"SQLAlchemy-1.4.54.dist-info/METADATA": metadata})
    write(folder, {"sqlalchemy/__init__.py": "raise RuntimeError('it was imported')\n"})
    return folder


@pytest.mark.parametrize("door", DOORS)
def test_one_line_from_each_script(door: str, library: Path, tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    shop.write("requirements.txt", "fastapi\nSQLAlchemy[asyncio]>=1.4,<2  # not yet\n")
    before = shop.files()
    environment = {**shop.environment("sqlite:///x.db"), "PYTHONPATH": str(library)}
    ended = warm.door(
        SCRIPTS / door, "--json", *DOORS[door], cwd=shop.root, environment=environment
    )
    assert ended.returncode == Exit.MISSING_DEPENDENCY, ended.stderr
    line = (
        "SQLAlchemy 1.4.54 is installed, 2.0.58 or newer is needed;"
        " pinned in requirements.txt:2 SQLAlchemy[asyncio]>=1.4,<2"
    )
    refused = json.loads(ended.stdout)
    assert (refused["exit"], refused["message"]) == (6, line)
    assert "Traceback" not in ended.stderr
    assert shop.files() == before


@pytest.mark.parametrize(
    ("file", "text", "pin"),
    [
        ("requirements.txt", "sqlalchemy==1.4.54\n", "1 sqlalchemy==1.4.54"),
        ("requirements/base.txt", "-r x\nSQLAlchemy ~= 1.4\n", "2 SQLAlchemy ~= 1.4"),
        ("pyproject.toml", "[p]\ndependencies = [\n  'sqlalchemy<2',\n]\n", "3 sqlalchemy<2'"),
        ("pyproject.toml", '[tool.poetry.x]\nsqlalchemy = "^1.4"\n', '2 sqlalchemy = "^1.4"'),
        ("pyproject.toml", 'sqlalchemy = {version = "1"}\n', '1 sqlalchemy = {version = "1"}'),
        ("Pipfile", '[packages]\nSQLAlchemy = "<2"\n', '2 SQLAlchemy = "<2"'),
        ("setup.cfg", "install_requires =\n    sqlalchemy (<2)\n", "2 sqlalchemy (<2)"),
        ("requirements.txt", "# sqlalchemy<2\nsqlalchemy-utils==1\nsqlalchemy\n", ""),
    ],
)  # fmt: skip
def test_where_it_is_pinned(file: str, text: str, pin: str, old: Path, tmp_path: Path) -> None:
    write(tmp_path, {"requirements.txt": "sqlalchemy<1.4\n"})  # of who knows what
    write(tmp_path / "project", {".git/HEAD": "", file: text, "app/main.py": ""})
    assert old.is_dir()
    for folder, name in (("project", file), ("project/app", f"{tmp_path}/project/{file}")):
        with pytest.raises(ProjectError) as refused:
            require_new_sqlalchemy(tmp_path / folder)
        message = refused.value.problem.message
        assert message.endswith(f"; pinned in {name}:{pin}" if pin else "; nothing here pins it")


def test_a_package_that_wants_it(old: Path, tmp_path: Path) -> None:
    metadata = "Metadata-Version: 2.1\nName: Old\nVersion: 3\nRequires-Dist: SQLAlchemy<2.0,>=1.4\n"
    write(old, {"old-3.dist-info/METADATA": metadata})
    with pytest.raises(ProjectError, match=r"pinned in Old 3, which asks for SQLAlchemy<2\.0"):
        require_new_sqlalchemy(tmp_path)


def test_a_newer_one_is_no_matter(tmp_path: Path) -> None:
    require_new_sqlalchemy(tmp_path)
