"""A cancellation at any await point costs neither a connection nor a place in the pool."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from session_manager import DatabaseConfig, DatabaseSessionManager, _Opened, build_engine

cancellation = pytest.importorskip("sqlalchemy.testing.cancellation")


def parts(url: str, **settings: float):
    """An engine factory for `sweep`, and a manager that uses the engine it is given."""
    config = DatabaseConfig(url, pool_size=2, max_overflow=0, **settings)  # type: ignore[arg-type]

    def manager_of(engine: AsyncEngine) -> DatabaseSessionManager:
        manager = DatabaseSessionManager(config)
        manager._opened = _Opened(asyncio.get_running_loop(), engine, None)
        return manager

    return (lambda: build_engine(config)), manager_of


@pytest.mark.parametrize(
    ("kind", "state"),
    [("reads", "cold"), ("writes", "warm"), ("reads", "pinged"), ("reads", "recycled")],
)
async def test_sweep_finds_nothing(database_url: str, kind: str, state: str):
    make_engine, manager_of = parts(database_url, ping_after_idle=0 if state == "pinged" else 30)
    setup = manager_of(make_engine())
    async with setup.begin() as session:
        await session.execute(text("CREATE TABLE t (id INTEGER)"))
    await setup.engine.dispose()

    async def write(engine: AsyncEngine) -> None:
        async with manager_of(engine).begin() as session:
            await session.execute(text("INSERT INTO t VALUES (1)"))
            await session.execute(text("SELECT id FROM t"))
            async with session.begin_nested():
                await session.execute(text("SELECT id FROM t"))

    async def read(engine: AsyncEngine) -> None:
        async with manager_of(engine).read_only_session() as session:
            await session.execute(text("SELECT id FROM t"))

    found = await cancellation.sweep(
        make_engine,
        write if kind == "writes" else read,
        warm=state != "cold",
        recycle=state == "recycled",
        # Two cancellations, each pair of points, take minutes on the others.
        cancels=2 if state == "warm" and "postgresql" in database_url else 1,
    )
    assert found == []


@pytest.mark.dialects("sqlite")
async def test_cancelled_writer_gives_up_its_lock(database_url: str):
    """Even while its exception, and with it the cursor of a SELECT, is still being looked at."""
    config = DatabaseConfig(database_url, lock_timeout=60)
    async with DatabaseSessionManager(config) as database:
        async with database.begin() as session:
            await session.execute(text("CREATE TABLE t (id INTEGER)"))

        async def write() -> None:
            async with database.begin() as session:
                await session.execute(text("INSERT INTO t VALUES (1)"))
                await session.execute(text("SELECT id FROM t"))

        with cancellation.await_points() as points:
            await points.create_task(write())
        for point in range(1, points.count + 1):
            with cancellation.await_points((point,)) as points:
                task = points.create_task(write())
                with pytest.raises(asyncio.CancelledError):
                    await task
            await write()
