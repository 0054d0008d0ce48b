"""Async database sessions for FastAPI. Copy this file and change `database_config`.

```python
from fastapi import FastAPI

from .models import Role
from .session_manager import DbSession, lifespan

app = FastAPI(lifespan=lifespan)


@app.post("/roles", status_code=201)
async def create_role(name: str, session: DbSession) -> dict[str, str]:
    role = Role(name=name)
    session.add(role)
    await session.flush()
    return {"id": str(role.id), "name": role.name}
```

The session commits after the endpoint returns and BEFORE the response is sent, so a failed commit
is an error for the client; an exception rolls back. Put a failure that is expected, such as a
duplicate, into `async with session.begin_nested():`, or let it leave the endpoint.

- `DbSession`: the session of a request. FastAPI refuses a plain `Depends(get_db)`.
- `ReadOnlyDbSession`: for endpoints that only read; see `DatabaseSessionManager`.
- `Database`: the manager. A StreamingResponse or background task outlives the request's session
  (using that one raises) and opens its own: `async with database.begin() as session:`.
- `run_in_transaction`: runs a unit of work again after a deadlock or a lost connection.
- `check_live`, `check_ready`: for the probes of an orchestrator.

What to change: `database_config`, which reads DATABASE_URL and DATABASE_<SETTING>. Keep
workers * (pool_size + max_overflow) below the server's max_connections.
Needs SQLAlchemy >= 2.0.58 or >= 2.1.9 (earlier ones lose connections of cancelled requests),
FastAPI >= 0.121.1, and asyncpg >= 0.31, aiosqlite >= 0.22 or aiomysql >= 0.3.
"""

import asyncio
import inspect
import logging
import math
import os
import random
import re
import select as io_select
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, cast

import fastapi
from fastapi import Depends, FastAPI
from fastapi.requests import HTTPConnection
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy import inspect as inspect_database
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import (
    AsyncAdaptedQueuePool,
    ConnectionPoolEntry,
    NullPool,
    PoolResetState,
    QueuePool,
)
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.dml import UpdateBase

logger = logging.getLogger(__name__)
T = TypeVar("T")
N = TypeVar("N", int, float)


class ConfigurationError(ValueError):
    """A setting is missing or wrong. One line, and never a password."""


class ReadOnlySessionError(RuntimeError):
    """A read-only session was asked to write."""


class CommitOutcomeUnknownError(RuntimeError):
    """The connection was lost during COMMIT: the work may have been saved, or not."""


def require_fastapi(version: str) -> None:
    """Refuse a FastAPI that would send the response before the commit."""
    if tuple(int(number) for number in re.findall(r"\d+", version)[:3]) < (0, 121, 1):
        raise RuntimeError(
            f"FastAPI {version} sends the response before a dependency has committed; "
            "session_manager needs fastapi>=0.121.1 (Depends(..., scope='function'))"
        )


require_fastapi(fastapi.__version__)


# URLs

_ASYNC_DRIVERS = {
    **dict.fromkeys(("postgres", "postgresql", "postgresql+psycopg2"), "postgresql+asyncpg"),
    **dict.fromkeys(("mysql", "mysql+pymysql", "mysql+mysqldb"), "mysql+aiomysql"),
    **dict.fromkeys(("mariadb", "mariadb+pymysql", "mariadb+mysqldb"), "mariadb+aiomysql"),
    **dict.fromkeys(("sqlite", "sqlite+pysqlite"), "sqlite+aiosqlite"),
}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_QUOTE_IT = "quote its user name and password with urllib.parse.quote(value, safe='')"


def normalize_url(url: str | URL) -> tuple[URL, dict[str, Any]]:
    """The URL with its async driver, and the `connect_args` for `create_async_engine`.

    libpq's parameters (`sslmode`, `sslrootcert`, `connect_timeout`, `application_name`, `options`,
    `channel_binding`) become what asyncpg understands; an in-memory SQLite becomes one that
    the connections of a process share. An async driver in the URL is kept.
    Raises ConfigurationError; its text never has the password.
    """
    parsed = url if isinstance(url, URL) else _parse(str(url).strip())
    parsed = parsed.set(drivername=_ASYNC_DRIVERS.get(parsed.drivername, parsed.drivername))
    if parsed.drivername == "postgresql+asyncpg":
        return _for_asyncpg(parsed)
    if parsed.drivername.endswith("+aiomysql"):
        # MySQL's "utf8" cannot store an emoji.
        if parsed.query.get("charset", "utf8") in ("utf8", "utf8mb3"):
            parsed = parsed.update_query_dict({"charset": "utf8mb4"})
    elif parsed.drivername == "sqlite+aiosqlite" and parsed.database in (None, "", ":memory:"):
        # `:memory:` is one connection, on which all sessions would share one transaction. With
        # SQLite's memdb they have their own, and wait for each other as on a file.
        parsed = parsed.set(database="file:/memory", query={"vfs": "memdb", "uri": "true"})
    return parsed, {}


