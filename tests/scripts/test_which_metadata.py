"""Which metadata is meant is what env.py hands to Alembic, whatever else the source has (#12)."""

import json
from pathlib import Path

import pytest

from projects.setup_door import setup
from projects.shop import ADDRESS, Shop
from toolkit.migration.situation import with_metadata_of_env
from toolkit.project import Project, read_project
from toolkit.project.errors import ProjectError, require_decided
from toolkit.project.reach import unimported_models
from toolkit.report.exits import Exit

pytestmark = pytest.mark.any_sqlalchemy

BASES = """
from sqlalchemy import Column, Integer, MetaData, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, registry


class Other(DeclarativeBase):
    pass


class Second(Other):
    __tablename__ = "second"
    id: Mapped[int] = mapped_column(primary_key=True)


elsewhere = MetaData()
events = Table("events", elsewhere, Column("n", Integer))
reg = registry()


@reg.mapped
class Third:
    __tablename__ = "third"
    id: Mapped[int] = mapped_column(primary_key=True)


def get_metadata():
    from app.db import Base

    return Base.metadata


def put_together(*several):
    combined = MetaData()
    for metadata in several:
        for table in metadata.tables.values():
            table.to_metadata(combined)
    return combined
"""
BASE, OTHER, CORE, REG = "app.db:Base", "app.more:Other", "app.more:elsewhere", "app.more:reg"
# What env.py hands over (what it needs above that, then the value), and what that is.
FORMS: dict[str, tuple[str, str, set[str]]] = {
    "one base": ("", "Base.metadata", {BASE}),
    "a list": ("from app.more import Other", "[Base.metadata, Other.metadata]", {BASE, OTHER}),
    "a tuple": ("from app.more import elsewhere", "(elsewhere, Base.metadata)", {BASE, CORE}),
    "a Core MetaData": ("from app.more import elsewhere", "elsewhere", {CORE}),
    "a registry": ("from app.more import reg", "reg.metadata", {REG}),
    "a variable": ("wanted = [Base.metadata]", "wanted", {BASE}),
    "a dotted name": ("import app.more", "app.more.Other.metadata", {OTHER}),
    "a module's alias": ("import app.more as m", "m.Other.metadata", {OTHER}),
    "a re-export": ("from app.exports import Model", "Model.metadata", {OTHER}),
    "another module's variable": ("from app.exports import metadata", "metadata", {OTHER}),
    "a model": ("from app.more import Second", "Second.metadata", {OTHER}),
    "a function": ("from app.more import get_metadata", "get_metadata()", {BASE}),
    "a function of env.py": (
        "def which():\n    return Base.metadata",
        "which()",
        {BASE},
    ),
    "a function that is given them": (
        "from app.more import Other, put_together",
        "put_together(Base.metadata, Other.metadata)",
        {BASE, OTHER},
    ),
    "put together here": (
        "from sqlalchemy import MetaData\nfrom app.more import Other\nmerged = MetaData()\n"
        "for base in (Base, Other):\n    for table in base.metadata.tables.values():\n"
        "        table.to_metadata(merged)",
        "merged",
        {BASE, OTHER},
    ),
    "by the name of a database": (
        "from app.more import Other\nall_of_them = {'a': Base.metadata, 'b': Other.metadata}",
        "all_of_them.get('a')",
        {BASE, OTHER},
    ),
    "one or the other": (
        "from app.more import Other\nimport os",
        "Base.metadata if os.environ.get('X') else Other.metadata",
        {BASE, OTHER},
    ),
}


def shop_with(root: Path, imports: str, value: str) -> Shop:
    shop = Shop(root)
    shop.write("app/more.py", BASES)
    shop.write(
        "app/exports.py", "from app.more import Other as Model\n\nmetadata = Model.metadata\n"
    )
    shop.edit("alembic/env.py", "\n\ndef run(", f"\n{imports}\n\n\ndef run(")
    shop.edit("alembic/env.py", "target_metadata=Base.metadata", f"target_metadata={value}")
    shop.remove_environment()
    return shop


@pytest.mark.parametrize("name", FORMS)
def test_what_env_py_hands_over(name: str, tmp_path: Path) -> None:
    imports, value, meant = FORMS[name]
    project = read_project(shop_with(tmp_path, imports, value).root)
    assert set(project.meant) == {one.reference for one in project.bases} == meant
    assert project.base is not None
    assert project.base.reference in meant
    assert {item.metadata for item in project.models} == meant
    assert project.undecided == {}
    (line,) = project.choices["base"]
    for reference in {BASE, OTHER, CORE, REG} - meant:
        assert f"{reference} (1 mapped class)" in line


