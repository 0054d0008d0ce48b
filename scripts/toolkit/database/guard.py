"""Send every SQLAlchemy connection of this process to one scratch database.

Runs inside the process that runs project code, so it imports the standard library
and SQLAlchemy only. It listens on SQLAlchemy's classes and not on an engine: it does
not matter how, when or with which driver a project builds its engines.

A program that calls a driver directly (`asyncpg.connect(...)`) is the fence's affair.
"""

# ruff: noqa: ANN401  (the connections and arguments of many drivers)

import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import event, util
from sqlalchemy.engine import URL, Engine
from sqlalchemy.pool import Pool

# Everything that decides where a driver connects and as whom. What is left (statement
# caches, server_settings, charset, time limits) belongs to how the project talks.
# fmt: off
ADDRESS = frozenset({
    "host", "hostaddr", "hostname", "port", "user", "username", "password", "passwd", "passfile",
    "database", "dbname", "db", "dsn", "service", "servicefile", "unix_socket", "named_pipe",
    "uri", "target_session_attrs", "load_balance_hosts", "read_default_file",
    "read_default_group", "option_files", "krbsrvname", "gssencmode", "channel_binding",
    "require_auth", "server_public_key", "auth_plugin", "auth_plugin_map", "program_name",
})
# fmt: on
TLS = re.compile(r"(?i)^(ssl.*|direct_tls|tls.*)$")
FAMILY = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite"}
WHERE_AM_I = {
    "postgresql": "SELECT current_database()",
    "mysql": "SELECT DATABASE()",
    "sqlite": "PRAGMA database_list",
}


class DatabaseRefused(RuntimeError):
    """Project code asked for a database that is not the scratch database."""


class DatabaseSeen(BaseException):
    """Ends a look at where a project would connect. Not an Exception: a project that
    waits for its database with `except Exception` would swallow it and try for ever."""


class Guard:
    """The listener. `refused` keeps every refusal, also those that the project swallowed."""

    def __init__(
        self,
        scratch: URL,
        opening: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        sqlite_class: type | None = None,
    ) -> None:
        """`opening` lets it pass the fence; `sqlite_class` is what sqlite3.connect makes."""
        self.scratch = scratch
        self.opening = opening
        self.sqlite_class = sqlite_class
        self.family = FAMILY[scratch.get_backend_name()]
        self.refused: list[str] = []
        self._made: list[Any] = []

    def install(self) -> None:
        event.listen(Engine, "do_connect", self.connect)
        event.listen(Pool, "connect", self.check)

    def connect(self, dialect: Any, _record: Any, _args: list[Any], params: dict[str, Any]) -> Any:
        """A DBAPI connection to the scratch database, whatever was asked for."""
        if FAMILY.get(dialect.name) != self.family:
            self.refuse(
                f"the project connects with {dialect.name}+{dialect.driver},"
                f" the scratch database is {self.family}"
            )
        args, params = scratch_arguments(dialect, self.scratch, params)
        if self.sqlite_class and "sqlite" in dialect.driver:
            params.setdefault("factory", self.sqlite_class)
        with self.opening():
            connection = dialect.connect(*args, **params)
        self._made.append(connection)
        reached = current_database(connection, self.family)
        if not same_database(reached, self.scratch, self.family):
            connection.close()
            self.refuse(f"the connection reached {reached!r}, not the scratch database")
        return connection

    def check(self, connection: Any, _record: Any) -> None:
        """Refuse connections that an engine's own `creator` made past `connect`."""
        if not any(connection is made for made in self._made):
            connection.close()
            self.refuse("an engine with its own creator= connected past the guard")

    def refuse(self, reason: str) -> None:
        self.refused.append(reason)
        raise DatabaseRefused(reason)


def scratch_arguments(
    dialect: Any, scratch: URL, asked: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The driver's arguments: the project's settings, the scratch database's address."""
    query = dict(scratch.query)
    tls = query.pop("ssl", None) or query.pop("sslmode", None)
    address = scratch.set(drivername=f"{dialect.name}+{dialect.driver}", query=query)
    args, params = dialect.create_connect_args(address)
    same_host = first(asked.get("host")) == address.host and address.host is not None
    kept = {
        name: value
        for name, value in asked.items()
        # TLS settings name the project's server: certificates, contexts.
        if name not in ADDRESS and (same_host or not TLS.match(name))
    }
    merged = {**kept, **params}
    if tls and dialect.name == "postgresql" and not any(TLS.match(name) for name in kept):
        merged["ssl" if dialect.driver == "asyncpg" else "sslmode"] = tls
    return list(args), merged


def first(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) and value else value


def current_database(connection: Any, family: str) -> str:
    """What the server itself says: a database's name, or a file's path."""
    cursor = connection.cursor()
    try:
        cursor.execute(WHERE_AM_I[family])
        row = cursor.fetchone()
    finally:
        cursor.close()
    connection.rollback()
    return str(row[2] if family == "sqlite" else row[0])


def same_database(reached: str, scratch: URL, family: str) -> bool:
    expected = str(scratch.database)
    if family == "sqlite":
        return Path(reached).resolve() == Path(expected).resolve()
    return reached == expected


class Probe:
    """Stands where the guard would, connects to nothing, and notes what was asked for."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] | None = None

    def install(self) -> None:
        event.listen(Engine, "do_connect", self.connect)

    def connect(self, dialect: Any, _record: Any, args: list[Any], params: dict[str, Any]) -> Any:
        port = first(params.get("port"))
        database = next((params[k] for k in ("database", "dbname", "db") if params.get(k)), None)
        if dialect.name == "sqlite":
            database = args[0] if args else None
        tls = params.get("sslmode") or params.get("ssl")
        self.seen = {
            "dialect": dialect.name,
            "driver": dialect.driver,
            # Its asynchronous driver is waited for where nothing is asynchronous (until 2.1).
            "falls_back": hasattr(util, "await_fallback") and bool(params.get("async_fallback")),
            "host": text(first(params.get("host"))),
            "port": int(port) if port else None,
            "user": text(params.get("user")),
            "password": text(params.get("password") or params.get("passwd")),
            "database": text(database),
            "unix_socket": text(params.get("unix_socket")),
            # A context object cannot leave this process; the guard keeps it in the next one.
            "ssl": tls if isinstance(tls, str) else None,
        }
        raise DatabaseSeen


def text(value: Any) -> str | None:
    return None if value is None or callable(value) else str(value)
