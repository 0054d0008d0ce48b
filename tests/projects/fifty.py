"""Projects from a table of what strangers' projects do differently, combined in pairs (#12).

`DIMENSIONS` is the table; `ROWS` are fifty combinations of it that nobody chose. `write` makes the
project of a row. What is right about one is not said here: Alembic is asked, in that project.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import alembic

from projects import layouts, pairs, sources
from projects.fifty_urls import URLS

MAKO = Path(alembic.__file__).with_name("templates") / "generic" / "script.py.mako"
DIMENSIONS: dict[str, tuple[str, ...]] = {
    "url": tuple(URLS),
    "models": (
        "one module",
        "a module each",
        "by feature",
        "collected",
        "sqlmodel",
        "dataclasses",
        "old base",
        "tables",
        "mixins",
        "registry",
    ),
    "application": (
        "plain",
        "factory",
        "in the package",
        "lifespan",
        "two, mounted",
        "script",
        "class",
        "setup.py",
    ),
    "manager": ("pip", "uv", "poetry", "pdm", "pipenv", "setuptools"),
    "place": ("root", "backend", "package", "migrations", "pyproject", "both"),
    "notation": ("relative", "here", "package", "nested", "several", "old separator"),
    "section": ("alembic", "named", "default"),
    "engine": ("from config", "made", "imported", "given or made", "options"),
    "metadata": ("base", "models", "list", "two", "walked", "object", "function"),
    "mode": ("async", "sync"),
    "state": ("agrees", "differs", "two heads", "no revision"),
}


def allowed(row: pairs.Row) -> bool:
    """Whether there can be such a project; `row` may lack choices."""
    place, section, notation = row.get("place"), row.get("section"), row.get("notation")
    if place in {"pyproject", "both"} and section not in {None, "alembic"}:
        return False  # [tool.alembic] has no other name
    if place == "pyproject" and row.get("url", "").startswith("ini"):
        return False  # there is no ini
    if place == "pyproject" and row.get("engine") in {"from config", "options"}:
        return False  # its section of the ini is what these read
    if place == "migrations" and notation in {"package", "nested"}:
        return False  # the ini lies in the folder of env.py
    if place == "package" and notation == "nested":
        return False
    if row.get("models") == "sqlmodel" and row.get("metadata") == "two":
        return False  # SQLModel has one
    if row.get("models") == "tables" and row.get("metadata") in {"base", "walked"}:
        return False  # without a class there is no base
    return not (row.get("url", "").startswith("ini") and row.get("engine") == "imported")


ROWS = pairs.rows(DIMENSIONS, 50, allowed)


@dataclass(frozen=True)
class Made:
    """A project of the table."""

    root: Path
    """Where scripts and `alembic` are called."""
    ini: Path
    section: str
    variables: dict[str, str]
    versions: Path

    @property
    def alembic(self) -> list[str]:
        """What stands behind `alembic` to mean this set-up."""
        words = [] if self.ini.parent == self.root else ["-c", str(self.ini)]
        return words + (["-n", self.section] if self.section != "alembic" else [])


def title(row: pairs.Row) -> str:
    return ", ".join(row[name] for name in DIMENSIONS)


def write(directory: Path, row: pairs.Row) -> Made:
    root = directory / "backend" if row["place"] == "backend" else directory
    if row["place"] == "backend":
        layouts.write(directory, {"web/package.json": "{}\n", "README.md": "# The whole\n"})
    scheme = "sqlite+aiosqlite" if row["mode"] == "async" else "sqlite"
    address = URLS[row["url"]](scheme, root)
    files = {"app/__init__.py": "", **_requirements(row["manager"]), **address.files}
    files |= _database(row, address.imports, address.expression)
    files |= _models(row["models"], two=row["metadata"] == "two")
    files |= _application(row["application"])
    ini, scripts, versions, options = _ini(row)
    section = row["section"] if row["section"] == "alembic" else "core"
    section = "alembic" if row["section"] == "default" else section
    for name, text in _written(row, ini, section, options, address.url_in_ini).items():
        files[name] = files.get(name, "") + text
    files[f"{scripts}/env.py"] = _env(row, address.imports, address.expression)
    files[f"{scripts}/script.py.mako"] = _mako(row["models"])
    files |= {f"{versions}/{name}": text for name, text in _revisions(row).items()}
    if row["notation"] in {"several", "old separator"}:
        files[f"{scripts}/more/.gitkeep"] = ""
    layouts.write(root, files)
    return Made(root, root / ini, section, address.variables, root / versions)


def _mako(models: str) -> str:
    """Alembic writes the types of SQLModel by their full name, and does not import it."""
    text = MAKO.read_text(encoding="utf-8")
    more = "import sqlmodel\n" if models == "sqlmodel" else ""
    return text.replace("import sqlalchemy as sa\n", f"import sqlalchemy as sa\n{more}")


def _requirements(manager: str) -> dict[str, str]:
    wanted = ["fastapi", "sqlalchemy[asyncio]", "alembic", "aiosqlite"]
    listed = ", ".join(f'"{one}"' for one in wanted)
    project = f'[project]\nname = "shop"\nversion = "0"\ndependencies = [{listed}]\n'
    poetry = 'fastapi = "*"\nsqlalchemy = { version = "^2.0", extras = ["asyncio"] }\n'
    poetry += 'alembic = "^1.16"\naiosqlite = "*"\n'
    build = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    return {
        "pip": {"requirements.txt": "\n".join(wanted) + "\n"},
        "uv": {"pyproject.toml": project + "\n[tool.uv]\npackage = false\n", "uv.lock": ""},
        "poetry": {
            "pyproject.toml": '[tool.poetry]\nname = "shop"\nversion = "0"\ndescription = ""\n'
            f'authors = []\n\n[tool.poetry.dependencies]\npython = "^3.11"\n{poetry}',
            "poetry.lock": "",
        },
        "pdm": {"pyproject.toml": project + "\n[tool.pdm]\ndistribution = false\n", "pdm.lock": ""},
        "pipenv": {"Pipfile": f"[packages]\n{poetry.replace('^2.0', '*').replace('^1.16', '*')}"},
        "setuptools": {"pyproject.toml": project + "\n" + build},
    }[manager]


def _database(row: pairs.Row, imports: str, expression: str) -> dict[str, str]:
    """The base and the engine, in modules of their own."""
    base = {
        "sqlmodel": "from sqlmodel import SQLModel as Base\n",
        "dataclasses": "from sqlalchemy.orm import DeclarativeBase, MappedAsDataclass\n\n\n"
        "class Base(MappedAsDataclass, DeclarativeBase):\n    pass\n",
        "old base": "from sqlalchemy.orm import declarative_base\n\nBase = declarative_base()\n",
        "tables": "from sqlalchemy import MetaData\n\nmetadata = MetaData()\n",
        "registry": "from sqlalchemy.orm import registry\n\nmapper_registry = registry()\n"
        "Base = mapper_registry.generate_base()\n",
    }.get(row["models"], sources.BASE)
    if row["models"] != "tables":
        base += "\n\nmetadata = Base.metadata\n"
    maker = "create_async_engine" if row["mode"] == "async" else "create_engine"
    of = "sqlalchemy.ext.asyncio" if row["mode"] == "async" else "sqlalchemy"
    session = (
        "from sqlalchemy.ext.asyncio import async_sessionmaker as sessionmaker\n"
        if row["mode"] == "async"
        else "from sqlalchemy.orm import sessionmaker\n"
    )
    if expression.startswith("config.get"):  # env.py's own: the application has another source
        imports, expression = "import os", 'os.getenv("APP_DATABASE_URL", "sqlite://")'
    engine = f"{imports}\nfrom {of} import {maker}\n{session}\n"
    engine += f"engine = {maker}({expression})\nSession = sessionmaker(engine)\n"
    return {"app/db/__init__.py": "", "app/db/base.py": base, "app/db/engine.py": engine}


CLASSES = """\
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    text: Mapped[str] = mapped_column(String(200))
"""
SQLMODELS = """\
from sqlmodel import Field