@pytest.mark.parametrize(
    ("imports", "value", "meant"),
    [
        ("import importlib\nm = importlib.import_module('app.more')", "m.Other.metadata", {OTHER}),
        (
            "import importlib\ntarget_metadata = importlib.import_module('app.more').elsewhere",
            "target_metadata",
            {CORE},
        ),
        ("def wanted():\n    return vars()", "vars(Base)['metadata']", {BASE}),
    ],
)
def test_what_only_its_run_tells(imports: str, value: str, meant: set[str], tmp_path: Path) -> None:
    shop = shop_with(tmp_path, imports, value)
    shop.edit("alembic/env.py", "from app.db import DATABASE_URL, Base", "from app.db import *")
    project = read_project(shop.root)
    if "Base" not in value:
        assert "base" in project.undecided
        with pytest.raises(ProjectError) as refused:
            require_decided(project, "base")
        assert refused.value.problem.exit_code == Exit.AMBIGUOUS
        assert OTHER in refused.value.problem.message
    project = with_metadata_of_env(project) if project.undecided else project
    assert set(project.meant) == meant
    require_decided(project, "base")


def test_setup_asks_env_py_and_has_nothing_to_do(tmp_path: Path) -> None:
    shop = shop_with(
        tmp_path, "import importlib\nb = importlib.import_module('app.db').Base", "b.metadata"
    )
    shop.edit("alembic/env.py", "from app.db import DATABASE_URL, Base", "")
    shop.edit("alembic/env.py", "DATABASE_URL)", repr(ADDRESS["sqlite"]) + ")")
    shop.add_first()
    before = shop.files()
    ended = setup(shop.root, "--json", url=ADDRESS["sqlite"])
    assert ended.code == 0, ended.err
    assert ended.document["status"] == "nothing-to-do"
    assert ended.document["project"]["bases"] == [BASE]
    assert shop.files() == before


def generated(shop: Shop) -> Project:
    ended = shop.generate("things", "--json")
    assert ended.code == 0, ended.err + ended.out
    made = json.loads(ended.out)
    text = Path(made["file"]).read_text()
    assert '"users"' in text or "'users'" in text
    for table in ("second", "events", "third"):
        assert (f"'{table}'" in text) == (table == "second")
    return read_project(shop.root)


@pytest.mark.parametrize("form", ["a list", "put together here"])
def test_a_migration_for_several(form: str, tmp_path: Path) -> None:
    imports, value, meant = FORMS[form]
    assert set(generated(shop_with(tmp_path, imports, value)).meant) == meant


def test_a_table_that_is_dropped_belongs_here(tmp_path: Path) -> None:
    """What env.py leaves out may be another database's; a table that the history made is not."""
    shop = shop_with(tmp_path, "", "Base.metadata")
    shop.add_first()
    shop.add_revision("more", "first", 'op.create_table("second", sa.Column("id", sa.Integer()))')
    ended = shop.generate("things", "--json")
    assert ended.code == Exit.MODELS_MISSING
    refused = json.loads(ended.out)
    assert "second" in refused["message"]
    assert refused["details"] == ["app/more.py:9 class Second (table second)"]
    # Its owner may say that it is meant.
    ended = shop.generate("things", "--json", "--base", BASE)
    assert ended.code == 0, ended.out


@pytest.mark.parametrize("arguments", [["things"], ["--check"]])
def test_a_foreign_key_to_a_model_that_env_py_leaves_out(
    arguments: list[str], tmp_path: Path
) -> None:
    """Alembic names the key; what is missing is the import."""
    shop = Shop(tmp_path)
    shop.remove_environment()
    owner = (
        "class Owner(Base):\n    __tablename__ = 'owners'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
    )
    head = "from sqlalchemy.orm import Mapped, mapped_column\nfrom app.db import Base\n\n\n"
    shop.write("app/owners.py", f"{head}{owner}")
    shop.edit("app/models.py", "import String", "import ForeignKey, String")
    key = '    owner: Mapped[int | None] = mapped_column(ForeignKey("owners.id"))\n'
    shop.write("app/models.py", (shop.root / "app/models.py").read_text() + key)
    ended = shop.generate("--json", *arguments)
    assert ended.code == Exit.MODELS_MISSING
    refused = json.loads(ended.out)
    assert refused["details"] == ["app/owners.py:5 class Owner (table owners)"]
    assert "import app.owners" in refused["remedy"]
    if arguments == ["things"]:  # "or let setup-alembic.sh write that"
        assert setup(shop.root).code == 0
        assert shop.generate(*arguments).code == 0


def test_a_class_of_a_single_table_has_none_to_lose(tmp_path: Path) -> None:
    """Where env.py imports its parent."""
    shop = Shop(tmp_path)
    lines = "from app.models import User\n\n\nclass Guest(User):\n    pass\n"
    shop.write("app/guests.py", lines)
    project = read_project(shop.root)
    assert "app.guests" in {one.module for one in project.models}
    assert unimported_models(project, project.alembic[0]) == ()
    shop.write("app/guests.py", lines.replace("pass", "__tablename__ = 'guests'"))
    project = read_project(shop.root)
    assert [one.name for one in unimported_models(project, project.alembic[0])] == ["Guest"]
