"""Which classes own tables, and whose."""

import sys
from pathlib import Path

import pytest

from projects import warm
from projects.layouts import write
from toolkit.project import Project, ProjectError, read_project
from toolkit.project.errors import require_decided
from toolkit.project.prove import import_models
from toolkit.report.exits import Exit

MAIN = "from fastapi import FastAPI\n\napp = FastAPI()\n"
ORM = "from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column\n"
ID = "    id: Mapped[int] = mapped_column(primary_key=True)\n"


@pytest.fixture(autouse=True)
def warm_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """What imports the project has SQLAlchemy already, in a process of its own all the same."""
    monkeypatch.setattr(sys, "executable", warm.python())


def read(root: Path, files: dict[str, str], **options: str) -> Project:
    write(root, {"requirements.txt": "fastapi\n", "app/__init__.py": "", "app/main.py": MAIN})
    write(root, files)
    return read_project(root, **options)


def model(name: str, table: str) -> str:
    return f"class {name}(Base):\n    __tablename__ = '{table}'\n\n{ID}"


def tables(project: Project) -> dict[str, str | None]:
    return {item.name: item.table for item in project.models}


def check_against_import(project: Project) -> None:
    """What was read must be what SQLAlchemy says."""
    report = import_models(project, project.model_modules)
    assert report.ok, report
    assert project.base is not None
    read_names = {item.table for item in project.models}
    assert set(report.tables[project.base.reference]) == read_names


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (
            "from sqlalchemy import orm as o\n\n\nclass Base(o.DeclarativeBase):\n    pass\n",
            "declarative",
        ),
        (
            "from sqlalchemy.orm import *\n\n\nclass Base(DeclarativeBase):\n    pass\n",
            "declarative",
        ),
        (
            "from sqlalchemy.orm import declarative_base\n\nBase = declarative_base()\n",
            "declarative_base",
        ),
        (
            "from sqlalchemy.orm import as_declarative\n\nmarks = [lambda one: one]\n\n\n"
            "@marks[0]\nclass Odd:\n    pass\n\n\n@as_declarative()\nclass Base:\n    pass\n",
            "declarative_base",
        ),
        (
            "from abc import ABCMeta\nfrom sqlalchemy.orm import registry\n"
            "from sqlalchemy.orm.decl_api import DeclarativeMeta\n\nreg = registry()\n\n\n"
            "class Odd(metaclass=ABCMeta):\n    pass\n\n\n"
            "class Base(metaclass=DeclarativeMeta):\n    __abstract__ = True\n    registry = reg\n"
            "    metadata = reg.metadata\n    __init__ = reg.constructor\n",
            "declarative_base",
        ),
        (
            "from sqlalchemy.orm import registry\n\nBase = registry().generate_base()\n",
            "declarative_base",
        ),
        (
            "from sqlalchemy.orm import registry\n\nreg = registry()\nBase = reg.generate_base()\n",
            "declarative_base",
        ),
        (
            "from sqlalchemy import MetaData\nfrom sqlalchemy.orm import DeclarativeBase\n\n"
            "shared = MetaData()\n\n\nclass Base(DeclarativeBase):\n    metadata = shared\n",
            "declarative",
        ),
        (
            "from sqlalchemy.orm import DeclarativeBase, MappedAsDataclass\n\n\n"
            "class Plain(MappedAsDataclass):\n    pass\n\n\n"
            "class Base(Plain, DeclarativeBase):\n    pass\n",
            "dataclass",
        ),
    ],
)  # fmt: skip
def test_every_kind_of_base(tmp_path: Path, source: str, kind: str) -> None:
    model = (
        f"{ORM}from app.db import Base\n\n\nclass Item(Base):\n    __tablename__ = 'items'\n\n{ID}"
    )
    project = read(tmp_path, {"app/db.py": source, "app/models.py": model})
    assert project.base is not None
    assert (project.base.kind, project.base.reference) == (kind, "app.db:Base")
    check_against_import(project)