def _parse(url: str) -> URL:
    # An @ in a password would make the rest of it the host: sent to the resolver, shown in errors.
    if url.count("@") > 1 and not url.startswith("sqlite"):
        raise ConfigurationError(f"the database URL has more than one '@': {_QUOTE_IT}")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # `from None`: the original may quote a part of the password.
        raise ConfigurationError(
            f"the database URL is not driver://user:password@host:port/database; {_QUOTE_IT}"
        ) from None
    if "\ufffd" in f"{parsed.username}{parsed.password}":
        raise ConfigurationError(f"the database URL has a '%' that quotes nothing: {_QUOTE_IT}")
    return parsed


def _for_asyncpg(url: URL) -> tuple[URL, dict[str, Any]]:
    query = {name: v if isinstance(v, str) else v[-1] for name, v in url.query.items()}
    # A password among the parameters would be shown by the URL's repr.
    url = url.set(
        username=query.pop("user", url.username), password=query.pop("password", url.password)
    )
    arguments: dict[str, Any] = {}
    settings = _server_settings(query.pop("options", ""))
    if "application_name" in query:
        settings["application_name"] = query.pop("application_name")
    if settings:
        arguments["server_settings"] = settings
    if query.pop("channel_binding", "") == "require":
        # Hosted databases put it into every URL; to refuse it would refuse them all.
        logger.warning("asyncpg has no channel binding; sslmode=verify-full is its substitute")
    if "connect_timeout" in query:
        # libpq: 0 waits for ever.
        arguments["timeout"] = _number("connect_timeout", query.pop("connect_timeout"), 0.0) or None
    mode, root = query.pop("sslmode", query.pop("ssl", "")), query.pop("sslrootcert", "")
    if mode:
        arguments["ssl"] = _ssl(mode, root)
    if "command_timeout" in query:
        arguments["command_timeout"] = _number("command_timeout", query.pop("command_timeout"), 0.0)
    for name in ("statement_cache_size", "prepared_statement_cache_size"):
        if name in query:
            arguments[name] = _number(name, query.pop(name), 0)
    return url.set(query=query), arguments


def _ssl(mode: str, root: str) -> str | ssl.SSLContext:
    """libpq's word, which asyncpg takes; with a root certificate, a context that checks it."""
    if mode not in _SSL_MODES:
        raise ConfigurationError(f"sslmode must be one of {', '.join(_SSL_MODES)}, not {mode!r}")
    if not root or mode in ("disable", "allow", "prefer"):
        return mode
    try:
        context = ssl.create_default_context(cafile=None if root == "system" else root)
    except OSError as error:
        raise ConfigurationError(f"sslrootcert cannot be read: {error.strerror}") from None
    context.check_hostname = mode == "verify-full"
    return context


def _server_settings(options: str) -> dict[str, str]:
    r"""`-c name=value --other-name=value`, a space in a value written `\ `, as libpq reads it."""
    settings = {}
    for word in re.findall(r"(?:-c\s*|--)((?:\\.|[^\s\\])+)", options):
        name, equals, value = re.sub(r"\\(.)", r"\1", word).partition("=")
        if not equals:
            raise ConfigurationError("`options` in the database URL is not `-c name=value ...`")
        settings[name.replace("-", "_")] = value
    return settings


def _number(name: str, value: str, default: N) -> N:
    try:
        return type(default)(value)
    except ValueError:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise ConfigurationError(f"{name} must be {kind}, not {value!r}") from None


# Configuration


