"""Small FastAPI projects of every layout, written into a folder.

Each function writes one project and tells the truth about it. `LAYOUTS` are the
working ones with a database layer: same HTTP (see sources.py), the URL from the
environment variable DATABASE_URL, the tables `items` and `notes`. `OTHERS` are
the ones that a script has to refuse, or to fill.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from projects import sources


@dataclass(frozen=True)
class Layout:
    """What a generated project is."""

    name: str
    directory: Path
    """Folder to start the scripts in."""
    root: Path
    import_root: Path
    app: str | None
    base: str | None
    model_modules: tuple[str, ...]
    url: str | None
    """Best URL source, as UrlSource.reference."""
    tables: tuple[str, ...] = ("items", "notes")
    ini: Path | None = None
    package_manager: str = "pip"


def write(root: Path, files: dict[str, str]) -> None:
    """Write `relative path -> content`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def pyproject(dependencies: str = sources.WITH_DATABASE, more: str = "") -> str:
    return sources.PYPROJECT % {"dependencies": dependencies, "more": more}


def app_package(prefix: str = "app") -> dict[str, str]:
    """A package with settings, session, one module for each model, and a router."""
    folder = prefix.replace(".", "/")
    base = f"from {prefix}.db import Base"
    return {
        f"{folder}/__init__.py": "",
        f"{folder}/config.py": sources.SETTINGS % {"field": "database_url"},
        f"{folder}/db/__init__.py": f"from {prefix}.db.base import Base\n\n__all__ = ['Base']\n",
        f"{folder}/db/base.py": sources.BASE,
        f"{folder}/db/session.py": sources.SESSION
        % {"settings": f"from {prefix}.config import settings", "url": "settings.database_url"},
        f"{folder}/models/__init__.py": "",
        f"{folder}/models/item.py": sources.ITEM % {"base": base},
        f"{folder}/models/note.py": sources.NOTE % {"base": base},
        f"{folder}/api/__init__.py": "",
        f"{folder}/api/items.py": sources.ROUTER
        % {
            "imports": f"from {prefix}.db.session import get_session\n"
            f"from {prefix}.models.item import Item\nfrom {prefix}.models.note import Note"
        },
        f"{folder}/main.py": sources.MAIN
        % {
            "imports": f"from {prefix}.api.items import router\n"
            f"from {prefix}.db.session import engine"
        },
    }


def flat(directory: Path) -> Layout:
    """Modules beside the requirements file, no package at all."""
    base = "from database import Base"
    note = (sources.NOTE % {"base": base}).split("\n\n\n", 1)[1]
    item = (sources.ITEM % {"base": base}).replace(
        "import String\n", "import ForeignKey, String\n", 1
    )
    write(
        directory,
        {
            "requirements.txt": "fastapi\nuvicorn\nsqlalchemy[asyncio]\naiosqlite\n",
            "database.py": "import os\n"
            + sources.SESSION
            % {
                "settings": "from sqlalchemy.orm import DeclarativeBase\n\n"
                'DATABASE_URL = os.environ["DATABASE_URL"]',
                "url": "DATABASE_URL",
            }
            + "\n\n"
            + sources.BASE.split("\n\n\n", 1)[1],
            "models.py": f"{item}\n\n{note}",
            "routes.py": sources.ROUTER
            % {"imports": "from database import get_session\nfrom models import Item, Note"},
            "main.py": sources.MAIN
            % {"imports": "from database import engine\nfrom routes import router"},
        },
    )
    return Layout(
        "flat", directory, directory, directory, "main:app", "database:Base", ("models",),
        "env:DATABASE_URL",
    )  # fmt: skip


def app(directory: Path) -> Layout:
    """The usual `app/` package, settings object, one module for each model."""
    write(directory, {"pyproject.toml": pyproject(more="\n[tool.uv]\npackage = false\n")})
    write(directory, app_package())
    return _app_layout("app", directory, package_manager="uv")


def _app_layout(
    name: str, directory: Path, package_manager: str = "pip", ini: Path | None = None
) -> Layout:
    return Layout(
        name=name,
        directory=directory,
        root=directory,
        import_root=directory,
        app="app.main:app",
        base="app.db.base:Base",
        model_modules=("app.models.item", "app.models.note"),
        url="app.config:settings.database_url",
        ini=ini,
        package_manager=package_manager,
    )