@pytest.mark.any_sqlalchemy
def test_mixins_abstract_and_inheritance(tmp_path: Path) -> None:
    models = f"""{ORM}from sqlalchemy.orm import declared_attr
from sqlalchemy import Column, Integer, Table
from app.db import Base as Root

NAME = "constant_name"


class Mixin:
    created: Mapped[int]


class Named:
    @declared_attr.directive
    def __tablename__(cls) -> str:
        return cls.__name__.lower()


class Abstract(Root):
    __abstract__ = True

{ID}

class AbstractNamed(Named, Abstract):
    __abstract__ = True


class Animal(Abstract, Mixin):
    __tablename__ = "animals"
    __mapper_args__ = {{"polymorphic_on": "kind", "polymorphic_identity": "animal"}}

    kind: Mapped[str]


class Dog(Animal):
    __mapper_args__ = {{"polymorphic_identity": "dog"}}


class Puppy(Dog):
    __mapper_args__ = {{"polymorphic_identity": "puppy"}}


class Computed(AbstractNamed):
    pass


class Ready(Root):
    __table__ = Table("ready", Root.metadata, Column("id", Integer, primary_key=True))


class Readier(Ready):
    pass


class Constant(Abstract):
    __tablename__ = NAME


class NotATable:
    __tablename__ = "never"
"""
    project = read(
        tmp_path,
        {
            "app/db.py": f"{ORM}\n\nclass Base(DeclarativeBase):\n    pass\n",
            "app/models.py": models,
        },
    )
    assert tables(project) == {
        "Animal": "animals",
        "Dog": "animals",
        "Puppy": "animals",
        "Computed": None,
        "Constant": "constant_name",
        "Ready": "ready",
        "Readier": "ready",
    }
    report = import_models(project, project.model_modules)
    assert report.ok, report
    assert report.tables["app.db:Base"] == ("animals", "computed", "constant_name", "ready")
    assert report.classes["app.models:Puppy"] == "animals"


@pytest.mark.any_sqlalchemy
def test_base_through_packages_and_relative_imports(tmp_path: Path) -> None:
    project = read(
        tmp_path,
        {
            "app/db/__init__.py": "from .deep import *\n",
            "app/db/deep/__init__.py": "from .orm import Model as Base\n",
            "app/db/deep/orm.py": f"{ORM}\n\nclass Model(DeclarativeBase):\n    pass\n",
            "app/users/__init__.py": "",
            "app/users/models.py": f"from .. import db\n{ORM}\n\nclass User(db.Base):\n"
            f"    __tablename__ = 'users'\n\n{ID}",
        },
    )
    assert project.base is not None
    assert project.base.reference == "app.db.deep.orm:Model"
    assert project.model_modules == ("app.users.models",)
    check_against_import(project)


@pytest.mark.any_sqlalchemy
def test_core_tables(tmp_path: Path) -> None:
    source = (
        "from sqlalchemy import Column, Integer, MetaData, Table\n\nmetadata = MetaData()\n"
        'items = Table("items", metadata, Column("id", Integer, primary_key=True))\n\n\n'
        'def scratch():\n    return Table("never", metadata)\n'
    )
    project = read(tmp_path, {"app/tables.py": source})
    assert project.base is not None
    assert (project.base.kind, project.base.expression) == ("core", "metadata")
    assert [(item.name, item.table) for item in project.models] == [("items", "items")]
    check_against_import(project)


@pytest.mark.any_sqlalchemy
def test_tables_of_any_form_and_name(tmp_path: Path) -> None:
    source = (
        "from sqlalchemy import MetaData, Table\n\nmetadata = MetaData()\nNAME = 'by_constant'\n"
        "empty = Table('empty', metadata)\nsaid: Table = Table(NAME, metadata)\n\n\n"
        "class Holder:\n    pass\n\n\nHolder.held = Table('held', metadata)\n"
        "listed = [Table('listed', metadata)]\nother: int\n"
    )
    project = read(tmp_path, {"app/tables.py": source})
    assert [(item.name, item.table) for item in project.models] == [
        ("empty", "empty"), ("said", "by_constant"), ("held", "held"), ("listed", "listed"),
    ]  # fmt: skip
    check_against_import(project)


