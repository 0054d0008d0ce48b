"""Do something on one connection, whichever kind of driver a URL names."""

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from toolkit.report.interrupt import result_of

T = TypeVar("T")
Work = Callable[[Connection], T]


def on_connection(url: URL, work: Work[T], *, seconds: float | None = None) -> T:
    """What `work` returns. Raises SQLAlchemyError or OSError; TimeoutError after `seconds`,
    which count with asynchronous drivers only.
    """
    if url.get_dialect().is_async:
        # In a thread: the caller may itself be inside an event loop.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return result_of(pool.submit(asyncio.run, on_async_connection(url, work, seconds)))
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return work(connection)
    finally:
        engine.dispose()


async def on_async_connection(url: URL, work: Work[T], seconds: float | None) -> T:
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - needs greenlet

    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with asyncio.timeout(seconds), engine.connect() as connection:
            return await connection.run_sync(work)
    except Exception as error:
        # SQLAlchemy 2.0 lets asyncpg's own errors through when a connection cannot be had.
        if type(error).__module__.startswith("asyncpg"):
            raise OSError(str(error)) from None
        raise
    finally:
        await engine.dispose()
