"""An async engine that is bounded in all it waits for. `session_manager.py` builds on it.

Decided here: what the connections of each database have set, who gets one and when, how a dead
one is noticed, and for how long a server is waited for that is down, frozen or behind a firewall
that drops. The costs are a look at the socket at each checkout, a microsecond, and no statement.
Copy it with `database_url.py`. It needs no FastAPI, so a worker or a script may use it alone:

```python
from sqlalchemy import select

from .database_engine import DatabaseConfig, build_engine


async def main() -> None:
    engine = build_engine(DatabaseConfig.from_env())
    async with engine.begin() as connection:
        print(await connection.scalar(select(1)))
    await engine.dispose()
```

Needs SQLAlchemy >= 2.0.58 or >= 2.1.9 (earlier ones lose connections of cancelled tasks), and
asyncpg >= 0.31, aiosqlite >= 0.22 or aiomysql >= 0.3.
"""

import asyncio
import math
import os
import re
import select as io_select
import socket
import sqlite3
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, Self, cast

from sqlalchemy import Connection, event, make_url
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import DisconnectionError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolResetState
from sqlalchemy.util import await_only

if __package__:
    from .database_url import (  # type: ignore[import-not-found, unused-ignore]
        ConfigurationError,
        normalize_url,
        number,
    )
else:  # beside the program, in no package
    from database_url import (  # type: ignore[import-not-found, no-redef, unused-ignore]
        ConfigurationError,
        normalize_url,
        number,
    )


@dataclass(frozen=True)
class DatabaseConfig:
    """How the application talks to its database. Raises ConfigurationError.

    Times are seconds; a server-side timeout of 0 leaves the server's own setting. `url` is any
    text that `normalize_url` takes, kept as an SQLAlchemy URL, whose repr masks the password.
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
    """The server ends a statement after this; a server that fell silent is given up, and its
    connection replaced, `client_timeout` after it was asked. 0: both wait for ever."""
    lock_timeout: float = 5.0
    """PostgreSQL's lock_timeout, InnoDB's innodb_lock_wait_timeout; SQLite waits four times as
    long, since all its writers share one lock."""
    idle_in_transaction_timeout: float = 60.0
    """PostgreSQL only: ends a forgotten transaction, which would keep its locks."""
    pgbouncer: bool = False
    """For PgBouncer in transaction mode: no cached statements, and the timeouts are set in each
    transaction, as it refuses them at connect. Read-only sessions have no transaction: give the
    role theirs, with ALTER ROLE ... SET. `?pgbouncer=true` in the URL does the same."""
    echo: bool = False
    connect_args: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """More arguments for the driver, such as `ssl`: an SSLContext for aiomysql."""

    def __post_init__(self) -> None:
        url, arguments = normalize_url(self.url)
        object.__setattr__(self, "url", url)
        object.__setattr__(self, "connect_args", {**arguments, **self.connect_args})
        if self.connect_args.get("statement_cache_size") == 0:
            object.__setattr__(self, "pgbouncer", True)
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
        return cls(environ[variable], **_settings(environ, None))

    @classmethod
    def from_settings(cls, settings: object, url: object = None) -> Self:
        """`url` or `settings.database_url`, and all else from the attributes of `settings` that are
        called `database_pool_size`, `db_pool_size` or `pool_size` (pydantic-settings, say), or
        from DATABASE_POOL_SIZE in the environment where there is none."""
        url = url or getattr(settings, "database_url", None)
        reveal = getattr(url, "get_secret_value", None)
        url = reveal() if reveal else url
        if not url:
            raise ConfigurationError("the settings have no database_url")
        url = url if isinstance(url, URL) else str(url)
        return cls(url, **_settings(os.environ, settings))

    @property
    def pool_capacity(self) -> int:
        """The most connections that this process opens, but for the one of its probes."""
        return self.pool_size + self.max_overflow

    @property
    def client_timeout(self) -> float | None:
        """Above `statement_timeout`: a server that answers ends a statement itself."""
        return self.statement_timeout * 1.1 + 1 if self.statement_timeout else None


def _settings(environ: Mapping[str, str], settings: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in fields(DatabaseConfig):
        name = f"DATABASE_{item.name.upper()}"
        owned = (f"{prefix}{item.name}" for prefix in ("database_", "db_", ""))
        values = (getattr(settings, n, None) for name_ in owned for n in (name_, name_.upper()))
        value = next((v for v in values if v is not None), environ.get(name, ""))
        if value == "" or not isinstance(item.default, bool | str | int | float):
            continue
        if isinstance(value, str) and isinstance(item.default, bool):
            if value.lower() not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
                raise ConfigurationError(f"{name} must be true or false, not {value!r}")
            value = value.lower() in ("1", "true", "yes", "on")
        elif isinstance(value, str) and not isinstance(item.default, str):
            value = number(name, value, item.default)
        found[item.name] = value
    return found


class SessionStateError(RuntimeError):
    """A statement that needs a session of its own, behind PgBouncer."""


class NoFreeConnectionError(PoolTimeoutError):
    """All connections of the process were in use for all of `pool_timeout`."""


class FairPool(AsyncAdaptedQueuePool):
    """Gives connections in the order of asking: a place is taken at checkout, back at checkin.

    SQLAlchemy's own pool lets a newcomer overtake those who wait, and when a connect fails, those
    who wait for a place wait on.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.capacity = self._free = self.size() + int(options["max_overflow"])
        self._waiting: deque[asyncio.Future[None]] = deque()

    def _do_get(self) -> ConnectionPoolEntry:
        if self._free:
            self._free -= 1
        else:
            await_only(self._turn())
        try:
            return super()._do_get()
        except BaseException:
            self._give_back()
            raise

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        try:
            super()._do_return_conn(record)
        finally:
            self._give_back()

    def _give_back(self) -> None:
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._free += 1

    async def _turn(self) -> None:
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            async with asyncio.timeout(self.timeout()):
                await asyncio.shield(mine)  # which stays pending when this task is cancelled
        except BaseException as error:
            if mine.done():
                self._give_back()  # it came too late
            else:
                self._waiting.remove(mine)
            if isinstance(error, TimeoutError):
                raise NoFreeConnectionError(
                    f"QueuePool limit of size {self.size()} overflow {self._max_overflow} reached: "
                    f"all in use for {self.timeout():g} seconds, {len(self._waiting)} more wait"
                ) from None
            raise