@pytest.mark.any_sqlalchemy
def test_a_class_takes_a_table_that_has_a_name_already(tmp_path: Path) -> None:
    source = (
        f"{ORM}from sqlalchemy import Column, Integer, MetaData, Table\n\n\n"
        "class Base(DeclarativeBase):\n    pass\n\n\n"
        'rows = Table("items", Base.metadata, Column("id", Integer, primary_key=True))\n\n\n'
        "class Item(Base):\n    __table__ = rows\n\n\n"
        f"class Second(Base):\n    __abstract__ = True\n    metadata = MetaData()\n\n\n"
        f"{model('Note', 'notes').replace('Base', 'Second')}"
    )
    project = read(tmp_path, {"app/models.py": source}, base="app.models:Base")
    assert tables(project) == {"rows": "items", "Item": "items"}
    check_against_import(project)
    second = read_project(tmp_path, base="app.models:Second")
    assert tables(second) == {"Note": "notes"}


@pytest.mark.any_sqlalchemy
def test_association_table_belongs_to_the_base(tmp_path: Path) -> None:
    source = (
        f"{ORM}from sqlalchemy import Column, Integer, Table\n\n\n"
        "class Base(DeclarativeBase):\n    pass\n\n\n"
        'links = Table("links", Base.metadata, Column("id", Integer, primary_key=True))\n\n\n'
        f"class Item(Base):\n    __table__ = Table('items', Base.metadata, "
        "Column('id', Integer, primary_key=True))\n"
    )
    project = read(tmp_path, {"app/models.py": source})
    assert tables(project) == {"links": "links", "Item": "items"}
    check_against_import(project)


@pytest.mark.any_sqlalchemy
def test_names_of_one_metadata_are_no_rivals(tmp_path: Path) -> None:
    source = (
        f"{ORM}from sqlalchemy import Column, Integer, MetaData, Table\n\nshared = MetaData()\n\n\n"
        "class Base(DeclarativeBase):\n    metadata = shared\n\n\n"
        "class Other(DeclarativeBase):\n    metadata = shared\n\n\n"
        'links = Table("links", shared, Column("id", Integer, primary_key=True))\n\n\n'
        f"{model('Item', 'items')}\n\n{model('Note', 'notes').replace('Base', 'Other')}"
    )
    project = read(tmp_path, {"app/models.py": source})
    assert [source.reference for source in project.metadata] == ["app.models:Base"]
    assert tables(project) == {"links": "links", "Item": "items", "Note": "notes"}
    check_against_import(project)


@pytest.mark.any_sqlalchemy
def test_mapped_decorator(tmp_path: Path) -> None:
    source = (
        f"{ORM}from sqlalchemy.orm import registry\n\nreg = registry()\n\n\n"
        f"@reg.mapped\nclass Item:\n    __tablename__ = 'items'\n\n{ID}\n\n"
        f"@reg.mapped_as_dataclass\nclass Note:\n    __tablename__ = 'notes'\n\n{ID}"
    )
    project = read(tmp_path, {"app/models.py": source})
    assert project.base is not None
    assert project.base.reference == "app.models:reg"
    check_against_import(project)


@pytest.mark.any_sqlalchemy
def test_a_decorated_class_is_a_model_wherever_its_table_is_named(tmp_path: Path) -> None:
    source = (
        "from elsewhere import Named\nfrom sqlalchemy.orm import registry\n\nreg = registry()\n\n\n"
        "@reg.mapped\nclass Item(Named):\n    pass\n"
    )
    assert tables(read(tmp_path, {"app/models.py": source})) == {"Item": None}


@pytest.mark.any_sqlalchemy
def test_sqlmodel_without_table_name(tmp_path: Path) -> None:
    source = (
        "from sqlmodel import Field, SQLModel\n\n\nclass Shared(SQLModel):\n    name: str\n\n\n"
        "class HeroTeam(Shared, table=True):\n"
        "    id: int | None = Field(default=None, primary_key=True)\n\n\n"
        "class HeroRead(Shared):\n    id: int\n"
    )
    project = read(tmp_path, {"app/models.py": source})
    assert tables(project) == {"HeroTeam": "heroteam"}
    check_against_import(project)


