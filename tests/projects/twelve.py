"""Twelve set-ups of Alembic as public repositories have them, none of which the fifty hold (#13).

Each function writes one project of SQLite, with a model that no revision has, and says what is
unusual about it. What is right about it is not said here: plain Alembic is asked, in a twin.
"""

from collections.abc import Callable
from pathlib import Path

from projects import layouts, sources
from projects.fifty import CLASSES, ITEMS, MAKO, NOTES, Made

REQUIREMENTS = "fastapi\nsqlalchemy[asyncio]\nalembic\naiosqlite\n"
INI = (
    "[alembic]\nscript_location = %(here)s/migrations\nprepend_sys_path = .\npath_separator = os\n"
)
SETTINGS = (
    "from pydantic_settings import BaseSettings, SettingsConfigDict\n\n\n"
    "class Settings(BaseSettings):\n"
    '    model_config = SettingsConfigDict(env_file=".env", extra="ignore")\n\n'
    '    database_url: str = "sqlite+aiosqlite:///./dev.db"\n\n\nsettings = Settings()\n'
)
IMPORTS = "from app.db.base import Base\nimport app.models\nfrom app.config import settings\n"
URL = "settings.database_url"
RUN = """

def do_run_migrations(connection):
    context.configure(connection=connection, target_metadata=target_metadata{more})
    with context.begin_transaction():
        context.run_migrations()


async def run_async_migrations():
    engine = {engine}
    async with engine.connect() as connection:
        await connection.run_sync(do_run_migrations)
    await engine.dispose()


{start}
"""
FROM_CONFIG = (
    "async_engine_from_config(config.get_section(config.config_ini_section, {}),"
    ' prefix="sqlalchemy.", poolclass=pool.NullPool)'
)


def env(
    *lines: str,
    imports: str = IMPORTS,
    target: str = "Base.metadata",
    engine: str = f"create_async_engine({URL}, poolclass=pool.NullPool)",
    start: str = "asyncio.run(run_async_migrations())",
    more: str = "",
) -> str:
    """An `env.py` as the template of `alembic init -t async` begins it."""
    head = (
        "import asyncio\n\nfrom alembic import context\nfrom sqlalchemy import pool\n"
        "from sqlalchemy.ext.asyncio import async_engine_from_config, create_async_engine\n\n"
        f"{imports}\nconfig = context.config\ntarget_metadata = {target}\n"
    )
    return head + "\n".join(lines) + RUN.format(engine=engine, start=start, more=more)


def revision(own: str, before: object, up: str, down: str, **more: object) -> str:
    head = "import sqlalchemy as sa\nfrom alembic import op\n\n"
    names = {"revision": own, "down_revision": before, **more}
    head += "".join(f"{name} = {value!r}\n" for name, value in names.items())
    return f"{head}\n\ndef upgrade():\n{up}\n\n\ndef downgrade():\n{down}\n"


FIRST = revision("a1", None, ITEMS, '    op.drop_table("items")')


def project(
    directory: Path,
    files: dict[str, str | None],
    *,
    ini: str = "alembic.ini",
    scripts: str = "migrations",
    versions: str = "",
) -> Made:
    """The usual `app/`; `files` replace, add and, where None, take away."""
    usual = {
        "requirements.txt": REQUIREMENTS,
        "app/__init__.py": "",
        "app/main.py": "from fastapi import FastAPI\n\napp = FastAPI()\n",
        "app/config.py": SETTINGS,
        "app/db/__init__.py": "",
        "app/db/base.py": sources.BASE,
        "app/models.py": CLASSES,
        ini: INI,
        f"{scripts}/env.py": env(),
        f"{scripts}/script.py.mako": MAKO.read_text(encoding="utf-8"),
        f"{versions or scripts + '/versions'}/a1_first.py": FIRST,
    }
    written = usual | files
    layouts.write(directory, {name: text for name, text in written.items() if text is not None})
    return Made(directory, directory / ini, "alembic", {},
                directory / (versions or f"{scripts}/versions"))  # fmt: skip


