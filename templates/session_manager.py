"""Async database sessions for FastAPI. Copy it with `database_engine.py`.

```python
from fastapi import FastAPI
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from .base_model import Base
from .session_manager import DbSession, lifespan


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)


app = FastAPI(lifespan=lifespan)


@app.post("/customers", status_code=201)
async def create_customer(email: str, session: DbSession) -> int:
    customer = Customer(email=email)
    session.add(customer)
    await session.flush()
    return customer.id
```

The session commits after the endpoint returns and BEFORE the response is sent, so a failed commit
is an error for the client; an exception rolls back. Make the tables with migrations, or with
`await connection.run_sync(Base.metadata.create_all)` on `engine.begin()` of the manager.

- `DbSession`: the session of a request. FastAPI refuses a plain `Depends(get_db)`.
- `ReadOnlyDbSession`, `ReadOnlyConnection`: for endpoints that only read; see the manager.
- `Database`: the manager. A StreamingResponse or background task outlives the request's session
  (using that one raises) and opens its own: `async with database.begin() as session:`.

Optional, each a file that stands alone: `errors.py` (409, 422 and 503 instead of 500),
`retries.py`, `health.py`, `bulk.py`, `replicas.py`, `observability.py`. Keep workers *
(pool_size + max_overflow + 1 for probes) below the server's max_connections. Needs SQLAlchemy >=
2.0.58 or >= 2.1.9 (earlier ones lose connections of cancelled requests), FastAPI >= 0.121.1, and
asyncpg >= 0.31, aiosqlite >= 0.22 or aiomysql >= 0.3.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Annotated, Any, Self, cast

import fastapi
from fastapi import Depends, FastAPI
from fastapi.requests import HTTPConnection
from sqlalchemy import Connection, event, make_url
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.dml import UpdateBase

if __package__:
    from .database_engine import DatabaseConfig, build_engine  # type: ignore[import-not-found, unused-ignore]
else:  # beside the program, in no package
    from database_engine import DatabaseConfig, build_engine  # type: ignore[import-not-found, no-redef, unused-ignore]

__all__ = [
    "Database",
    "DatabaseConfig",
    "DatabaseSessionManager",
    "DbSession",
    "ReadOnlyConnection",
    "ReadOnlyDbSession",
    "ReadOnlySessionError",
    "build_engine",
    "database_config",
    "get_database",
    "get_db",
    "get_read_only_db",
    "lifespan",
]


class ReadOnlySessionError(RuntimeError):
    """A read-only session was asked to write."""


def require_fastapi(version: str) -> None:
    """Refuse a FastAPI that would send the response before the commit."""
    if tuple(int(part) for part in re.findall(r"\d+", version)[:3]) < (0, 121, 1):
        raise RuntimeError(
            f"FastAPI {version} sends the response before a dependency has committed; "
            "session_manager needs fastapi>=0.121.1 (Depends(..., scope='function'))"
        )


require_fastapi(fastapi.__version__)


def database_config() -> DatabaseConfig:
    """Where the settings come from. `DatabaseConfig.from_settings(settings)` is another place."""
    return DatabaseConfig.from_env()


class QuickSession(AsyncSession):
    """An AsyncSession that ends without a task of its own where nothing was interrupted."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            await super().__aexit__(kind, error, traceback)  # safe from a second cancellation
        elif self.in_transaction():
            await self.close()
        else:
            self.sync_session.close()  # nothing to wait for


@dataclass
class _Opened:
    """What an open manager holds."""

    loop: asyncio.AbstractEventLoop
    engine: AsyncEngine
    keeper: AsyncConnection | None

    def __post_init__(self) -> None:
        self.read_only_engine = _read_only(self.engine)
        self.probe_engine: AsyncEngine | None = None
        self.join(None)

    def join(self, connection: AsyncConnection | None) -> None:
        """Make sessions on the engines, or all within the transaction of this connection."""
        # expire_on_commit: to load an expired attribute takes IO, which an attribute cannot await.
        # close_resets_only: else a closed session quietly takes a connection and never returns it.
        options: dict[str, Any] = {"expire_on_commit": False, "close_resets_only": False}
        if connection is not None:
            options["join_transaction_mode"] = "create_savepoint"
        self.sessions = async_sessionmaker[AsyncSession](
            connection or self.engine, class_=QuickSession, **options
        )
        self.read_only_sessions = async_sessionmaker[AsyncSession](
            connection or self.read_only_engine, class_=QuickSession, **options
        )