from app.db.base import Base


class ItemBase(Base):
    name: str = Field(max_length=100)


class Item(ItemBase, table=True):
    __tablename__ = "items"
    id: int | None = Field(default=None, primary_key=True)


class Note(Base, table=True):
    __tablename__ = "notes"
    id: int | None = Field(default=None, primary_key=True)
    item_id: int = Field(foreign_key="items.id")
    text: str = Field(max_length=200)
"""
TABLES = """\
from sqlalchemy import Column, ForeignKey, Integer, String, Table

from app.db.base import metadata

items = Table(
    "items", metadata, Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False),
)
notes = Table(
    "notes", metadata, Column("id", Integer, primary_key=True),
    Column("item_id", ForeignKey("items.id"), nullable=False),
    Column("text", String(200), nullable=False),
)
"""
AUDIT = """\
from sqlalchemy import Column, Integer, MetaData, Table

audit_metadata = MetaData()
audits = Table("audits", audit_metadata, Column("id", Integer, primary_key=True))
"""


def _models(form: str, *, two: bool) -> dict[str, str]:
    head, item, note = CLASSES.split("\n\n\n")
    single = {"app/models/item.py": f"{head}\n\n\n{item}\n",
              "app/models/note.py": f"{head}\n\n\n{note}\n"}  # fmt: skip
    both = "from app.models.item import Item\nfrom app.models.note import Note\n"
    package = {**single, "app/models/__init__.py": both + "\n__all__ = ['Item', 'Note']\n"}
    loose = {**single, "app/models/__init__.py": ""}
    mixed = CLASSES.replace(
        'class Item(Base):\n    __tablename__ = "items"\n\n',
        "class WithId:\n    __abstract__ = True\n\n\nclass Named:\n"
        "    name: Mapped[str] = mapped_column(String(100))\n\n\n"
        'class Item(WithId, Named, Base):\n    __tablename__ = "items"\n\n',
    ).replace("    id: Mapped[int] = mapped_column(primary_key=True)\n    name: Mapped[str] ="
              " mapped_column(String(100))\n\n\nclass Note",
              "    id: Mapped[int] = mapped_column(primary_key=True)\n\n\nclass Note")  # fmt: skip
    files = {
        "one module": {"app/models.py": CLASSES},
        "a module each": loose,
        "by feature": {
            "app/items/__init__.py": "",
            "app/items/models.py": f"{head}\n\n\n{item}\n",
            "app/notes/__init__.py": "",
            "app/notes/models.py": f"{head}\n\n\n{note}\n",
        },
        "collected": package,
        "sqlmodel": {"app/models.py": SQLMODELS},
        "dataclasses": {"app/models.py": CLASSES},
        "old base": {"app/models.py": CLASSES},
        "tables": {"app/tables.py": TABLES},
        "mixins": {"app/models.py": mixed},
        "registry": {"app/models.py": CLASSES},
    }[form]
    return {**files, "app/audit.py": AUDIT} if two else files


def _application(form: str) -> dict[str, str]:
    made = "from fastapi import FastAPI\n\nfrom app.db.engine import engine\n\n"
    use = "\n\n@app.get('/')\ndef read() -> str:\n    return engine.name\n"
    factory = (
        "from fastapi import FastAPI\n\nfrom app.db.engine import engine\n\n\n"
        "def create_app() -> FastAPI:\n    app = FastAPI(title=engine.name)\n    return app\n"
    )
    return {
        "plain": {"app/main.py": f"{made}app = FastAPI(){use}"},
        "factory": {"app/main.py": factory},
        "in the package": {"app/api/__init__.py": f"{made}api = FastAPI(title=engine.name)\n"},
        "lifespan": {
            "app/main.py": "from contextlib import asynccontextmanager\n"
            + made
            + "\n@asynccontextmanager\nasync def lifespan(_app):\n    yield\n\n\n"
            f"app = FastAPI(lifespan=lifespan){use}"
        },
        "two, mounted": {
            "app/main.py": f'{made}admin = FastAPI()\napp = FastAPI()\napp.mount("/admin", admin)'
            + use
        },
        "script": {
            "run.py": 'import uvicorn\n\nif __name__ == "__main__":\n'
            '    uvicorn.run("app.server:application")\n',
            "app/server.py": f"{made}application = FastAPI(title=engine.name)\n",
        },
        "class": {
            "app/main.py": f"{made}\nclass Shop(FastAPI):\n    pass\n\n\napp = Shop(){use}",
        },
        "setup.py": {"app/core/__init__.py": "", "app/core/setup.py": factory,
                     "app/main.py": "from app.core.setup import create_app\n\n"
                     "app = create_app()\n"},
    }[form]  # fmt: skip


def _ini(row: pairs.Row) -> tuple[str, str, str, dict[str, str | list[str]]]:
    """The ini, the folders of env.py and of the revisions, and the options that say so."""
    place, notation = row["place"], row["notation"]
    ini = {"package": "app/alembic.ini", "migrations": "migrations/alembic.ini",
           "pyproject": "pyproject.toml"}.get(place, "alembic.ini")  # fmt: skip
    up = {"package": "%(here)s/..", "migrations": "%(here)s/.."}.get(place, ".")
    scripts = {"package": "app/migrations", "nested": "app/db/migrations"}.get(
        notation, "migrations"
    )
    if place == "package":
        scripts = "app/migrations"
    here = {"package": "%(here)s/migrations", "migrations": "%(here)s"}.get(
        place, f"%(here)s/{scripts}"
    )
    location = {"package": "app:migrations", "relative": scripts, "nested": scripts}.get(
        notation, here
    )
    options: dict[str, str | list[str]] = {"script_location": location}
    if notation == "several":
        folders = [f"{here}/versions", f"{here}/more"]
        listed = folders if ini.endswith("toml") or place == "both" else ":".join(folders)
        options |= {"version_locations": listed, "path_separator": "os"}
    elif notation == "old separator":
        folders = [f"{scripts}/versions", f"{scripts}/more"]
        listed = folders if ini.endswith("toml") or place == "both" else " ".join(folders)
        options["version_locations"] = listed
    options["prepend_sys_path"] = [up] if place in {"pyproject", "both"} else up
    return ini, scripts, f"{scripts}/versions", options


def _written(
    row: pairs.Row, ini: str, section: str, options: dict[str, str | list[str]], url: str
) -> dict[str, str]:
    lines = "".join(f"{name} = {value}\n" for name, value in options.items())
    address = f"sqlalchemy.url = {url or 'driver://user:pass@localhost/dbname'}\n"
    if row["place"] in {"pyproject", "both"}:
        toml = "".join(f"{name} = {value!r}\n" for name, value in options.items()
                       if name != "path_separator")  # fmt: skip
        text = {"pyproject.toml": f"\n[tool.alembic]\n{toml}"}
        return text if row["place"] == "pyproject" else text | {ini: f"[alembic]\n{address}"}
    if row["section"] == "default":
        return {ini: f"[DEFAULT]\n{lines}\n[alembic]\n{lines.splitlines()[0]}\n{address}"}
    return {ini: f"[{section}]\n{lines}{address}"}


def _env(row: pairs.Row, imports: str, expression: str) -> str:
    mode, engine = row["mode"], row["engine"]
    wanted, target = _target(row)
    head = ["from alembic import context", imports, *wanted, "", "config = context.config"]
    is_async = mode == "async"
    maker = "create_async_engine" if is_async else "create_engine"
    of = "sqlalchemy.ext.asyncio" if is_async else "sqlalchemy"
    from_config = "async_engine_from_config" if is_async else "engine_from_config"
    get = {
        "from config": f"config.set_main_option('sqlalchemy.url', str({expression}).replace("
        f"'%', '%%'))\nengine = {from_config}(config.get_section(config.config_ini_section, {{}}),"
        " prefix='sqlalchemy.', poolclass=NullPool)",
        "options": "options = config.get_section(config.config_ini_section) or {}\n"
        f"options['sqlalchemy.url'] = str({expression})\n"
        f"engine = {from_config}(options, prefix='sqlalchemy.', poolclass=NullPool)",
        "made": f"engine = {maker}({expression}, poolclass=NullPool)",
        "given or made": f"def make():\n    return {maker}({expression}, poolclass=NullPool)\n\n\n"
        "engine = config.attributes.get('engine') or make()",
        "imported": "from app.db.engine import engine",
    }[engine]
    name = from_config if engine in {"from config", "options"} else maker
    if engine != "imported":
        head.insert(1, f"from {of} import {name}\nfrom sqlalchemy.pool import NullPool")
    run = "def run(connection):\n    context.configure(connection=connection, "
    run += "target_metadata=target_metadata)\n    with context.begin_transaction():\n"
    run += "        context.run_migrations()\n\n\n"
    if is_async:
        head.insert(0, "import asyncio\n")
        run += "async def online():\n    async with engine.connect() as connection:\n"
        run += "        await connection.run_sync(run)\n    await engine.dispose()\n\n\n"
        run += "asyncio.run(online())\n"
    else:
        run += "with engine.connect() as connection:\n    run(connection)\n"
    return "\n".join([*head, f"target_metadata = {target}", get]) + "\n\n\n" + run


def _target(row: pairs.Row) -> tuple[list[str], str]:
    """What env.py imports for its metadata, and the metadata."""
    modules = {
        "by feature": ["app.items.models", "app.notes.models"],
        "a module each": ["app.models.item", "app.models.note"],
        "tables": ["app.tables"],
    }.get(row["models"], ["app.models"])
    imported = [f"import {name}" for name in modules]
    of = "metadata" if row["models"] == "tables" else "Base"
    from_base, meta = f"from app.db.base import {of}", of if of == "metadata" else "Base.metadata"
    match row["metadata"]:
        case "models" if row["models"] not in {"a module each"}:
            table = {"tables": "items", "by feature": "Item"}.get(row["models"], "Note")
            return [*imported, f"from {modules[0]} import {table}"], f"{table}.metadata"
        case "list":
            return [*imported, from_base], f"[{meta}]"
        case "two":
            more = "from app.audit import audit_metadata"
            return [*imported, from_base, more], f"[{meta}, audit_metadata]"
        case "walked":
            walk = textwrap.dedent("""\
                import importlib
                import pkgutil

                import app

                for found in pkgutil.walk_packages(app.__path__, "app."):
                    if "model" in found.name:
                        importlib.import_module(found.name)""")
            return [walk, from_base], meta
        case "object":
            return [*imported, "from app.db.base import metadata"], "metadata"
        case "function":
            text = f"def get_metadata():\n    return {meta}\n\n"
            return [*imported, from_base, "", "", text], "get_metadata()"
        case _:
            return [*imported, from_base], meta


HEAD = "import sqlalchemy as sa\nfrom alembic import op\n\nrevision = {own!r}\n"
HEAD += "down_revision = {before!r}\n\n\ndef upgrade():\n{up}\n\n\ndef downgrade():\n{down}\n"
ITEMS = """\
    op.create_table(
        "items",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )"""
NOTES = """\
    op.create_table(
        "notes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"]),
        sa.PrimaryKeyConstraint("id"),
    )"""
AUDITS = '    op.create_table("audits", sa.Column("id", sa.Integer(), primary_key=True))'


def _revisions(row: pairs.Row) -> dict[str, str]:
    def revision(own: str, before: str | None, up: str, down: str) -> str:
        return HEAD.format(own=own, before=before, up=up, down=f'    op.drop_table("{down}")')

    first = revision("first", None, ITEMS, "items")
    second = revision("second", "first", NOTES, "notes")
    other = revision("other", "first", AUDITS.replace("audits", "others"), "others")
    audits = {"3_audits.py": revision("audits", "second", AUDITS, "audits")}
    return {
        "agrees": {"1_first.py": first, "2_second.py": second}
        | (audits if row["metadata"] == "two" else {}),
        "differs": {"1_first.py": first},
        "two heads": {"1_first.py": first, "2_second.py": second, "3_other.py": other},
        "no revision": {".gitkeep": ""},
    }[row["state"]]
