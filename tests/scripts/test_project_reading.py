"""How much is read of a large project: each file once, and none that cannot matter (#12)."""

import ast
import json
import os
import subprocess
import symtable
import sys
from collections import Counter
from pathlib import Path

import pytest

from projects.large import FOREIGN, write_project
from projects.layouts import write
from projects.setup_door import SCRIPTS
from toolkit.files import memory
from toolkit.project import imports, metadata
from toolkit.project.imports import Module, Resolver
from toolkit.project.read import read_project
from toolkit.project.walk import list_files
from toolkit.queries.code import findings_of

pytestmark = pytest.mark.any_sqlalchemy

FILES = 60
DATABASE = (
    "from sqlalchemy.orm import DeclarativeBase\n\n\nclass Base(DeclarativeBase):\n    pass\n"
)
USERS = (
    "from sqlalchemy.orm import Mapped, mapped_column\n\nfrom app.db import Base\n\n\n"
    "class User(Base):\n    __tablename__ = 'users'\n"
    "    id: Mapped[int] = mapped_column(primary_key=True)\n"
)
MAIN = "from fastapi import FastAPI\n\napp = FastAPI()\n"
FORMS: dict[str, dict[str, str]] = {
    "a child without a column": {
        "app/staff.py": "import app.users as u\nclass Staff(u.User): ...\n"
    },
    "an import under another name": {
        "app/staff.py": "from app.users import User as Person\nclass Staff(Person): ...\n"
    },
    "a variable with another name": {
        "app/names.py": "from app.users import User\nPerson = User\n",
        "app/staff.py": "from app.names import Person\nclass Staff(Person): ...\n",
    },
    "a child of a child": {
        "app/staff.py": "from app.users import User\nclass Staff(User): ...\n",
        "app/boss.py": "from app.staff import Staff\nclass Boss(Staff): ...\n",
    },
    "a base by a function": {
        "app/make.py": "from sqlalchemy.orm import declarative_base as make\n",
        "app/other.py": "from app.make import make\nOther = make()\n",
        "app/thing.py": "from app.other import Other\nclass A(Other):\n    __tablename__ = 'a'\n",
    },
    "an application of a function": {
        "app/main.py": "from app.factory import build\n\napp = build()\n",
        "app/factory.py": "from fastapi import FastAPI\ndef build():\n    return FastAPI()\n",
    },
    "a class of applications": {
        "app/main.py": "from app.service import Service\n\napp = Service()\n",
        "app/service.py": "from fastapi import FastAPI\nclass Service(FastAPI): ...\n",
    },
    "settings by a function": {
        "app/config.py": "class Config:\n    database_url: str = ''\ndef get() -> Config: ...\n",
        "app/run.py": "from app.config import get\n\nactive = get()\n",
    },
    "an engine by another name": {
        "app/tools.py": "from sqlalchemy.ext.asyncio import create_async_engine as make\n",
        "app/engine.py": "from app.tools import make\nfrom app.where import X\nengine = make(X)\n",
        "app/where.py": "import os\nX = os.environ['SHOP_DATABASE_URL']\n",
    },
    "a caller far away": {
        "app/engine.py": "from sqlalchemy import create_engine\ndef open_it(url):\n"
        "    return create_engine(url)\n",
        "app/start.py": "import os\nfrom app.engine import open_it as begin\n"
        "engine = begin(os.environ['SHOP_DATABASE_URL'])\n",
    },
}


