"""One connection to a server that lasts as long as a run, and single statements on others."""

import asyncio
import concurrent.futures
import contextlib
import warnings
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from toolkit.report.interrupt import result_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 60
HURRY_SECONDS = 0.5
FAILURES = (SQLAlchemyError, OSError, TimeoutError)
T = TypeVar("T")


class Session:
    """A connection in autocommit mode, of whichever kind of driver. What it locks stays locked."""

    def __init__(self, url: URL) -> None:
        """Raises one of FAILURES when there is no connection to be had."""
        self.url = url
        self.hurried = False
        """After an interrupt: the server may be frozen, and nobody waits for it any more."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: AsyncEngine | Engine
        self._connection: AsyncConnection | Connection
        if url.get_dialect().is_async:
            from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - needs greenlet

            self._loop = asyncio.new_event_loop()
            self._engine = create_async_engine(
                url, poolclass=NullPool, isolation_level="AUTOCOMMIT"
            )
            try:
                self._connection = self._wait(connect(self._engine), CONNECT_SECONDS)
            except BaseException:
                self._end_loop()
                raise
        else:
            self._engine = create_engine(
                url,
                poolclass=NullPool,
                isolation_level="AUTOCOMMIT",
                connect_args=time_limit(url),
            )
            self._connection = self._engine.connect()

    def run(self, statement: str) -> list[Any]:
        """Its rows. Raises one of FAILURES."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not isinstance(self._connection, Connection):
                return self._wait(rows_of(self._connection, statement), STATEMENT_SECONDS)
            result = self._connection.execute(text(statement))
            return list(result) if result.returns_rows else []

    def close(self) -> None:
        with contextlib.suppress(*FAILURES), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not isinstance(self._connection, Connection):
                self._wait(self._connection.close(), CONNECT_SECONDS)
                assert not isinstance(self._engine, Engine)
                self._wait(self._engine.dispose(), CONNECT_SECONDS)
            else:
                self._connection.close()
                assert isinstance(self._engine, Engine)
                self._engine.dispose()
        self._end_loop()

    def _wait(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """In a thread: the caller may itself be inside an event loop."""
        assert self._loop is not None

        async def limited() -> T:
            if self.hurried:
                return await self._hurry(work)
            async with asyncio.timeout(seconds):
                return await work

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return result_of(pool.submit(self._loop.run_until_complete, limited()))

    async def _hurry(self, work: Coroutine[Any, Any, T]) -> T:
        """Give up without a word to the server: asyncpg waits two seconds for its answer."""
        task = asyncio.ensure_future(work)
        await asyncio.wait({task}, timeout=HURRY_SECONDS)
        if not task.done():
            assert not isinstance(self._connection, Connection)
            driver = self._connection.sync_connection.connection.driver_connection  # type: ignore[union-attr]
            getattr(driver, "terminate", lambda: None)()
            task.cancel()
            await asyncio.wait({task}, timeout=HURRY_SECONDS)
            raise TimeoutError("no answer in time")
        return task.result()

    def _end_loop(self) -> None:
        """Close it, unless an interrupt left it running in its thread."""
        if self._loop is not None and not self._loop.is_running():
            self._loop.close()


async def connect(engine: "AsyncEngine") -> "AsyncConnection":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return await engine.connect()
        except (SQLAlchemyError, OSError, TimeoutError):
            raise
        except Exception as error:  # asyncpg's own, which SQLAlchemy 2.0 lets through
            raise OperationalError(None, None, error) from None


async def rows_of(connection: "AsyncConnection", statement: str) -> list[Any]:
    result = await connection.execute(text(statement))
    return list(result) if result.returns_rows else []


def execute(url: URL, statement: str) -> list[Any]:
    """Run one statement in autocommit mode on a connection of its own; its rows."""
    session = Session(url)
    try:
        return session.run(statement)
    finally:
        session.close()


def time_limit(url: URL) -> dict[str, int]:
    name = "timeout" if url.get_driver_name() == "pg8000" else "connect_timeout"
    return {name: CONNECT_SECONDS}