def parts_in_the_ini(directory: Path) -> Made:
    """The ini puts the URL together from options that env.py gives it."""
    given = [
        "section = config.config_ini_section",
        'config.set_section_option(section, "DB_FILE", settings.db_file)',
        'config.set_section_option(section, "DB_DRIVER", settings.db_driver)',
    ]
    parts = 'db_file: str = "dev.db"\n    db_driver: str = "aiosqlite"'
    text = SETTINGS.replace('database_url: str = "sqlite+aiosqlite:///./dev.db"', parts)
    return project(directory, {
        "alembic.ini": INI + "sqlalchemy.url = sqlite+%(DB_DRIVER)s:///%(DB_FILE)s\n",
        "app/config.py": text,
        "migrations/env.py": env(*given, engine=FROM_CONFIG),
    })  # fmt: skip


def url_by_argument(directory: Path) -> Made:
    """`-x url=...` goes before the settings; logging is set up by the ini."""
    wanted = (
        "from logging.config import fileConfig\n\nfileConfig(config.config_file_name)\n"
        'given = context.get_x_argument(as_dictionary=True).get("url")\n'
        "if context.is_offline_mode():\n    raise SystemExit('not offline')\n"
    )
    logging = (
        "\n[loggers]\nkeys = root,alembic\n\n[handlers]\nkeys = console\n\n[formatters]\n"
        "keys = generic\n\n[logger_root]\nlevel = WARNING\nhandlers = console\nqualname =\n\n"
        "[logger_alembic]\nlevel = INFO\nhandlers =\nqualname = alembic\n\n[handler_console]\n"
        "class = StreamHandler\nargs = (sys.stderr,)\nlevel = NOTSET\nformatter = generic\n\n"
        "[formatter_generic]\nformat = %(levelname)-5.5s [%(name)s] %(message)s\n"
    )
    return project(directory, {
        "alembic.ini": INI + logging,
        "migrations/env.py": env(wanted, engine=f"create_async_engine(given or {URL})"),
    })  # fmt: skip


def dated_folders(directory: Path) -> Made:
    """Revisions in folders of years and months; classes are mapped by a call, not by a base."""
    template = "%%(year)d/%%(month).2d/%%(day).2d_%%(hour).2d%%(minute).2d_%%(rev)s_%%(slug)s"
    domain = (
        "from dataclasses import dataclass\n\n\n@dataclass\nclass Item:\n    id: int\n"
        "    name: str\n\n\n@dataclass\nclass Note:\n    id: int\n    text: str\n"
    )
    tables = (
        "from sqlalchemy import Column, ForeignKey, Integer, String, Table\n"
        "from sqlalchemy.orm import registry\n\nfrom app.domain.entities import Item, Note\n\n"
        "mapper_registry = registry()\n\n\ndef map_tables() -> None:\n"
        '    items = Table("items", mapper_registry.metadata,\n'
        '        Column("id", Integer, primary_key=True),\n'
        '        Column("name", String(100), nullable=False))\n'
        '    notes = Table("notes", mapper_registry.metadata,\n'
        '        Column("id", Integer, primary_key=True),\n'
        '        Column("item_id", ForeignKey("items.id"), nullable=False),\n'
        '        Column("text", String(200), nullable=False))\n'
        "    mapper_registry.map_imperatively(Item, items)\n"
        "    mapper_registry.map_imperatively(Note, notes)\n"
    )
    imports = (
        "from app.config import settings\n"
        "from app.infrastructure.tables import map_tables, mapper_registry\n\nmap_tables()\n"
    )
    return project(directory, {
        "alembic.ini": INI + f"file_template = {template}\nrecursive_version_locations = true\n"
        "timezone = UTC\n",
        "app/db/__init__.py": None, "app/db/base.py": None, "app/models.py": None,
        "app/domain/__init__.py": "", "app/domain/entities.py": domain,
        "app/infrastructure/__init__.py": "", "app/infrastructure/tables.py": tables,
        "migrations/env.py": env(imports=imports, target="mapper_registry.metadata"),
        "migrations/versions/a1_first.py": None,
        "migrations/versions/2024/05/07_0915_a1_first.py": FIRST,
    })  # fmt: skip