def src(directory: Path) -> Layout:
    """`src/shop` with relative imports only, a settings function and a property."""
    write(
        directory,
        {
            "pyproject.toml": pyproject(
                more='\n[tool.poetry]\npackages = [{ include = "shop", from = "src" }]\n'
            ),
            "src/shop/__init__.py": "",
            "src/shop/settings.py": (
                "from functools import lru_cache\n\nfrom pydantic import Field\n"
                "from pydantic_settings import BaseSettings\n\n\n"
                "class Settings(BaseSettings):\n"
                '    dsn: str = Field(validation_alias="DATABASE_URL")\n\n'
                "    @property\n    def sqlalchemy_database_uri(self) -> str:\n"
                "        return self.dsn\n\n\n"
                "@lru_cache\ndef get_settings() -> Settings:\n    return Settings()\n"
            ),
            "src/shop/orm.py": sources.BASE,
            "src/shop/catalog/__init__.py": "from .tables import Item\n",
            "src/shop/catalog/tables.py": sources.ITEM % {"base": "from ..orm import Base"},
            "src/shop/remarks.py": sources.NOTE % {"base": "from .orm import Base"},
            "src/shop/session.py": sources.SESSION
            % {
                "settings": "from .settings import get_settings\n\nsettings = get_settings()",
                "url": "settings.sqlalchemy_database_uri",
            },
            "src/shop/routes.py": sources.ROUTER
            % {
                "imports": "from .catalog import Item\nfrom .remarks import Note\n"
                "from .session import get_session"
            },
            "src/shop/main.py": sources.MAIN
            % {"imports": "from .routes import router\nfrom .session import engine"},
        },
    )
    return Layout(
        name="src",
        directory=directory,
        root=directory,
        import_root=directory / "src",
        app="shop.main:app",
        base="shop.orm:Base",
        model_modules=("shop.catalog.tables", "shop.remarks"),
        url="shop.settings:get_settings().sqlalchemy_database_uri",
        package_manager="poetry",
    )


def monorepo(directory: Path) -> Layout:
    """`backend/` beside a frontend; the URL has a default in the code."""
    backend = directory / "backend"
    write(directory, {"frontend/package.json": '{"name": "web"}\n', "README.md": "# Items\n"})
    write(
        directory,
        {"frontend/node_modules/tool/gen.py": "from fastapi import FastAPI\napp = FastAPI()\n"},
    )
    files = app_package()
    del files["app/config.py"]
    files["app/db/session.py"] = "import os\n" + sources.SESSION % {
        "settings": 'DATABASE_URL = os.getenv("DATABASE_URL", "sqlite+aiosqlite:///./dev.db")',
        "url": "DATABASE_URL",
    }
    write(backend, {"pyproject.toml": pyproject(), **files})
    return Layout(
        name="monorepo",
        directory=directory,
        root=backend,
        import_root=backend,
        app="app.main:app",
        base="app.db.base:Base",
        model_modules=("app.models.item", "app.models.note"),
        url="app.db.session:DATABASE_URL",
    )


def sqlmodel(directory: Path) -> Layout:
    """SQLModel tables beside schemas that are none."""
    models = (
        "from sqlmodel import Field, SQLModel\n\n\n"
        "class ItemBase(SQLModel):\n    name: str = Field(max_length=100, unique=True)\n\n\n"
        'class Item(ItemBase, table=True):\n    __tablename__ = "items"\n\n'
        "    id: int | None = Field(default=None, primary_key=True)\n\n\n"
        "class ItemRead(ItemBase):\n    id: int\n\n\n"
        'class Note(SQLModel, table=True):\n    __tablename__ = "notes"\n\n'
        "    id: int | None = Field(default=None, primary_key=True)\n"
        '    item_id: int = Field(foreign_key="items.id")\n'
        "    text: str = Field(max_length=200)\n"
    )
    files = app_package()
    for name in ("db/base.py", "db/__init__.py", "models/__init__.py", "models/item.py"):
        del files[f"app/{name}"]
    del files["app/models/note.py"]
    files |= {
        "pyproject.toml": pyproject(sources.WITH_DATABASE + ', "sqlmodel"'),
        "app/config.py": sources.SETTINGS % {"field": "DATABASE_URL"},
        "app/db/__init__.py": "",
        "app/db/session.py": sources.SESSION
        % {"settings": "from app.config import settings", "url": "settings.DATABASE_URL"},
        "app/models.py": models,
        "app/api/items.py": sources.ROUTER
        % {"imports": "from app.db.session import get_session\nfrom app.models import Item, Note"},
    }
    write(directory, files)
    return Layout(
        name="sqlmodel",
        directory=directory,
        root=directory,
        import_root=directory,
        app="app.main:app",
        base="sqlmodel:SQLModel",
        model_modules=("app.models",),
        url="app.config:settings.DATABASE_URL",
    )


def dataclass_models(directory: Path) -> Layout:
    """MappedAsDataclass with AsyncAttrs, and a mixin that is no table."""
    files = app_package("service")
    files["service/db/base.py"] = (
        "from sqlalchemy.ext.asyncio import AsyncAttrs\n"
        "from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column\n\n\n"
        "class IdMixin(MappedAsDataclass):\n"
        "    id: Mapped[int] = mapped_column(init=False, primary_key=True)\n\n\n"
        "class Base(AsyncAttrs, MappedAsDataclass, DeclarativeBase):\n    pass\n"
    )
    for name in ("item", "note"):
        path = f"service/models/{name}.py"
        text = files[path].replace("(Base):", "(IdMixin, Base):")
        text = text.replace("    id: Mapped[int] = mapped_column(primary_key=True)\n", "")
        files[path] = text.replace("service.db import Base", "service.db.base import Base, IdMixin")
    write(directory, {"setup.py": "from setuptools import setup\n\nsetup()\n", **files})
    return Layout(
        name="dataclass_models",
        directory=directory,
        root=directory,
        import_root=directory,
        app="service.main:app",
        base="service.db.base:Base",
        model_modules=("service.models.item", "service.models.note"),
        url="service.config:settings.database_url",
    )