@dataclass(frozen=True)
class DatabaseConfig:
    """Everything that decides how the application talks to its database.

    Times are seconds; a server-side timeout of 0 leaves the server's own setting. `url` is any
    text that `normalize_url` takes, kept as an SQLAlchemy URL, whose repr masks the password.
    Raises ConfigurationError.
    """

    url: URL | str
    application_name: str = "fastapi"
    pool_size: int = 5
    max_overflow: int = 5
    pool_timeout: float = 5.0
    """How long a session waits for a free connection. Short: overload should be seen."""
    pool_recycle: int = 1800
    """Age at which a connection is replaced; MySQL's wait_timeout is set a minute above it."""
    ping_after_idle: float = 30.0
    """A connection that rested this long is pinged before use; 0 pings at every checkout."""
    connect_timeout: float = 10.0
    statement_timeout: float = 30.0
    """PostgreSQL only."""
    lock_timeout: float = 5.0
    """PostgreSQL's lock_timeout, InnoDB's innodb_lock_wait_timeout, SQLite's busy timeout."""
    idle_in_transaction_timeout: float = 60.0
    """PostgreSQL only: ends a forgotten transaction, which would keep its locks."""
    pgbouncer: bool = False
    """For PgBouncer in transaction mode: no cached statements, and the timeouts are set in each
    transaction, as it refuses them at connect. Read-only sessions have no transaction: give the
    role theirs, with ALTER ROLE ... SET."""
    echo: bool = False
    connect_args: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """More arguments for the driver, such as `ssl`: an SSLContext for aiomysql."""

    def __post_init__(self) -> None:
        url, arguments = normalize_url(self.url)
        object.__setattr__(self, "url", url)
        object.__setattr__(self, "connect_args", {**arguments, **self.connect_args})
        positive = ("pool_size", "pool_recycle", "pool_timeout", "connect_timeout")
        for name, value in vars(self).items():
            if isinstance(value, int | float) and (value < 0 or (name in positive and not value)):
                limit = "more than 0" if name in positive else "0 or more"
                raise ConfigurationError(f"{name} must be {limit}, not {value}")

    @classmethod
    def from_env(
        cls, variable: str = "DATABASE_URL", environ: Mapping[str, str] = os.environ
    ) -> Self:
        """The URL from `variable`, every other setting from DATABASE_<NAME>, as in
        DATABASE_POOL_SIZE or DATABASE_PGBOUNCER."""
        if not environ.get(variable):
            raise ConfigurationError(f"{variable} is not set")
        return cls(environ[variable], **_settings(environ))

    @property
    def pool_capacity(self) -> int:
        """The most connections that this process opens."""
        return self.pool_size + self.max_overflow