@pytest.mark.any_sqlalchemy
def test_advanced_alchemy_base(tmp_path: Path) -> None:
    source = (
        "from advanced_alchemy.base import UUIDAuditBase\n\n\n"
        "class Author(UUIDAuditBase):\n    __tablename__ = 'authors'\n"
    )
    project = read(tmp_path, {"app/models.py": source})
    assert project.base is not None
    assert project.base.reference == "advanced_alchemy.base:orm_registry"
    assert tables(project) == {"Author": "authors"}


@pytest.mark.any_sqlalchemy
def test_unused_base_is_no_rival(tmp_path: Path) -> None:
    used = f"{ORM}\n\nclass Base(DeclarativeBase):\n    pass\n\n\n{model('A', 'a')}"
    unused = f"{ORM}\n\nclass Old(DeclarativeBase):\n    pass\n"
    project = read(tmp_path, {"app/a.py": used, "app/aa.py": unused})
    assert [source.reference for source in project.metadata] == ["app.a:Base", "app.aa:Old"]


@pytest.mark.any_sqlalchemy
def test_foreign_code_is_not_read(tmp_path: Path) -> None:
    other = f"{ORM}\n\nclass Base(DeclarativeBase):\n    pass\n\n\n{model('X', 'x')}"
    places = [
        ".venv/lib/python3.13/site-packages/x/models.py",
        "env312/models.py",
        "node_modules/x/models.py",
        ".claude/skills/async-sqlalchemy-patterns/templates/models.py",
        "skills/some_skill/models.py",
        "tests/models.py",
        "app/test_models.py",
        "app/conftest.py",
        "alembic/versions/first.py",
        "build/lib/app/models.py",
    ]
    files = dict.fromkeys(places, other)
    files |= {"env312/pyvenv.cfg": "", "skills/some_skill/SKILL.md": "", "alembic/env.py": ""}
    own = other.replace("X(", "Item(").replace("'x'", "'items'")
    project = read(tmp_path, {**files, "app/models.py": own})
    assert [item.name for item in project.mapped] == ["Item"]


@pytest.mark.any_sqlalchemy
def test_syntax_error_matters_only_with_models(tmp_path: Path) -> None:
    project = read(tmp_path, {"app/broken.py": "import fastapi\n\ndef f(:\n"})
    assert len(project.unreadable) == 1
    assert project.unreadable[0].startswith("app/broken.py:3 ")
    write(tmp_path, {"app/broken.py": "class A(Base):\n    __tablename__ = 'a'\n    def f(:\n"})
    project = read_project(tmp_path)  # the rest is read, whoever needs no models goes on (#12)
    with pytest.raises(ProjectError, match=r"app/broken\.py:3") as refused:
        require_decided(project, "models")
    assert refused.value.problem.exit_code == Exit.BROKEN_PROJECT


@pytest.mark.any_sqlalchemy
def test_base_that_only_its_owner_knows(tmp_path: Path) -> None:
    files = {
        "app/db.py": f"{ORM}\n\ndef make_base():\n    class Base(DeclarativeBase):\n        pass\n"
        "    return Base\n\n\nBase = make_base()\n",
        "app/models.py": f"{ORM}from app.db import Base\n\n\nclass Item(Base):\n"
        f"    __tablename__ = 'items'\n\n{ID}",
    }
    unsure = read(tmp_path, files)
    assert unsure.mapped == ()
    assert len(unsure.notes) == 1
    assert "models.py:5 Item" in unsure.notes[0]
    assert "--base" in unsure.notes[0]
    project = read(tmp_path, files, base="app.db:Base")
    assert tables(project) == {"Item": "items"}
    check_against_import(project)


@pytest.mark.any_sqlalchemy
def test_reading_imports_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    evidence = tmp_path / "imported"
    read(
        tmp_path, {"app/models.py": f"open({str(evidence)!r}, 'w')\nraise SystemExit('imported')\n"}
    )
    assert not evidence.exists()
    assert capfd.readouterr() == ("", "")