def excluded(directory: Path) -> Made:
    """A section of the ini names tables of others, which the database has."""
    lines = (
        'config_exclude = config.get_section("alembic:exclude") or {}\n'
        'names = [one.strip() for one in config_exclude.get("tables", "").split(",")]\n\n\n'
        "def include_object(item, name, type_, reflected, compare_to):\n"
        '    return not (type_ == "table" and name in names)\n'
    )
    jobs = '\n    op.create_table("celery_jobs", sa.Column("id", sa.Integer(), primary_key=True))'
    jobs += '\n    op.create_table("old_jobs", sa.Column("id", sa.Integer(), primary_key=True))'
    gone = "\n".join(f'    op.drop_table("{one}")' for one in ("old_jobs", "celery_jobs", "items"))
    return project(directory, {
        "alembic.ini": INI + "\n[alembic:exclude]\ntables = celery_jobs, old_jobs\n",
        "migrations/env.py": env(lines, more=", include_object=include_object"),
        "migrations/versions/a1_first.py": revision("a1", None, ITEMS + jobs, gone),
    })  # fmt: skip


def numbered(directory: Path) -> Made:
    """env.py numbers the revisions, and writes none that is empty."""
    lines = (
        "from alembic.script import ScriptDirectory\n\n\n"
        "def process_revision_directives(context, revision, directives):\n"
        "    script = directives[0]\n"
        '    if getattr(config.cmd_opts, "autogenerate", False) and script.upgrade_ops.is_empty():'
        "\n        directives[:] = []\n        return\n"
        "    head = ScriptDirectory.from_config(config).get_current_head()\n"
        '    script.rev_id = f"{int(head or 0) + 1:04}"\n'
    )
    more = ", process_revision_directives=process_revision_directives, compare_type=True"
    return project(directory, {
        "migrations/env.py": env(lines, more=more),
        "migrations/versions/a1_first.py": None,
        "migrations/versions/0001_first.py": FIRST.replace("'a1'", "'0001'"),
    })  # fmt: skip


def hooks(directory: Path) -> Made:
    """A formatter goes over each revision; names with a date; a branch that was merged."""
    written = (
        "file_template = %%(year)d-%%(month).2d-%%(day).2d_%%(slug)s_%%(rev)s\n"
        "truncate_slug_length = 12\nrevision_environment = true\n\n[post_write_hooks]\n"
        "hooks = ruff\nruff.type = module\nruff.module = ruff\n"
        "ruff.options = format REVISION_SCRIPT_FILENAME\n"
    )
    pass_ = "    pass"
    return project(directory, {
        "alembic.ini": INI + written,
        "migrations/versions/b1.py": revision("b1", "a1", pass_, pass_),
        "migrations/versions/b2.py": revision("b2", "a1", pass_, pass_),
        "migrations/versions/c1.py": revision("c1", ("b1", "b2"), pass_, pass_),
    })  # fmt: skip


def workspace(directory: Path) -> Made:
    """A workspace of packages: one has the models and Alembic, another the application."""
    dependencies = '["fastapi", "sqlalchemy[asyncio]", "alembic", "aiosqlite", "db"]'
    database = '["sqlalchemy[asyncio]", "alembic", "aiosqlite", "fastapi"]'
    made = project(directory / "packages/db", {
        "requirements.txt": None, "app/main.py": None, "app/models.py": None,
        "app/__init__.py": None, "app/config.py": None, "app/db/__init__.py": None,
        "app/db/base.py": None,
        "pyproject.toml": f'[project]\nname = "db"\nversion = "0"\ndependencies = {database}\n',
        "src/shop_db/__init__.py": "", "src/shop_db/base.py": sources.BASE,
        "src/shop_db/models.py": CLASSES.replace("app.db.base", "shop_db.base"),
        "src/shop_db/config.py": SETTINGS,
        "alembic.ini": INI.replace("prepend_sys_path = .", "prepend_sys_path = src"),
        "migrations/env.py": env(
            imports="from shop_db.base import Base\nfrom shop_db import models\n"
            "from shop_db.config import settings\n"
        ),
    })  # fmt: skip
    layouts.write(directory, {
        "pyproject.toml": '[project]\nname = "shop"\nversion = "0"\n\n[tool.uv.workspace]\n'
        'members = ["packages/*", "apps/*"]\n',
        "uv.lock": "",
        "apps/api/pyproject.toml": '[project]\nname = "shop-api"\nversion = "0"\n'
        f"dependencies = {dependencies}\n",
        "apps/api/src/shop_api/__init__.py": "",
        "apps/api/src/shop_api/main.py": "from fastapi import FastAPI\n\nfrom shop_db.config import"
        " settings\n\napp = FastAPI(title=settings.database_url)\n",
    })  # fmt: skip
    return made


