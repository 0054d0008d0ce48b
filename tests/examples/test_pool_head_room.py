"""What references/pools.md says of sizes and health, on the templates' defaults."""

from contextlib import AsyncExitStack

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, TimeoutError

from health import check_ready
from session_manager import DatabaseConfig, DatabaseSessionManager

LIMIT = {
    "postgresql": "SELECT current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int",
    "mysql": "SELECT @@max_connections",
}


@pytest.mark.dialects("postgresql", "mysql")
async def test_seed_33_row_60_four_full_pools_fit_a_server_of_default_size(
    database_url: str, dialect: str
) -> None:
    """Two workers, old and new while a deployment lasts, each with every connection in use."""
    config = DatabaseConfig(database_url)
    async with AsyncExitStack() as stack:
        for _ in range(4):
            worker = await stack.enter_async_context(DatabaseSessionManager(config))
            for _ in range(config.pool_capacity):
                session = await stack.enter_async_context(worker.session())
                await session.connection()
            assert worker.engine.pool.checkedout() == config.pool_capacity  # type: ignore[attr-defined]
        usable = await session.scalar(text(LIMIT[dialect]))
        assert 4 * config.pool_capacity <= usable
        # One more waits for a connection, and does not take one from the server.
        small = DatabaseConfig(database_url, pool_size=1, max_overflow=0, pool_timeout=0.1)
        manager = await stack.enter_async_context(DatabaseSessionManager(small))
        holder = await stack.enter_async_context(manager.session())
        await holder.connection()
        waiting = await stack.enter_async_context(manager.session())
        with pytest.raises(TimeoutError):
            await waiting.connection()


async def test_seed_33_a_failed_statement_elsewhere_leaves_the_database_healthy(
    database_url: str,
) -> None:
    manager = DatabaseSessionManager(DatabaseConfig(database_url))
    async with manager as database, database.session() as session:
        with pytest.raises(DBAPIError):
            await session.execute(text("SELECT no_such_column FROM no_such_table"))
        health = await check_ready(database)
        assert health.ok, health.checks