@pytest.fixture(autouse=True)
def nothing_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Nothing from another test, neither in this process nor in the cache folder."""
    monkeypatch.setattr(imports, "_PARSED", {})
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / memory.FOLDER


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was parsed."""
    found: Counter[str] = Counter()
    make = imports.Parsed

    def counted(text: str, path: Path) -> imports.Parsed:
        found[str(path)] += 1
        return make(text, path)

    monkeypatch.setattr(imports, "Parsed", counted)
    return found


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that the compiler was asked about."""
    found: list[str] = []
    ask = symtable.symtable

    def noted(text: str, path: str, kind: str) -> symtable.SymbolTable:
        found.append(Path(path).name)
        return ask(text, path, kind)

    monkeypatch.setattr(imports.symtable, "symtable", noted)
    return found


def names(found: Counter[str]) -> set[str]:
    return {Path(name).name for name in found}


def test_each_file_is_parsed_once_and_only_where_it_can_matter(
    tmp_path: Path, parses: Counter[str]
) -> None:
    write_project(tmp_path, FILES)
    project = read_project(tmp_path)
    assert len(project.mapped) == FILES // 10 * 4
    assert not names(parses) & {"rules.py", "client.py", "texts.py", "schemas.py"}
    findings_of(project)
    assert {"reports.py", "repository.py", "service.py", "routes.py"} <= names(parses)
    # A service calls what rules.py has: such a name is followed to where it is from.
    assert not names(parses) & {"client.py", "texts.py", "schemas.py"}
    assert set(parses.values()) == {1}


def test_foreign_folders_are_not_walked(tmp_path: Path) -> None:
    write_project(tmp_path, 10)
    tops = {path.relative_to(tmp_path).parts[0] for path in list_files(tmp_path).python}
    assert tops == {"app", "migrations"}
    assert all(list((tmp_path / place).rglob("*.py")) for place in FOREIGN)


def test_a_shop_with_vendors_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"app/vendor/models.py": "", "app/build.py": "", "vendor/lib/models.py": ""})
    found = [str(path.relative_to(tmp_path)) for path in list_files(tmp_path).python]
    assert found == ["app/build.py", "app/vendor/models.py"]


def test_what_did_not_change_is_not_parsed_again(
    tmp_path: Path, parses: Counter[str], compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path, 100)
    first = read_project(tmp_path)
    # Only for naming what is broken: the sources with statements, and without tables.
    assert "reports.py" in compiled
    assert "reports.py" not in names(parses)
    compiled.clear()
    monkeypatch.setattr(imports, "_PARSED", {})
    assert read_project(tmp_path) == first
    assert not compiled
    changed = tmp_path / "app/part003/reports.py"
    changed.write_text(changed.read_text(encoding="utf-8") + "\ndef broken(:\n", encoding="utf-8")
    monkeypatch.setattr(imports, "_PARSED", {})
    assert [line.split(":")[0] for line in read_project(tmp_path).unreadable] == [
        "app/part003/reports.py"
    ]


def shapes(deep: int) -> dict[str, str]:
    """Sources whose tree has a few more levels than `deep`."""
    return {
        "a sum": f"x = {'1 + ' * deep}1\n",
        "a sum of many lines": f"x = (1{chr(10)}{f' + 1{chr(10)}' * deep})\n",
        "branches": "if a:\n    pass\n" + "elif a:\n    pass\n" * deep,
        "a decorator": f"@{'a.' * deep}b\ndef f(): ...\n",
        "a case": f"match x:\n    case 1 if {'not ' * deep}x:\n        pass\n",
        "a default": f"class A:\n    def f(self, x={'-' * deep}1): ...\n",
        "a handler": f"try:\n    pass\nexcept {'a.' * deep}b:\n    pass\n",
        "one of a line": f"y = {'-' * deep}1; z = 1; w = 2\nq = 1\n",
    }


@pytest.mark.parametrize("name", shapes(0))
def test_a_tree_is_measured_without_a_walk_through_all_of_it(name: str) -> None:
    """What is too deep is told by a walk over what is long; it is as deep as a walk says."""
    for deep in (imports.DEEPEST - 20, imports.DEEPEST + 20):
        text = shapes(deep)[name]
        levels = sum(1 for _ in imports.levels_of([ast.parse(text)]))
        source = imports.Parsed(text, Path("x.py"))
        assert (source.error is not None) == (levels > imports.DEEPEST) == (deep > imports.DEEPEST)


def test_the_statements_are_those_of_all_nodes() -> None:
    """In the same order: the first import of a name counts."""
    texts = [path.read_text() for path in Path(imports.__file__).parents[1].rglob("*.py")]
    for text in (*texts, "try: a\nexcept E: b\nelse: c\nfinally: d\n"):
        source = imports.Parsed(text, Path("x.py"))
        kinds = (ast.Module, *imports.STATEMENTS)
        assert [one for one in source.nodes if isinstance(one, kinds)] == [*source.statements]


def test_the_cache_is_private_and_holds_nothing_of_the_project(
    tmp_path: Path, nothing_known: Path
) -> None:
    write_project(tmp_path, 100)
    read_project(tmp_path)
    (file,) = nothing_known.iterdir()
    assert nothing_known.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600
    keys = json.loads(file.read_text(encoding="ascii"))
    assert len(keys) > 50
    assert all(memory.FINGERPRINT.fullmatch(key) for key in keys)


def test_only_the_last_two_folders_of_the_cache_are_made(tmp_path: Path) -> None:
    """A new account has no `.cache` yet; a home that there is not is nobody's to make."""
    file = tmp_path / ".cache" / memory.FOLDER / "x.json"
    memory.store(file, ["a" * 32])
    assert memory.load(file) == {"a" * 32}
    home = tmp_path / "nobody"
    with pytest.raises(FileNotFoundError):
        memory.store(home / ".cache" / memory.FOLDER / "x.json", ["a" * 32])
    assert not home.exists()