def a_branch_each(directory: Path) -> Made:
    """A folder of revisions and a label for each feature; one needs the other."""
    locations = "%(here)s/app/items/migrations:%(here)s/app/notes/migrations"
    head, item, note = CLASSES.split("\n\n\n")
    labels = {"branch_labels": ("items",)}
    others = {"branch_labels": ("notes",), "depends_on": "a1"}
    notes = NOTES.replace('        sa.Column("text", sa.String(length=200), nullable=False),\n', "")
    return project(directory, {
        "alembic.ini": INI + f"version_locations = {locations}\n",
        "app/models.py": None,
        "app/items/__init__.py": "", "app/items/models.py": f"{head}\n\n\n{item}\n",
        "app/notes/__init__.py": "", "app/notes/models.py": f"{head}\n\n\n{note}\n",
        "app/items/migrations/a1_first.py": revision(
            "a1", None, ITEMS, '    op.drop_table("items")', **labels),
        "app/notes/migrations/b1_first.py": revision(
            "b1", None, notes, '    op.drop_table("notes")', **others),
        "migrations/env.py": env(imports=IMPORTS.replace(
            "import app.models", "import app.items.models\nimport app.notes.models")),
    }, versions="app/items/migrations")  # fmt: skip


def session_manager(directory: Path) -> Made:
    """env.py takes the connection of the application's manager of sessions, in a loop or not."""
    manager = (
        "import contextlib\nfrom collections.abc import AsyncIterator\n\n"
        "from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker, "
        "create_async_engine\n\n\nclass DatabaseSessionManager:\n"
        "    def __init__(self) -> None:\n        self._engine: AsyncEngine | None = None\n\n"
        "    def init(self, url: str) -> None:\n        self._engine = create_async_engine(url)\n"
        "        self._sessionmaker = async_sessionmaker(self._engine)\n\n"
        "    async def close(self) -> None:\n        await self._engine.dispose()\n\n"
        "    @contextlib.asynccontextmanager\n"
        "    async def connect(self) -> AsyncIterator[AsyncConnection]:\n"
        "        async with self._engine.begin() as connection:\n            yield connection\n\n\n"
        "sessionmanager = DatabaseSessionManager()\n"
    )
    script = (
        "import asyncio\n\nfrom alembic import context\n\n"
        f"{IMPORTS}from app.db.manager import sessionmanager\n\ntarget_metadata = Base.metadata\n"
        "\n\ndef do_run_migrations(connection):\n    context.configure(connection=connection, "
        "target_metadata=target_metadata, render_as_batch=True)\n"
        "    with context.begin_transaction():\n        context.run_migrations()\n\n\n"
        "async def run():\n    sessionmanager.init(settings.database_url)\n"
        "    async with sessionmanager.connect() as connection:\n"
        "        await connection.run_sync(do_run_migrations)\n    await sessionmanager.close()\n"
        "\n\ntry:\n    loop = asyncio.get_running_loop()\nexcept RuntimeError:\n"
        "    asyncio.run(run())\nelse:\n    loop.create_task(run())\n"
    )
    lifespan = (
        "import contextlib\n\nfrom fastapi import FastAPI\n\nfrom app.config import settings\n"
        "from app.db.manager import sessionmanager\n\n\n@contextlib.asynccontextmanager\n"
        "async def lifespan(_app):\n    sessionmanager.init(settings.database_url)\n    yield\n"
        "    await sessionmanager.close()\n\n\napp = FastAPI(lifespan=lifespan)\n"
    )
    return project(directory, {
        "app/db/manager.py": manager, "app/main.py": lifespan, "migrations/env.py": script,
    })  # fmt: skip