def build_engine(config: DatabaseConfig) -> AsyncEngine:
    """An engine with the settings and listeners of its database. Does not connect."""
    url = make_url(config.url)
    dialect = url.get_backend_name()
    arguments = dict(config.connect_args)
    in_transaction: dict[str, str] = {}
    isolation: dict[str, Any] = {}
    if url.drivername == "postgresql+asyncpg":
        in_transaction = _complete_asyncpg(arguments, config)
        if not isinstance(url.query.get("host", ""), str):
            arguments.setdefault("async_creator_fn", _HostByHost())
    elif dialect in ("mysql", "mariadb"):
        # Where the URL has its own, these would take its place.
        ours = {"connect_timeout": config.connect_timeout, "init_command": _mysql_session(config)}
        arguments = {n: v for n, v in ours.items() if n not in url.query} | arguments
        # InnoDB's default, REPEATABLE READ, locks the gaps between rows, so that plain inserts
        # deadlock, and reads an old snapshot after it waited for a lock. PostgreSQL's default is
        # this one too, and the code behaves alike on both.
        isolation = {"isolation_level": "READ COMMITTED"}
    elif dialect == "sqlite" and "timeout" not in url.query:
        arguments.setdefault("timeout", config.lock_timeout * 4)
    engine = create_async_engine(
        url,
        # Named because SQLAlchemy would give some in-memory SQLite URLs one connection for all.
        poolclass=FairPool,
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
        _bound_waiting(engine, config.client_timeout)
        _check_liveness(engine, config)
    if in_transaction:
        _set_in_each_transaction(engine, in_transaction)
    if config.pgbouncer:
        _refuse_session_state(engine)
    return engine


def _complete_asyncpg(arguments: dict[str, Any], config: DatabaseConfig) -> dict[str, str]:
    """Add to asyncpg's arguments; returns the settings to be made in each transaction."""
    arguments.setdefault("timeout", config.connect_timeout)
    arguments.setdefault("command_timeout", config.client_timeout)
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
    passed_on = ("application_name", "client_encoding", "datestyle", "timezone", "options")
    arguments["server_settings"] = {n: v for n, v in settings.items() if n.lower() in passed_on}
    return {n: v for n, v in settings.items() if n.lower() not in passed_on}


class _HostByHost:
    """Connects to the first of several hosts that is what is wanted, beginning with the last one.

    asyncpg has one time limit for all of its hosts: one that is gone without a word uses it up,
    and no other is ever asked (#17). Here each has its share of `connect_timeout`.
    """

    def __init__(self) -> None:
        self._last = ("", 0)

    async def __call__(
        self,
        *,
        host: list[str],
        port: list[int],
        timeout: float | None,  # asyncpg's
        target_session_attrs: str = "any",
        **options: Any,
    ) -> object:
        import asyncpg  # type: ignore[import-untyped, unused-ignore]

        places = sorted(zip(host, port, strict=True), key=lambda place: place != self._last)
        prefers = target_session_attrs == "prefer-standby"
        kinds = ("standby", "any") if prefers else (target_session_attrs,)
        tries = [(kind, place) for kind in kinds for place in places]
        end = time.monotonic() + timeout if timeout else None
        failed: Exception | None = None
        for tried, (kind, place) in enumerate(tries):
            share = end and max(0.1, (end - time.monotonic()) / (len(tries) - tried))
            options |= {"host": place[0], "port": place[1], "target_session_attrs": kind}
            try:
                connection: object = await asyncpg.connect(timeout=share, **options)
            except (
                OSError,
                asyncpg.PostgresConnectionError,
                asyncpg.CannotConnectNowError,
                asyncpg.TargetServerAttributeNotMatched,
            ) as error:
                failed = error
                continue
            self._last = place
            return connection
        raise ConnectionError(
            f"none of {len(places)} hosts is up and {target_session_attrs}"
        ) from failed


def _set_in_each_transaction(engine: AsyncEngine, settings: Mapping[str, str]) -> None:
    calls = [f"set_config(${n}, ${n + 1}, true)" for n in range(1, 2 * len(settings), 2)]
    statement = f"SELECT {', '.join(calls)}"
    values = tuple(word for pair in settings.items() for word in pair)

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        if not cast(Any, connection.connection.dbapi_connection).autocommit:
            connection.exec_driver_sql(statement, values)


def _refuse_session_state(engine: AsyncEngine) -> None:
    """Behind PgBouncer, what is set for a session stays with a server connection: the next
    client has it, and who has set it may not."""

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def refuse(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if _SESSION_STATE.match(statement) and not re.search(r"(?i)ON\s+COMMIT\s+DROP", statement):
            raise SessionStateError(
                f"PgBouncer would let other clients have this: {statement.strip()[:60]!r}. Use "
                "SET LOCAL, pg_advisory_xact_lock, ON COMMIT DROP, or a direct connection"
            )


_SESSION_STATE = re.compile(
    r"""(?isx) (?: \s | /\*.*?\*/ | --[^\n]*\n )*
    (?: SET \s+ (?! LOCAL\b | TRANSACTION\b | CONSTRAINTS\b )
      | (?: LISTEN | UNLISTEN ) \b
      | PREPARE \s+ (?! TRANSACTION\b )
      | CREATE \s+ (?: (?: LOCAL | GLOBAL ) \s+ )? TEMP (?: ORARY )? \b
      | DECLARE \b .* \b WITH \s+ HOLD \b
      | SELECT \b .* \b pg_ (?: try_ )? advisory_lock (?: _shared )? \s* \(
      | SELECT \b .* \b set_config \s* \( [^()]* , \s* false \s* \)
    )"""
)


def _mysql_session(config: DatabaseConfig) -> str:
    # The server must not close a connection that the pool still counts on.
    statement = f"SET SESSION wait_timeout = {config.pool_recycle + 60}"
    if config.lock_timeout:
        statement += f", innodb_lock_wait_timeout = {math.ceil(config.lock_timeout)}"
    if limit := config.statement_timeout:  # comments that MariaDB and MySQL read, each its own
        statement += f" /*M!100101 , max_statement_time = {limit:g} */"
        statement += f" /*!80000 , max_execution_time = {limit * 1000:.0f} */"
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
        _switch_to_wal(cursor)
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


def _switch_to_wal(cursor: DBAPICursor) -> None:
    """Once; the file remembers it.

    For this change SQLite does not wait for a writer, whatever the busy timeout: of two processes
    that start together one is told "database is locked" at once. BEGIN IMMEDIATE does wait.
    """
    cursor.execute("PRAGMA busy_timeout")
    end = time.monotonic() + cast(Any, cursor.fetchone())[0] / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            # Garbage collected later, its cursor would wait for the thread that waits below, and
            # the whole process with it.
            traceback.clear_frames(error.__traceback__)
        else:
            return
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("ROLLBACK")


def _bound_waiting(engine: AsyncEngine, seconds: float | None) -> None:
    """A server that is away, or falls silent, is an OperationalError, after a while that is known.

    Else an answer that a firewall dropped is waited for without an end.
    """

    dialect = engine.sync_engine.dialect
    connect = dialect.connect

    def connect_or_say(*arguments: Any, **options: Any) -> DBAPIConnection:
        if dialect.driver == "aiomysql":
            module = cast(Any, dialect.loaded_dbapi).aiomysql
            options.setdefault("async_creator_fn", _aiomysql(module.Connection, seconds))
        try:
            return connect(*arguments, **options)
        except Exception as error:
            # SQLAlchemy 2.0 lets errors of the socket and of asyncpg through as they are.
            if isinstance(error, OSError) or hasattr(error, "sqlstate"):
                raise OperationalError(None, None, error, connection_invalidated=True) from error
            raise

    # Not a do_connect listener: whatever it returns keeps the application's own from being asked.
    dialect.connect = connect_or_say  # type: ignore[method-assign]
    if dialect.driver == "asyncpg":
        # Whose close() waits for the server, one connection after the other; this, two seconds.
        dialect.do_close = dialect.do_terminate  # type: ignore[method-assign]

    @event.listens_for(engine.sync_engine, "connect")
    def connected(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        if transport := _transport(record.driver_connection):
            _keep_alive(transport.get_extra_info("socket"), seconds)

    @event.listens_for(engine.sync_engine, "handle_error", retval=True)
    def handle_error(context: ExceptionContext) -> BaseException | None:
        error = context.original_exception
        if not isinstance(error, TimeoutError):
            return None
        context.is_disconnect = True  # what its answer would be, nobody knows
        return OperationalError(context.statement, None, error, connection_invalidated=True)


def _aiomysql(kind: Any, seconds: float | None) -> Callable[..., Awaitable[Any]]:
    """A way to connect that is bounded, as are all waits after it.

    aiomysql has a limit for the socket alone: a server that takes the connection and then says
    nothing, because it is frozen, say, would be waited for without an end.
    """

    async def connect(*arguments: Any, **options: Any) -> Any:
        made = kind(*arguments, **options)
        try:
            async with asyncio.timeout(options.get("connect_timeout") or None):
                await made._connect()
        except BaseException:
            made.close()
            raise
        reader = made._reader
        wait = reader._wait_for_data  # only called where there is nothing to read yet

        async def wait_in_bounds(name: str) -> None:
            async with asyncio.timeout(seconds):
                await wait(name)

        if seconds:
            reader._wait_for_data = wait_in_bounds
        return made

    return connect


def _keep_alive(sock: Any, seconds: float | None) -> None:  # asyncio's, or uvloop's
    if sock is None or sock.family == getattr(socket, "AF_UNIX", None):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    values = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
    for name, value in (values | {"TCP_USER_TIMEOUT": int((seconds or 60) * 1000)}).items():
        if hasattr(socket, name):  # each system has some
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _check_liveness(engine: AsyncEngine, config: DatabaseConfig) -> None:
    """Replace dead connections at checkout, without a round trip for each.

    `pool_pre_ping` does it with three for asyncpg. A server that ends a connection says so on its
    socket, where looking costs nothing. A firewall that dropped it says nothing: therefore the
    ping after a rest.
    """
    is_asyncpg = engine.dialect.driver == "asyncpg"

    @event.listens_for(engine.sync_engine, "checkin")
    def checkin(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = time.monotonic()
        if is_asyncpg and connection is not None:
            cast(Any, connection).autocommit = False  # a reader may have set it

    @event.listens_for(engine.sync_engine, "checkout")
    def checkout(connection: DBAPIConnection, record: ConnectionPoolEntry, _: object) -> None:
        used_at = record.info.get("used_at")
        if used_at is None:
            return  # made just now
        driver: Any = record.driver_connection
        transport = _transport(driver)
        closed = driver.is_closed() if hasattr(driver, "is_closed") else driver.closed
        if closed or (transport is not None and transport.is_closing()):
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
    sock = transport.get_extra_info("socket") if transport else None
    if sock is None:
        return False
    if not hasattr(io_select, "poll"):  # Windows
        return bool(io_select.select([sock], [], [], 0)[0])
    poll = io_select.poll()
    poll.register(sock, io_select.POLLIN)
    return bool(poll.poll(0))