class DatabaseSessionManager:
    """The one engine of a process, and its sessions. It belongs to the event loop that opened it.

    `session()` and `read_only_session()` are used with `async with`, whose end closes the session
    and so rolls back what was not committed; `begin()` commits. A commit does not expire
    objects (a rollback does), and a closed session cannot be used again.

    A read-only session saves PostgreSQL two round trips by AUTOCOMMIT: no BEGIN, no COMMIT, and
    each statement sees its own moment (a stream has a transaction from there on, as its cursor
    needs one); `snapshot()` is for several that have to agree. On SQLite
    it has a transaction without the write lock; on MySQL an ordinary one, as switching AUTOCOMMIT
    on and off costs more than it saves. A write by the ORM or Core raises ReadOnlySessionError,
    and SQLite itself refuses all. SQL in a text() is not looked into: PostgreSQL would carry it
    out (but not in a snapshot), MySQL rolls it back.
    """

    def __init__(self, config: DatabaseConfig) -> None:
        self.config = config
        self._opened: _Opened | None = None

    async def open(self) -> None:
        """Build the engine; RuntimeError when that is done already. Connects to nothing:
        `check_ready` of health.py tells whether the database is there."""
        if self._opened is not None:
            raise RuntimeError("the database session manager is already open: open it once")
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
        for engine in (opened.engine, opened.probe_engine):
            if engine is not None:
                await engine.dispose()
        if opened.keeper is not None:
            await opened.keeper.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def _current(self) -> _Opened:
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

    @property
    def probe_engine(self) -> AsyncEngine:
        """One connection that no request can take, made when it is first used."""
        opened = self._current()
        if opened.probe_engine is None:
            opened.probe_engine = build_engine(replace(self.config, pool_size=1, max_overflow=0))
        return opened.probe_engine

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
    async def snapshot(self) -> AsyncIterator[AsyncSession]:
        """A read-only session whose statements all see one moment, in a transaction."""
        options: dict[str, Any] = {}
        if self.engine.dialect.name != "sqlite":  # whose transactions are snapshots
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        async with self.read_only_session() as session:
            await session.connection(execution_options=options)
            yield session

    @asynccontextmanager
    async def driver_connection(self) -> AsyncIterator[Any]:
        """The driver's own connection (asyncpg's, say), from the same pool, for the last
        microseconds. Nothing is begun; end what you begin before the block does."""
        lent = await self.engine.raw_connection()
        try:
            yield lent.driver_connection
        finally:
            lent.close()

    @asynccontextmanager
    async def rolled_back(self) -> AsyncIterator[AsyncConnection]:
        """For tests: the sessions of this block join one transaction, which is then undone.

        Their commits release savepoints of it. They must be used one after the other.
        """
        opened = self._current()
        async with opened.engine.connect() as connection:
            await connection.begin()
            opened.join(connection)
            try:
                yield connection
            finally:
                opened.join(None)


def _read_only(engine: AsyncEngine) -> AsyncEngine:
    dialect, options = engine.dialect, {}
    if dialect.name == "postgresql" and dialect.driver != "asyncpg":
        options = {"isolation_level": "AUTOCOMMIT"}
    read_only = engine.execution_options(read_only=True, **options)
    if dialect.driver == "asyncpg":

        @event.listens_for(read_only.sync_engine, "engine_connect")
        def begin_nothing(connection: Connection) -> None:
            # What that option sets as well, by way of a tenth of the whole request. The engine
            # undoes it when the connection comes back.
            cast(Any, connection.connection.dbapi_connection).autocommit = True

    @event.listens_for(read_only.sync_engine, "before_execute")
    def refuse(
        connection: Connection,
        statement: object,
        _many: object,
        _one: object,
        options: Mapping[str, Any],
    ) -> None:
        if isinstance(statement, UpdateBase | ExecutableDDLElement):
            raise ReadOnlySessionError(f"{type(statement).__name__} in a read-only session")
        if dialect.name == "postgresql" and options.get("stream_results"):
            # A cursor on the server needs a transaction: until the session ends (#17).
            cast(Any, connection.connection.dbapi_connection).autocommit = False

    return read_only


# FastAPI


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the database for the life of the application, as `app.state.database`.

    Pass it to FastAPI, or enter it in a lifespan of your own:
    `async with lifespan(app), something_else(): yield`. A manager that is on `app.state.database`
    before is used instead, and left alone if it is open.
    """
    given: DatabaseSessionManager | None = getattr(app.state, "database", None)
    if given is not None and given.is_open:
        yield
        return
    async with given or DatabaseSessionManager(database_config()) as manager:
        app.state.database = manager
        yield
    if given is None:
        del app.state.database  # the next lifespan reads the settings again


def get_database(connection: HTTPConnection) -> DatabaseSessionManager:
    """The application's manager."""
    manager = getattr(connection.app.state, "database", None)
    if isinstance(manager, DatabaseSessionManager):
        return manager
    raise RuntimeError(
        "app.state.database is not set: pass lifespan=lifespan to FastAPI "
        "(a mounted application has a state of its own)"
    )


async def _database(connection: HTTPConnection) -> DatabaseSessionManager:
    return get_database(connection)  # async: FastAPI runs other dependencies in a thread


Database = Annotated[DatabaseSessionManager, Depends(_database)]
# This scope is what makes FastAPI refuse get_db in a later one, after the response.
_Manager = Annotated[DatabaseSessionManager, Depends(_database, scope="function")]


async def get_db(database: _Manager) -> AsyncIterator[AsyncSession]:
    """Dependency: a session that commits before the response. Use it as `DbSession`."""
    async with database.session() as session:
        yield session
        await session.commit()


async def get_read_only_db(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """Dependency: a session for reading. Use it as `ReadOnlyDbSession`."""
    async with get_database(connection).read_only_session() as session:
        yield session
        if session.new or session.dirty or session.deleted:
            await session.flush()  # which raises; else they would be lost without a word


async def get_read_only_connection(connection: HTTPConnection) -> AsyncIterator[AsyncConnection]:
    """Dependency: Core without the ORM. Use it as `ReadOnlyConnection`."""
    lent = await get_database(connection).read_only_engine.connect()
    try:
        yield lent
    finally:
        await lent.close()  # `async with` makes a task for that


# scope="function" is what puts the commit before the response; by default it comes after.
DbSession = Annotated[AsyncSession, Depends(get_db, scope="function")]
ReadOnlyDbSession = Annotated[AsyncSession, Depends(get_read_only_db, scope="function")]
ReadOnlyConnection = Annotated[AsyncConnection, Depends(get_read_only_connection, scope="function")]