def _settings(environ: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for item in fields(DatabaseConfig):
        name = f"DATABASE_{item.name.upper()}"
        value = environ.get(name, "")
        if not value or not isinstance(item.default, bool | str | int | float):
            continue
        if isinstance(item.default, bool):
            if value.lower() not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
                raise ConfigurationError(f"{name} must be true or false, not {value!r}")
            settings[item.name] = value.lower() in ("1", "true", "yes", "on")
        elif isinstance(item.default, str):
            settings[item.name] = value
        else:
            settings[item.name] = _number(name, value, item.default)
    return settings


def database_config() -> DatabaseConfig:
    """Where the settings come from. Change it to `DatabaseConfig(settings.database_url)`, say."""
    return DatabaseConfig.from_env()


# Engine


def build_engine(config: DatabaseConfig) -> AsyncEngine:
    """An engine with the settings and listeners of its database. Does not connect."""
    url = make_url(config.url)
    dialect = url.get_backend_name()
    arguments = dict(config.connect_args)
    in_transaction: dict[str, str] = {}
    isolation: dict[str, Any] = {}
    if url.drivername == "postgresql+asyncpg":
        in_transaction = _complete_asyncpg(arguments, config)
    elif dialect in ("mysql", "mariadb"):
        arguments.setdefault("connect_timeout", config.connect_timeout)
        arguments.setdefault("init_command", _mysql_session(config))
        # InnoDB's default, REPEATABLE READ, locks the gaps between rows, so that plain inserts
        # deadlock, and reads an old snapshot after it waited for a lock. PostgreSQL's default is
        # this one too, and the code behaves alike on both.
        isolation = {"isolation_level": "READ COMMITTED"}
    elif dialect == "sqlite" and "timeout" not in url.query:
        arguments.setdefault("timeout", config.lock_timeout)
    engine = create_async_engine(
        url,
        # Named because SQLAlchemy would give some in-memory SQLite URLs one connection for all.
        poolclass=AsyncAdaptedQueuePool,
        pool_size=config.pool_size,
        max_overflow=config.max_overflow,
        pool_timeout=config.pool_timeout,
        pool_recycle=config.pool_recycle,
        echo=config.echo,
        connect_args=arguments,
        **isolation,
    )
    if dialect == "sqlite":
        _prepare_sqlite(engine)
    else:
        _check_liveness(engine, config)
    if in_transaction:
        _set_in_each_transaction(engine, in_transaction)
    return engine


def _complete_asyncpg(arguments: dict[str, Any], config: DatabaseConfig) -> dict[str, str]:
    """Add to asyncpg's arguments; returns the settings to be made in each transaction."""
    arguments.setdefault("timeout", config.connect_timeout)
    timeouts = {
        "statement_timeout": config.statement_timeout,
        "lock_timeout": config.lock_timeout,
        "idle_in_transaction_session_timeout": config.idle_in_transaction_timeout,
    }
    settings = {"application_name": config.application_name}
    settings |= {name: f"{seconds * 1000:.0f}" for name, seconds in timeouts.items() if seconds}
    settings |= arguments.get("server_settings", {})  # the URL has the last word
    arguments["server_settings"] = settings
    if not config.pgbouncer:
        return {}
    # asyncpg's cache and SQLAlchemy's: what one server connection has prepared is unknown, or
    # another statement, on the next.
    arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    # PgBouncer refuses a client that sends any other setting at connect.
    passed_on = ("application_name", "client_encoding", "datestyle", "timezone")
    arguments["server_settings"] = {n: v for n, v in settings.items() if n.lower() in passed_on}
    return {n: v for n, v in settings.items() if n.lower() not in passed_on}


def _set_in_each_transaction(engine: AsyncEngine, settings: Mapping[str, str]) -> None:
    calls = [f"set_config(${n}, ${n + 1}, true)" for n in range(1, 2 * len(settings), 2)]
    statement = f"SELECT {', '.join(calls)}"
    values = tuple(word for pair in settings.items() for word in pair)

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql(statement, values)


def _mysql_session(config: DatabaseConfig) -> str:
    # The server must not close a connection that the pool still counts on.
    statement = f"SET SESSION wait_timeout = {config.pool_recycle + 60}"
    if config.lock_timeout:
        statement += f", innodb_lock_wait_timeout = {math.ceil(config.lock_timeout)}"
    return statement


def _prepare_sqlite(engine: AsyncEngine) -> None:
    """Real transactions, foreign keys, and readers beside one writer.

    Python's driver begins a transaction only before some statements: a savepoint outlives the
    rollback, and two writers silently overwrite each other. Here it begins none (isolation_level
    None) and the `begin` event does. A writer takes its lock at once, as a transaction that has
    read already fails instead of waiting for it.
    """

    @event.listens_for(engine.sync_engine, "connect")
    def connect(dbapi_connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        cast(Any, dbapi_connection).isolation_level = None
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.close()

    @event.listens_for(engine.sync_engine, "reset")
    def reset(dbapi_connection: DBAPIConnection, _: object, state: PoolResetState) -> None:
        # Unlike a server, SQLite leaves a transaction open whose COMMIT failed.
        if state.asyncio_safe and cast(Any, dbapi_connection).driver_connection.in_transaction:
            dbapi_connection.rollback()

    @event.listens_for(engine.sync_engine, "invalidate")
    def invalidate(dbapi_connection: DBAPIConnection, *_: object) -> None:
        # The statement of a cancelled SELECT would keep the closed connection, and its write
        # lock, until it is garbage collected.
        with suppress(Exception):
            dbapi_connection.rollback()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("isolation_level") == "AUTOCOMMIT":
            return
        read_only = bool(options.get("read_only"))
        if connection.info.get("query_only", False) != read_only:
            connection.exec_driver_sql(f"PRAGMA query_only = {int(read_only)}")
            connection.info["query_only"] = read_only
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


# Liveness


def _check_liveness(engine: AsyncEngine, config: DatabaseConfig) -> None:
    """Replace dead connections at checkout, without a round trip for each.

    `pool_pre_ping` does it with three for asyncpg. A server that ends a connection says so on its
    socket, where looking costs nothing. A firewall that dropped it says nothing: therefore the
    ping after a rest.
    """

    @event.listens_for(engine.sync_engine, "checkin")
    def checkin(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def checkout(connection: DBAPIConnection, record: ConnectionPoolEntry, _: object) -> None:
        used_at = record.info.get("used_at")
        if used_at is None:
            return  # made just now
        driver = record.driver_connection
        transport = _transport(driver)
        if _is_closed(driver) or (transport is not None and transport.is_closing()):
            raise DisconnectionError("the connection was closed while it rested")
        rested = time.monotonic() - used_at >= config.ping_after_idle
        if not rested and not _has_unread_input(driver, transport):
            return
        # Across a firewall that forgot the connection, a ping would hang for minutes.
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(config.connect_timeout, transport.abort) if transport else None
        try:
            engine.sync_engine.dialect.do_ping(connection)
        except Exception as error:
            # Those that rested beside it have met the same end.
            raise InvalidatePoolError("the connection did not answer a ping") from error
        finally:
            if alarm is not None:
                alarm.cancel()


def _is_closed(driver: object) -> bool:
    is_closed = getattr(driver, "is_closed", None)  # asyncpg
    return bool(is_closed() if is_closed else getattr(driver, "closed", False))


def _transport(driver: object) -> asyncio.Transport | None:
    """The driver's asyncio transport. None if it has none; the ping after a rest remains."""
    writer = getattr(driver, "_writer", None)  # aiomysql; asyncpg has the transport itself
    return getattr(driver, "_transport", None) or getattr(writer, "transport", None)


def _has_unread_input(driver: object, transport: asyncio.Transport | None) -> bool:
    """Whether the server said anything on a resting connection; most likely goodbye.

    Looks into the driver's buffer and, as the event loop may not have read it yet, the kernel's.
    """
    reader = getattr(driver, "_reader", None)  # aiomysql
    if reader is not None and (reader.at_eof() or getattr(reader, "_buffer", b"")):
        return True
    socket = transport.get_extra_info("socket") if transport else None
    if socket is None:
        return False
    if not hasattr(io_select, "poll"):  # Windows
        return bool(io_select.select([socket], [], [], 0)[0])
    poll = io_select.poll()
    poll.register(socket, io_select.POLLIN)
    return bool(poll.poll(0))


# Sessions


class DatabaseSessionManager:
    """The one engine of a process, and its sessions. It belongs to the event loop that opened it.

    `session()` and `read_only_session()` are used with `async with`, whose end closes the session
    and so rolls back what was not committed; `begin()` commits. A commit does not expire
    objects (a rollback does), and a closed session cannot be used again.

    A read-only session saves PostgreSQL two round trips by AUTOCOMMIT: no BEGIN, no COMMIT, and
    each statement sees its own moment. On SQLite it has a transaction without the write lock; on
    MySQL an ordinary one, as switching AUTOCOMMIT on and off costs more than it saves. A write by
    the ORM or Core raises ReadOnlySessionError, and SQLite itself refuses all. SQL in a text() is
    not looked into: PostgreSQL would carry it out, MySQL rolls it back.
    """

    def __init__(self, config: DatabaseConfig) -> None:
        self.config = config
        self._opened: _Opened | None = None

    async def open(self) -> None:
        """Build the engine; RuntimeError when that is done already. Connects to nothing:
        `check_ready` tells whether the database is there."""
        if self._opened is not None:
            raise RuntimeError("the database session manager is already open: open it once")
        if self.config.pool_capacity < REQUEST_LIMIT:
            logger.warning(
                "%d requests may hold a session, the pool has %d connections: set "
                "DATABASE_POOL_SIZE and DATABASE_MAX_OVERFLOW in the environment",
                REQUEST_LIMIT,
                self.config.pool_capacity,
            )
        url, keeper = make_url(self.config.url), None
        if "memdb" in url.query.values():
            # An in-memory database is gone with its last connection.
            keeper = await create_async_engine(url, poolclass=NullPool).connect()
        self._opened = _Opened(asyncio.get_running_loop(), build_engine(self.config), keeper)

    async def close(self) -> None:
        """Close the connections. Does nothing when not open."""
        if self._opened is None:
            return
        opened = self._current()
        self._opened = None
        await opened.engine.dispose()
        if opened.keeper is not None:
            await opened.keeper.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def _current(self) -> "_Opened":
        if self._opened is None:
            raise RuntimeError(
                "the database session manager is not open: pass lifespan=lifespan to FastAPI"
            )
        if asyncio.get_running_loop() is not self._opened.loop:
            # The drivers would wait for ever on the other loop's sockets.
            raise RuntimeError(
                "the database session manager was opened in another event loop: "
                "open one manager for each loop"
            )
        return self._opened

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    @property
    def engine(self) -> AsyncEngine:
        """Raises RuntimeError when not open, or in another event loop, like all below."""
        return self._current().engine

    @property
    def read_only_engine(self) -> AsyncEngine:
        """The same pool, for reading."""
        return self._current().read_only_engine

    def session(self) -> AsyncSession:
        """A new session. It commits only when told to."""
        return self._current().sessions()

    def read_only_session(self) -> AsyncSession:
        """A new session for reading; see the class."""
        return self._current().read_only_sessions()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """A session that commits when the block ends, and rolls back when it raises.

        The block may commit earlier, to give its connection back before it waits for something
        else. If it is cancelled during the commit, the work may have been saved, or not.
        """
        async with self.session() as session:
            yield session
            await session.commit()

    @asynccontextmanager
    async def rolled_back(self) -> AsyncIterator[AsyncConnection]:
        """For tests: the sessions of this block join one transaction, which is then undone.

        Their commits release savepoints of it. They must be used one after the other.
        """
        opened = self._current()
        async with opened.engine.connect() as connection:
            await connection.begin()
            for sessions in (opened.sessions, opened.read_only_sessions):
                sessions.configure(bind=connection, join_transaction_mode="create_savepoint")
            try:
                yield connection
            finally:
                opened.sessions = _session_factory(opened.engine)
                opened.read_only_sessions = _session_factory(opened.read_only_engine)


class _Opened:
    """What an open manager holds."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, engine: AsyncEngine, keeper: AsyncConnection | None
    ) -> None:
        self.loop = loop
        self.engine = engine
        self.keeper = keeper
        self.read_only_engine = _read_only(engine)
        self.sessions = _session_factory(engine)
        self.read_only_sessions = _session_factory(self.read_only_engine)


def _session_factory(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    # expire_on_commit: to load an expired attribute takes IO, which an attribute cannot await.
    # close_resets_only: else a closed session quietly takes a connection and never returns it.
    return async_sessionmaker(engine, expire_on_commit=False, close_resets_only=False)


def _read_only(engine: AsyncEngine) -> AsyncEngine:
    autocommit = {"isolation_level": "AUTOCOMMIT"} if engine.dialect.name == "postgresql" else {}
    read_only = engine.execution_options(read_only=True, **autocommit)

    @event.listens_for(read_only.sync_engine, "before_execute")
    def refuse(_connection: Connection, statement: object, *_: object) -> None:
        if isinstance(statement, UpdateBase | ExecutableDDLElement):
            raise ReadOnlySessionError(f"{type(statement).__name__} in a read-only session")

    return read_only


# FastAPI


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the database for the life of the application, as `app.state.database`.

    Pass it to FastAPI, or enter it in a lifespan of your own:
    `async with lifespan(app), something_else(): yield`. A manager that is on `app.state.database`
    before is used instead, and left alone if it is open.
    """
    manager = getattr(app.state, "database", None) or DatabaseSessionManager(database_config())
    if manager.is_open:
        yield
        return
    async with manager:
        app.state.database = manager
        yield


def get_database(connection: HTTPConnection) -> DatabaseSessionManager:
    """Dependency: the application's manager."""
    manager = getattr(connection.app.state, "database", None)
    if not isinstance(manager, DatabaseSessionManager):
        raise RuntimeError(
            "app.state.database is not set: pass lifespan=lifespan to FastAPI "
            "(a mounted application has a state of its own)"
        )
    return manager


_sizes = _settings(os.environ)
REQUEST_LIMIT: int = _sizes.get("pool_size", DatabaseConfig.pool_size) + _sizes.get(
    "max_overflow", DatabaseConfig.max_overflow
)
"""Requests that hold a session at once; further ones wait, where they would get a 500.

Read at import from DATABASE_POOL_SIZE and DATABASE_MAX_OVERFLOW. FastAPI >= 0.163 enforces it; on
an older one a request that finds the pool empty fails after `pool_timeout`.
"""
_has_limit = "max_concurrency" in inspect.signature(Depends).parameters
_limit: dict[str, Any] = {"max_concurrency": REQUEST_LIMIT} if _has_limit else {}


async def _place() -> AsyncIterator[None]:
    """One of the REQUEST_LIMIT places, which both kinds of session share."""
    yield


Database = Annotated[DatabaseSessionManager, Depends(get_database)]
_Place = Annotated[None, Depends(_place, scope="function", **_limit)]


async def get_db(database: Database, _place: _Place) -> AsyncIterator[AsyncSession]:
    """Dependency: a session that commits before the response. Use it as `DbSession`."""
    async with database.begin() as session:
        yield session


async def get_read_only_db(database: Database, _place: _Place) -> AsyncIterator[AsyncSession]:
    """Dependency: a session for reading. Use it as `ReadOnlyDbSession`."""
    async with database.read_only_session() as session:
        yield session
        await session.flush()  # objects that were added would be lost without a word


# scope="function" is what puts the commit before the response; by default it comes after.
DbSession = Annotated[AsyncSession, Depends(get_db, scope="function")]
ReadOnlyDbSession = Annotated[AsyncSession, Depends(get_read_only_db, scope="function")]


# Retries

_SERIALIZATION = {"40001", "40P01"}  # PostgreSQL: serialization failure, deadlock
_SERVER_GOES = {"57P01", "57P02", "57P03"}  # shut down, crashed, not ready yet
_MYSQL_CONFLICT = {1213, 1205, 1020}  # deadlock, lock wait timeout, record has changed
_MYSQL_LOST = {2002, 2003, 2006, 2013}
_SQLITE_BUSY = {5, 6}  # busy, locked


async def run_in_transaction(
    manager: DatabaseSessionManager,
    work: Callable[[AsyncSession], Awaitable[T]],
    *,
    attempts: int = 4,
    base_delay: float = 0.05,
    max_delay: float = 1.0,
    isolation_level: str | None = None,
    repeatable: bool = False,
) -> T:
    """Run `work(session)` in a transaction of its own, commit, and return its result.

    The whole of `work` runs again, `attempts` times at most and after random pauses (seconds), on
    a serialization failure, a deadlock, MySQL's lock timeout, a busy SQLite or a lost connection.
    So it must load what it changes, and touch nothing but its session. Other errors,
    IntegrityError among them, are raised at once.

    A connection lost during COMMIT leaves open whether the work was saved. That raises
    CommitOutcomeUnknownError, unless `repeatable` says that saving it twice does no harm (because
    of an idempotency key, say).

    It takes the manager, never a session: a transaction under way cannot start again from its
    middle. Do not call it where the caller holds locks on the same rows: it would wait for them.
    """
    if not isinstance(manager, DatabaseSessionManager):
        raise TypeError("run_in_transaction needs the manager: it opens its own session")
    for attempt in range(1, attempts + 1):
        try:
            return await _attempt(manager, work, isolation_level, repeatable)
        except DBAPIError as error:
            if attempt == attempts or not _is_transient(error):
                raise
            logger.info("attempt %d of a transaction: %s", attempt, type(error).__name__)
        ceiling = min(max_delay, base_delay * 2 ** (attempt - 1))
        await asyncio.sleep(random.uniform(0, ceiling))  # noqa: S311 - it hides nothing
    raise ValueError("attempts must be at least 1")


async def _attempt(
    manager: DatabaseSessionManager,
    work: Callable[[AsyncSession], Awaitable[T]],
    isolation_level: str | None,
    repeatable: bool,
) -> T:
    options: dict[str, Any] = {}
    # SQLite is always serializable, and the option would undo its `isolation_level = None`.
    if isolation_level and manager.engine.dialect.name != "sqlite":
        options = {"isolation_level": isolation_level}
    async with manager.session() as session:
        try:
            # Before `work`, whose own ConnectionErrors are not the database's.
            await session.connection(execution_options=options)
        except Exception as error:
            # SQLAlchemy 2.1 makes both an OperationalError itself.
            if isinstance(error, OSError) or getattr(error, "sqlstate", None) in _SERVER_GOES:
                raise OperationalError(None, None, error, connection_invalidated=True) from error
            raise
        result = await work(session)
        await session.flush()
        try:
            await session.commit()
        except DBAPIError as error:
            if repeatable or not _is_lost(error):
                raise
            raise CommitOutcomeUnknownError(
                "the connection was lost during COMMIT: the work may have been saved, or not"
            ) from error
        return result


def _is_transient(error: DBAPIError) -> bool:
    return (
        _is_lost(error)
        or getattr(error.orig, "sqlstate", None) in _SERIALIZATION
        or _mysql_code(error) in _MYSQL_CONFLICT
        # A deadlock in begin_nested() has rolled back all, and the savepoint with it.
        or (_mysql_code(error) == 1305 and "SAVEPOINT" in (error.statement or ""))
        # The low byte is the kind; the rest tells one sort of busy from another.
        or getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_BUSY
    )


def _is_lost(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or ""
    return (
        error.connection_invalidated
        or state in _SERVER_GOES
        or state.startswith("08")
        or _mysql_code(error) in _MYSQL_LOST
        or isinstance(error.orig, OSError)
        or isinstance(getattr(error.orig, "__cause__", None), OSError)
    )


def _mysql_code(error: DBAPIError) -> object:
    return next(iter(getattr(error.orig, "args", ())), None)


# Health


@dataclass(frozen=True)
class Health:
    """The answer to a probe: whether all is well, and what was looked at."""

    ok: bool
    checks: dict[str, str]

    @property
    def status_code(self) -> int:
        """200 or 503."""
        return 200 if self.ok else 503


def check_live() -> Health:
    """For liveness probes. Never asks the database: its failure must not restart the pods."""
    return Health(True, {"process": "answers"})


async def check_ready(
    manager: DatabaseSessionManager,
    *,
    timeout: float = 2.0,  # noqa: ASYNC109 - it covers the cleanup too, which a caller's cannot
    migrations: str | Path | None = None,
    expected_heads: Collection[str] | None = None,
) -> Health:
    """For readiness probes: the database answers within `timeout` seconds, and is migrated.

    ```python
    from fastapi import Response

    from .session_manager import Database, check_ready


    @app.get("/ready")
    async def ready(database: Database, response: Response) -> dict[str, str]:
        health = await check_ready(database, migrations="alembic.ini")
        response.status_code = health.status_code
        return health.checks
    ```

    `migrations` is an alembic.ini or a script directory. A database behind its head is not ready.
    One with a revision unknown to this code is: a newer release has migrated it, as happens in
    every rolling deployment. Where Alembic is not installed, give `expected_heads`. A pool with
    no free connection for all of `timeout` is not ready.
    """
    known: frozenset[str] = frozenset()
    note = "not checked"
    if migrations is not None and expected_heads is None:
        try:
            expected_heads, known = await asyncio.to_thread(_revisions, str(migrations))
        except ImportError:
            note = "not checked: Alembic is not installed"
    task = asyncio.create_task(_probe(manager))
    done, _ = await asyncio.wait({task}, timeout=timeout)
    in_use = cast(QueuePool, manager.engine.pool).checkedout()
    checks = {
        "database": "answers",
        "migrations": note,
        "pool": f"{in_use} of {manager.config.pool_capacity} connections in use",
    }
    if not done:
        task.cancel()  # not awaited: to give up a silent connection takes longer
        return Health(False, checks | {"database": f"no answer within {timeout:g} seconds"})
    if error := task.exception():
        # A probe is often public: the text, which may name hosts, goes to the log.
        logger.warning("the database is not ready: %s", error)
        return Health(False, checks | {"database": f"failed: {type(error).__name__}"})
    if expected_heads is None:
        return Health(True, checks)
    ok, checks["migrations"] = _compare(task.result(), frozenset(expected_heads), known)
    return Health(ok, checks)


async def _probe(manager: DatabaseSessionManager) -> frozenset[str]:
    """The revisions the database is at."""
    async with manager.read_only_engine.connect() as connection:
        exists = await connection.run_sync(
            lambda c: inspect_database(c).has_table("alembic_version")
        )
        if not exists:
            return frozenset()
        rows = await connection.execute(text("SELECT version_num FROM alembic_version"))
        return frozenset(rows.scalars())


def _compare(
    current: frozenset[str], heads: frozenset[str], known: frozenset[str]
) -> tuple[bool, str]:
    if current == heads:
        return True, "at head"
    if known and current - known:
        return True, f"ahead of this code, at {_names(current)}"
    return False, f"at {_names(current)}, expected {_names(heads)}"


def _names(revisions: frozenset[str]) -> str:
    return ", ".join(sorted(revisions)) or "no revision"


@lru_cache
def _revisions(path: str) -> tuple[frozenset[str], frozenset[str]]:
    """The heads and all the revisions of a script directory. They outlast the process."""
    from alembic.config import Config  # noqa: PLC0415 - Alembic may not be installed
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    is_ini = path.endswith(".ini")
    scripts = ScriptDirectory.from_config(Config(path)) if is_ini else ScriptDirectory(path)
    everything = frozenset(script.revision for script in scripts.walk_revisions())
    return frozenset(scripts.get_heads()), everything