@pytest.mark.parametrize("how", ["folder", "file", "link", "garbage"])
def test_a_cache_that_others_can_change_is_not_used(
    tmp_path: Path, nothing_known: Path, how: str
) -> None:
    file = nothing_known / "x.json"
    memory.store(file, ["a" * 32])
    assert memory.load(file) == {"a" * 32}
    if how == "folder":
        nothing_known.chmod(0o707)
    elif how == "file":
        file.chmod(0o660)
    elif how == "link":
        file.rename(tmp_path / "there.json")
        file.symlink_to(tmp_path / "there.json")
    else:
        file.write_text('{"a": 1', encoding="ascii")
    assert memory.load(file) == frozenset()


def test_a_file_whose_time_was_put_back_is_another(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("a = 1")
    facts, before = file.stat(), memory.fingerprint(file)
    while file.stat().st_ctime_ns == facts.st_ctime_ns:  # a clock that ticks some times a second
        file.write_text("b = 1")
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert file.stat().st_mtime_ns == facts.st_mtime_ns
    assert memory.fingerprint(file) != before


@pytest.mark.parametrize("where", ["a/file", "/dev/null/cache", "/nonexistent/cache"])
def test_without_a_place_for_it_nothing_is_kept_or_said(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"home/a/file": ""})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / where))
    write_project(tmp_path / "project", 100)
    assert read_project(tmp_path / "project").app == "app.main:app"
    assert capsys.readouterr() == ("", "")
    assert not Path("/nonexistent").exists()


def everything(resolver: Resolver, *_: object) -> list[Module]:
    return list(resolver.modules.values())


@pytest.mark.parametrize("form", FORMS)
def test_a_cheap_look_misses_nothing(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same facts as from a reading that parses every file."""
    files = {"requirements.txt": "fastapi\n", "app/__init__.py": "", "app/main.py": MAIN}
    write(tmp_path, {**files, "app/db.py": DATABASE, "app/users.py": USERS, **FORMS[form]})
    base = "app.db:Base"
    found = read_project(tmp_path, base=base)
    with monkeypatch.context() as patched:
        patched.setattr(Resolver, "naming", everything)
        patched.setattr(Resolver, "having", everything)
        patched.setattr(metadata, "with_tables", everything)
        assert read_project(tmp_path, base=base) == found
    assert found.app == "app.main:app"


def test_what_was_read_is_not_looked_through_at_the_end() -> None:
    """Python's last collection goes over every tree of a large project, for nothing (#12)."""
    program = (
        "import atexit, gc; from toolkit.report import interrupt;"
        "atexit.register(lambda: print(len(gc.get_objects()), gc.get_freeze_count()));"
        "kept = [[number] for number in range(100_000)]; interrupt.leave(3)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=SCRIPTS, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3, ended.stderr
    looked_at, frozen = map(int, ended.stdout.split())
    assert 10 * looked_at < frozen
