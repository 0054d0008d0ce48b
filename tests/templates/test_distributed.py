"""What an application relies on, on PostgreSQL and on what takes its place.

Runs on a CockroachDB, YugabyteDB or Citus whose URL is given (see distributed.py), and always on
PostgreSQL, so that it is known to run.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Uuid, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from errors import problem_of
from retries import run_in_transaction
from session_manager import DatabaseConfig, DatabaseSessionManager
from templates import distributed

METADATA = MetaData()
COUNTER = Table(
    f"asp_counter_{uuid4().hex[:8]}",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("value", Integer, nullable=False),
)


@pytest.fixture(params=["", *distributed.GIVEN])
async def database(
    request: pytest.FixtureRequest, make_database: Callable[[str], str]
) -> AsyncIterator[DatabaseSessionManager]:
    url = distributed.GIVEN.get(request.param) or make_database("postgresql")
    async with DatabaseSessionManager(DatabaseConfig(url)) as manager:
        async with manager.engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
        try:
            yield manager
        finally:
            async with manager.engine.begin() as connection:
                await connection.run_sync(METADATA.drop_all)


async def new(database: DatabaseSessionManager) -> UUID:
    key = uuid4()
    async with database.begin() as session:
        await session.execute(COUNTER.insert().values(id=key, value=0))
    return key


async def test_conflicts_are_run_again_and_nothing_is_lost(database: DatabaseSessionManager):
    """40001 is what they answer, and what PostgreSQL answers when it is SERIALIZABLE, too."""
    key, runs = await new(database), 0

    async def add(session: AsyncSession) -> None:
        nonlocal runs
        runs += 1
        value = await session.scalar(select(COUNTER.c.value).where(COUNTER.c.id == key))
        await asyncio.sleep(0.02)
        await session.execute(COUNTER.update().where(COUNTER.c.id == key).values(value=value + 1))

    await asyncio.gather(
        *(
            run_in_transaction(database, add, isolation_level="SERIALIZABLE", attempts=60)
            for _ in range(8)
        )
    )
    assert runs > 8
    async with database.read_only_session() as session:
        assert await session.scalar(select(COUNTER.c.value).where(COUNTER.c.id == key)) == 8


async def test_a_constraint_is_told(database: DatabaseSessionManager):
    key = await new(database)
    with pytest.raises(IntegrityError) as caught:
        async with database.begin() as session:
            await session.execute(COUNTER.insert().values(id=key, value=1))
    assert problem_of(caught.value).status == 409


async def test_a_rollback_and_a_savepoint(database: DatabaseSessionManager):
    key = await new(database)
    change = COUNTER.update().where(COUNTER.c.id == key)
    async with database.begin() as session:
        await session.execute(change.values(value=1))
        with pytest.raises(IntegrityError):
            async with session.begin_nested():
                await session.execute(COUNTER.insert().values(id=key, value=1))
    async with database.session() as session:
        await session.execute(change.values(value=7))
    async with database.session() as session:
        assert await session.scalar(select(COUNTER.c.value).where(COUNTER.c.id == key)) == 1


def test_the_summary_says_what_was_not_tried(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(distributed, "GIVEN", {"TEST_CITUS_URL": "x"})
    assert distributed.not_tried() == (
        "distributed PostgreSQLs not tried, without TEST_COCKROACH_URL, TEST_YUGABYTE_URL"
    )
    monkeypatch.setattr(distributed, "GIVEN", dict.fromkeys(distributed.VARIABLES, "x"))
    assert distributed.not_tried() == ""