def synchronous_migrations(directory: Path) -> Made:
    """The application is asynchronous; env.py takes the driver out of its URL."""
    script = (
        "from alembic import context\nfrom sqlalchemy import engine_from_config, pool\n\n"
        f"{IMPORTS}\nconfig = context.config\n"
        'config.set_main_option("sqlalchemy.url", '
        'settings.database_url.replace("+aiosqlite", ""))\n\n\ndef run_migrations_online():\n'
        "    connectable = engine_from_config(\n        config.get_section("
        'config.config_ini_section), prefix="sqlalchemy.", poolclass=pool.NullPool\n    )\n'
        "    with connectable.connect() as connection:\n        context.configure(\n"
        "            connection=connection, target_metadata=Base.metadata, compare_type=True,\n"
        '            version_table="shop_version",\n        )\n'
        "        with context.begin_transaction():\n            context.run_migrations()\n\n\n"
        "run_migrations_online()\n"
    )
    engine = (
        "from sqlalchemy.ext.asyncio import create_async_engine\n\nfrom app.config import settings"
        "\n\nengine = create_async_engine(settings.database_url)\n"
    )
    return project(directory, {"migrations/env.py": script, "app/db/engine.py": engine})


def starlette_config(directory: Path) -> Made:
    """Starlette's own configuration reads `.env`; env.py imports the application."""
    settings = (
        "from starlette.config import Config\nfrom starlette.datastructures import Secret\n\n"
        'config = Config(".env")\n\nDATABASE_URL = config("DATABASE_URL", cast=Secret)\n'
    )
    main = (
        "from fastapi import FastAPI\n\nfrom app import models\nfrom app.config import DATABASE_URL"
        "\n\napp = FastAPI()\napp.state.url = DATABASE_URL\n"
    )
    imports = "from app.main import app\nfrom app.db.base import Base\n"
    return project(directory, {
        ".env": "DATABASE_URL=sqlite+aiosqlite:///./dev.db\nSECRET_KEY=\n",
        "app/config.py": settings, "app/main.py": main,
        "migrations/env.py": env(
            imports=imports, engine="create_async_engine(str(app.state.url))"),
    })  # fmt: skip


def named_by_the_base(directory: Path) -> Made:
    """Names of tables from the classes', columns from annotations, modules found by a walk."""
    base = (
        "import re\nimport uuid\nfrom typing import Annotated\n\n"
        "from sqlalchemy import MetaData, String, Uuid\n"
        "from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column\n\n"
        "Name = Annotated[str, 100]\n\n\nclass Base(DeclarativeBase):\n"
        '    metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s"})\n'
        "    type_annotation_map = {Name: String(100), uuid.UUID: Uuid()}\n\n"
        "    @declared_attr.directive\n    def __tablename__(cls) -> str:\n"
        '        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower() + "s"\n\n\n'
        "class Identified:\n    id: Mapped[int] = mapped_column(primary_key=True, sort_order=-1)\n"
    )
    model = (
        "from sqlalchemy import ForeignKey, String\nfrom sqlalchemy.orm import Mapped, "
        "mapped_column\n\nfrom app.db.base import Base, Identified, Name\n\n\n"
    )
    item = model + "class Item(Identified, Base):\n    name: Mapped[Name]\n"
    note = model + (
        "class ItemNote(Identified, Base):\n"
        '    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))\n'
        "    text: Mapped[str] = mapped_column(String(200))\n"
    )
    imports = (
        "import importlib\nimport pkgutil\n\nimport app.modules\nfrom app.config import settings\n"
        "from app.db.base import Base\n\nfor found in pkgutil.iter_modules(app.modules.__path__):\n"
        "    try:\n        importlib.import_module(f'app.modules.{found.name}.models')\n"
        "    except ModuleNotFoundError:\n        continue\n"
    )
    return project(directory, {
        "app/db/base.py": base, "app/models.py": None, "app/modules/__init__.py": "",
        "app/modules/items/__init__.py": "", "app/modules/items/models.py": item,
        "app/modules/notes/__init__.py": "", "app/modules/notes/models.py": note,
        "app/modules/health/__init__.py": "",
        "migrations/env.py": env(imports=imports),
    })  # fmt: skip


TWELVE: dict[str, Callable[[Path], Made]] = {
    made.__name__: made
    for made in (
        parts_in_the_ini,
        url_by_argument,
        dated_folders,
        excluded,
        numbered,
        hooks,
        workspace,
        a_branch_each,
        session_manager,
        synchronous_migrations,
        starlette_config,
        named_by_the_base,
    )
}
