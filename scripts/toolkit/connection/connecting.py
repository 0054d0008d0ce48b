"""Connections as the application makes them, each with a time limit, all closed at the end."""

import asyncio
import contextlib
import gc
import traceback
import warnings
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import create_engine, text
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, QueuePool

from toolkit.connection.address import Target
from toolkit.connection.failures import chain, judge
from toolkit.connection.steps import Broken
from toolkit.connection.threaded import ThreadedEngine

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

NAME = "test-connection"
LOGIN_SECONDS = 8.0
STATEMENT_MILLISECONDS = 5000


def make_engine(target: Target, *, own: bool, **pool: Any) -> "AsyncEngine":  # noqa: ANN401
    """An engine for the target. `own`: for our questions, with no prepared statements that a
    pooler could mix up; otherwise exactly what the application gives its driver.
    """
    arguments = {**target.arguments, **named(target)}
    if own:
        arguments |= NO_STATEMENTS.get(target.driver, {})
    if target.threaded:
        if pool.get("poolclass") is AsyncAdaptedQueuePool:
            pool["poolclass"] = QueuePool
        if target.kind == "sqlite":
            arguments["check_same_thread"] = False
        engine = ThreadedEngine(create_engine(target.url, connect_args=arguments, **pool))
        return cast("AsyncEngine", engine)
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - needs greenlet

    return create_async_engine(target.url, connect_args=arguments, **pool)


NO_STATEMENTS: Mapping[str, Mapping[str, Any]] = {
    "asyncpg": {"statement_cache_size": 0, "prepared_statement_cache_size": 0},
    "psycopg": {"prepare_threshold": None},
}


def named(target: Target) -> dict[str, Any]:
    """The name that the server's list of connections shows for ours, and a time limit."""
    if target.driver == "asyncpg":
        settings = dict(target.arguments.get("server_settings", {}))
        return {"server_settings": {**settings, "application_name": NAME}, "timeout": LOGIN_SECONDS}
    if target.driver in {"psycopg", "psycopg2"}:
        return {"application_name": NAME, "connect_timeout": int(LOGIN_SECONDS)}
    if target.kind == "mysql":
        program = {"program_name": NAME} if target.driver in {"aiomysql", "pymysql"} else {}
        return {"connect_timeout": int(LOGIN_SECONDS), **program}
    return {}


@contextlib.asynccontextmanager
async def reading(target: Target, seconds: float) -> "AsyncIterator[AsyncConnection]":
    """One connection in a read-only transaction with a time limit for each statement.

    Raises Broken, with the layer that refuses it.
    """
    engine = make_engine(target, own=True, poolclass=NullPool)
    limit = min(seconds, LOGIN_SECONDS)
    try:
        connection = await login(engine, target, limit)
        try:
            await begin_reading(connection, target)
            yield connection
        finally:
            await close(connection)
    finally:
        await engine.dispose()


async def login(engine: "AsyncEngine", target: Target, seconds: float) -> "AsyncConnection":
    try:
        async with asyncio.timeout(seconds):
            return await engine.connect()
    # Drivers raise errors of many kinds, and SQLAlchemy 2.0 lets asyncpg's own through.
    except Exception as error:
        step = judge(error, target, seconds)
        let_go(error)
        raise Broken(step) from None


def let_go(error: BaseException) -> None:
    """Let the garbage collector have what the driver was doing when it raised `error`.

    aiomysql leaves the socket of a refused login to it, and a server counts such a socket as
    one of its connections.
    """
    for one in chain(error):
        traceback.clear_frames(one.__traceback__)


def collect() -> None:
    """Close what drivers have left open, once the event loop has ended; they only warn of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def begin_reading(connection: "AsyncConnection", target: Target) -> None:
    if target.kind == "postgresql":
        await connection.execution_options(postgresql_readonly=True)
        await connection.execute(text(f"SET LOCAL statement_timeout = {STATEMENT_MILLISECONDS}"))
        await connection.execute(text("SET LOCAL lock_timeout = 2000"))
    elif target.kind == "mysql":
        await connection.execute(text("START TRANSACTION READ ONLY"))


async def close(connection: "AsyncConnection") -> None:
    """Within a time limit: a server that is gone must not keep us."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            await connection.close()


async def row(connection: "AsyncConnection", query: str, **values: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """The one row of a query, by the names of its columns."""
    result = await connection.execute(text(query), values)
    return {str(name): value for name, value in result.mappings().one().items()}


async def column(connection: "AsyncConnection", query: str, **values: Any) -> list[Any]:  # noqa: ANN401
    result = await connection.execute(text(query), values)
    return list(result.scalars())
