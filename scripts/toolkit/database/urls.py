"""Kinds of databases, their drivers, and the environment of who runs code of a project."""

import importlib.util
import os
from collections.abc import Mapping
from typing import Literal

SCRATCH_VARIABLE = "SCRATCH_DATABASE_URL"
"""The environment variable that names the server for scratch databases."""
STATS_VARIABLE = "STATS_DATABASE_URL"
"""The one that names the database whose tables have real sizes."""

WHERE = """\
The scratch database is made on a private server, which is started from programs of this
machine and removed with all that is on it; for SQLite it is a file. The project's own
server is taken only where there are no such programs and it is on this machine and does not
look like production, or where --scratch-on or pyproject.toml names it:
  [tool.async-sqlalchemy-patterns]
  scratch-on = "127.0.0.1:5432"
There, too, it runs as a role that is made for it and has no right beyond the scratch.
"""
"""For --help: it is the same for all that prove."""

Kind = Literal["sqlite", "postgresql", "mysql"]

KINDS: dict[str, Kind] = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
TITLES: dict[Kind, str] = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL"}

# Best first. The driver's name in a URL, then the module that it imports.
ASYNC_DRIVERS: dict[Kind, tuple[tuple[str, str], ...]] = {
    "sqlite": (("aiosqlite", "aiosqlite"),),
    "postgresql": (("asyncpg", "asyncpg"), ("psycopg", "psycopg")),
    "mysql": (("aiomysql", "aiomysql"), ("asyncmy", "asyncmy")),
}
SYNC_DRIVERS: dict[Kind, tuple[tuple[str, str], ...]] = {
    "sqlite": (("pysqlite", "sqlite3"),),
    "postgresql": (("psycopg", "psycopg"), ("psycopg2", "psycopg2"), ("pg8000", "pg8000")),
    "mysql": (("pymysql", "pymysql"), ("mysqldb", "MySQLdb")),
}


def kind_of(scheme: str) -> Kind | None:
    """The kind behind a dialect name or a URL scheme (`postgresql+asyncpg`)."""
    return KINDS.get(scheme.split("+", maxsplit=1)[0].lower())


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def driver_for(kind: Kind, *, prefer_async: bool = True) -> str | None:
    """An installed driver of this kind as a URL names it; None if there is none."""
    first, second = ASYNC_DRIVERS[kind], SYNC_DRIVERS[kind]
    if not prefer_async or not installed("greenlet"):
        first, second = second, first
    return next((name for name, module in (*first, *second) if installed(module)), None)


def async_driver_kinds() -> list[Kind]:
    """The kinds that an installed async driver serves, servers before SQLite."""
    order: tuple[Kind, ...] = ("postgresql", "mysql", "sqlite")
    return [kind for kind in order if any(installed(m) for _, m in ASYNC_DRIVERS[kind])]


def placeholder_url(kind: Kind, *, prefer_async: bool = True) -> str:
    """A URL with no real address, for settings that demand one.

    The guard replaces the address; a program that goes round the guard finds nobody.
    """
    driver = driver_for(kind, prefer_async=prefer_async)
    scheme = f"{kind}+{driver}" if driver else kind
    if kind == "sqlite":
        return f"{scheme}:///scratch-placeholder.db"
    return f"{scheme}://scratch:scratch@127.0.0.1:1/scratch"


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This program's, for a process that runs project code; the fence hides what is in it."""
    # libpq reads these itself and would prefer them to the address that the guard gives.
    misleading = {"PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR", "PYTHONSAFEPATH", "ALEMBIC_CONFIG"}
    kept = {name: value for name, value in os.environ.items() if name not in misleading}
    return {
        **kept,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
        **extra,
    }