def _alembic(location: str, env: str, revision: str) -> dict[str, str]:
    return {
        "pyproject.toml": pyproject(sources.WITH_DATABASE + ', "alembic"'),
        "alembic.ini": sources.ALEMBIC_INI % {"location": location},
        f"{location}/env.py": env,
        f"{location}/script.py.mako": sources.MAKO,
        f"{location}/versions/0001_first.py": revision,
    }


def sync_alembic(directory: Path) -> Layout:
    """An Alembic from sync days: works with sync drivers only. `notes` is not migrated yet."""
    revision = sources.FIRST_REVISION % {"more": "", "less": ""}
    write(directory, {**app_package(), **_alembic("alembic", sources.SYNC_ENV, revision)})
    return _app_layout("sync_alembic", directory, ini=directory / "alembic.ini")


def broken_async_alembic(directory: Path) -> Layout:
    """env.py imports one of two models: autogenerate would drop `notes`."""
    revision = sources.FIRST_REVISION % {"more": sources.NOTES_UP, "less": sources.NOTES_DOWN}
    write(
        directory, {**app_package(), **_alembic("migrations", sources.BROKEN_ASYNC_ENV, revision)}
    )
    return _app_layout("broken_async_alembic", directory, ini=directory / "alembic.ini")


def own_toolkit(directory: Path) -> Layout:
    """A project whose own package is called `toolkit`."""
    write(directory, {"pyproject.toml": pyproject(), **app_package("toolkit")})
    return Layout(
        name="own_toolkit",
        directory=directory,
        root=directory,
        import_root=directory,
        app="toolkit.main:app",
        base="toolkit.db.base:Base",
        model_modules=("toolkit.models.item", "toolkit.models.note"),
        url="toolkit.config:settings.database_url",
    )


def fresh(directory: Path) -> Layout:
    """A new project with settings and no database layer."""
    write(
        directory,
        {
            "pyproject.toml": pyproject('"fastapi", "uvicorn", "pydantic-settings"'),
            "app/__init__.py": "",
            "app/config.py": "from pydantic_settings import BaseSettings\n\n\n"
            'class Settings(BaseSettings):\n    app_name: str = "fresh"\n\n\n'
            "settings = Settings()\n",
            "app/main.py": "from fastapi import FastAPI\n\nfrom app.config import settings\n\n"
            "app = FastAPI(title=settings.app_name)\n\n\n"
            '@app.get("/health")\nasync def health() -> dict[str, str]:\n'
            '    return {"status": "ok"}\n',
        },
    )
    return Layout(
        "fresh", directory, directory, directory, "app.main:app", None, (), None, tables=()
    )


def two_bases(directory: Path) -> Layout:
    """Two declarative bases, each with a table."""
    files = app_package()
    files["app/billing.py"] = (
        "from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column\n\n\n"
        "class BillingBase(DeclarativeBase):\n    pass\n\n\n"
        'class Invoice(BillingBase):\n    __tablename__ = "invoices"\n\n'
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
    )
    write(directory, {"pyproject.toml": pyproject(), **files})
    return _app_layout("two_bases", directory)


def two_inis(directory: Path) -> Layout:
    """Two alembic.ini for one environment, neither of them where `alembic` is started."""
    layout = sync_alembic(directory)
    assert layout.ini is not None
    layout.ini.unlink()
    for folder in ("app", "deploy"):
        write(
            directory, {f"{folder}/alembic.ini": sources.ALEMBIC_INI % {"location": "../alembic"}}
        )
    return _app_layout("two_inis", directory, ini=directory / "deploy" / "alembic.ini")


def failing_import(directory: Path) -> Layout:
    """A model module that raises when imported, with a password in the message."""
    files = app_package()
    files["app/models/note.py"] += (
        "\nraise RuntimeError("
        '"cannot reach postgresql+asyncpg://app:hunter2secret@db.internal/items")\n'
    )
    write(directory, {"pyproject.toml": pyproject(), **files})
    return _app_layout("failing_import", directory)


def no_fastapi(directory: Path) -> Layout:
    """Python, but no FastAPI."""
    write(
        directory,
        {
            "pyproject.toml": pyproject('"requests"'),
            "tool/__init__.py": "",
            "tool/main.py": 'print("fastapi is only mentioned here")\n',
        },
    )
    return Layout("no_fastapi", directory, directory, directory, None, None, (), None, tables=())


LAYOUTS: dict[str, Callable[[Path], Layout]] = {
    function.__name__: function
    for function in (
        flat,
        app,
        src,
        monorepo,
        sqlmodel,
        dataclass_models,
        sync_alembic,
        broken_async_alembic,
        own_toolkit,
    )
}
OTHERS: dict[str, Callable[[Path], Layout]] = {
    function.__name__: function
    for function in (fresh, two_bases, two_inis, failing_import, no_fastapi)
}
