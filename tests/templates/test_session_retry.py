"""run_in_transaction, against real deadlocks, conflicts and lost connections."""

import asyncio
from contextlib import nullcontext

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, event, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase

import retries
from retries import CommitOutcomeUnknownError, run_in_transaction
from session_manager import DatabaseConfig, DatabaseSessionManager

METADATA = MetaData()
ACCOUNT = Table(
    "account",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("amount", Integer, nullable=False),
)


class Base(DeclarativeBase):
    metadata = METADATA


class Account(Base):
    __table__ = ACCOUNT


@pytest.fixture
async def database(database_url: str):
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as manager:
        async with manager.engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
            await connection.execute(
                ACCOUNT.insert(), [{"id": 1, "amount": 100}, {"id": 2, "amount": 100}]
            )
        yield manager


async def amounts(database: DatabaseSessionManager) -> list[int]:
    async with database.session() as session:
        return list(await session.scalars(select(ACCOUNT.c.amount).order_by(ACCOUNT.c.id)))


async def test_commits_and_returns(database: DatabaseSessionManager):
    async def work(session: AsyncSession) -> str:
        await session.execute(ACCOUNT.update().values(amount=5))
        return "done"

    assert await run_in_transaction(database, work) == "done"
    assert await amounts(database) == [5, 5]


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.parametrize("savepoint", [False, True])
async def test_deadlock_is_run_again(database: DatabaseSessionManager, savepoint: bool):
    both_hold_one = asyncio.Barrier(2)
    runs: list[int] = []

    async def move(source: int, target: int) -> None:
        first = True

        async def work(session: AsyncSession) -> None:
            nonlocal first
            runs.append(source)
            change = ACCOUNT.update().where(ACCOUNT.c.id == source)
            await session.execute(change.values(amount=ACCOUNT.c.amount - 10))
            if first:
                first = False
                await both_hold_one.wait()
            change = ACCOUNT.update().where(ACCOUNT.c.id == target)
            async with session.begin_nested() if savepoint else nullcontext():
                await session.execute(change.values(amount=ACCOUNT.c.amount + 10))

        await run_in_transaction(database, work)

    await asyncio.gather(move(1, 2), move(2, 1))
    # One was the victim; once more, if it got its row back before the other one had woken up (#10).
    assert len(runs) >= 3
    assert await amounts(database) == [100, 100]


@pytest.mark.dialects("postgresql", "mysql")
async def test_serialization_failure_is_run_again(database: DatabaseSessionManager):
    async def add(session: AsyncSession) -> None:
        amount = await session.scalar(select(ACCOUNT.c.amount).where(ACCOUNT.c.id == 1))
        await asyncio.sleep(0.01)
        change = ACCOUNT.update().where(ACCOUNT.c.id == 1)
        await session.execute(change.values(amount=(amount or 0) + 1))

    await asyncio.gather(
        *(
            run_in_transaction(database, add, isolation_level="SERIALIZABLE", attempts=30)
            for _ in range(5)
        )
    )
    assert (await amounts(database))[0] == 105


@pytest.mark.dialects("sqlite")
async def test_busy_sqlite_is_waited_for(database_url: str, database: DatabaseSessionManager):
    hurried = DatabaseSessionManager(DatabaseConfig(database_url, lock_timeout=0))

    async def work(session: AsyncSession) -> None:
        await session.execute(ACCOUNT.update().values(amount=ACCOUNT.c.amount + 1))

    async with hurried, database.session() as holder:
        await holder.execute(ACCOUNT.update().values(amount=1))
        with pytest.raises(OperationalError, match="locked"):
            await run_in_transaction(hurried, work, attempts=1)

        async def release() -> None:
            await asyncio.sleep(0.3)
            await holder.commit()

        releasing = asyncio.create_task(release())
        await run_in_transaction(  # at a level that SQLite has no name for
            hurried, work, attempts=50, max_delay=0.1, isolation_level="REPEATABLE READ"
        )
        await releasing
    assert await amounts(database) == [2, 2]


async def test_integrity_error_is_raised_at_once(database: DatabaseSessionManager):
    runs = 0

    async def work(session: AsyncSession) -> None:
        nonlocal runs
        runs += 1
        await session.execute(ACCOUNT.insert().values(id=1, amount=0))

    with pytest.raises(IntegrityError):
        await run_in_transaction(database, work)
    assert runs == 1


async def test_the_works_own_errors_are_raised_at_once(database: DatabaseSessionManager):
    for error in (ValueError("no"), ConnectionRefusedError("another service")):
        runs = 0

        async def work(session: AsyncSession, error: Exception = error) -> None:
            nonlocal runs
            runs += 1
            await session.execute(ACCOUNT.update().values(amount=0))
            raise error

        with pytest.raises(type(error)):
            await run_in_transaction(database, work)
        assert runs == 1
    assert await amounts(database) == [100, 100]


def end_of(dialect: str) -> str:
    return (
        "KILL CONNECTION_ID()"
        if dialect == "mysql"
        else ("SELECT pg_terminate_backend(pg_backend_pid())")
    )


@pytest.mark.faults
@pytest.mark.dialects("postgresql", "mysql")
async def test_lost_connection_is_run_again(database: DatabaseSessionManager, dialect: str):
    runs = 0

    async def work(session: AsyncSession) -> None:
        nonlocal runs
        runs += 1
        await session.execute(ACCOUNT.update().values(amount=ACCOUNT.c.amount + 1))
        if runs < 3:
            await session.execute(text(end_of(dialect)))

    await run_in_transaction(database, work)
    assert runs == 3
    assert await amounts(database) == [101, 101]


@pytest.mark.faults
@pytest.mark.dialects("postgresql", "mysql")
async def test_attempts_are_bounded(database: DatabaseSessionManager, dialect: str):
    runs = 0

    async def work(session: AsyncSession) -> None:
        nonlocal runs
        runs += 1
        await session.execute(text(end_of(dialect)))

    with pytest.raises(DBAPIError):
        await run_in_transaction(database, work, attempts=3)
    assert runs == 3


@pytest.mark.faults
@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.parametrize("repeatable", [False, True])
async def test_connection_lost_in_commit(
    database: DatabaseSessionManager, dialect: str, repeatable: bool, request
):
    server = request.getfixturevalue(f"{dialect.replace('postgresql', 'postgres')}_server")
    identity = text("SELECT connection_id()" if dialect == "mysql" else "SELECT pg_backend_pid()")
    runs, victims = 0, []

    async def work(session: AsyncSession) -> None:
        nonlocal runs
        runs += 1
        await session.execute(ACCOUNT.update().values(amount=ACCOUNT.c.amount + 1))
        if runs == 1:
            victims.append(await session.scalar(identity))

    # Nothing awaits between this event and COMMIT, so the driver cannot see the end coming.
    @event.listens_for(database.engine.sync_engine, "commit")
    def commit(_connection: object) -> None:
        if victims:
            ending = "KILL {}" if dialect == "mysql" else "SELECT pg_terminate_backend({})"
            server.execute(ending.format(victims.pop()))

    if repeatable:
        await run_in_transaction(database, work, repeatable=True)
        assert await amounts(database) == [101, 101]
        assert runs == 2
    else:
        with pytest.raises(CommitOutcomeUnknownError, match="may have been saved"):
            await run_in_transaction(database, work)
        assert runs == 1


@pytest.mark.faults
@pytest.mark.dialects("postgresql", "mysql")
async def test_connection_lost_before_commit_with_objects_to_write(
    database: DatabaseSessionManager, dialect: str, request
):
    """They are written before COMMIT is sent: it is known that nothing was saved."""
    server = request.getfixturevalue(f"{dialect.replace('postgresql', 'postgres')}_server")
    identity = text("SELECT connection_id()" if dialect == "mysql" else "SELECT pg_backend_pid()")
    ending = "KILL {}" if dialect == "mysql" else "SELECT pg_terminate_backend({})"
    runs = 0

    async def work(session: AsyncSession) -> None:
        nonlocal runs
        runs += 1
        account = await session.get_one(Account, 1)
        mine = await session.scalar(identity)
        account.amount += 1
        if runs == 1:
            server.execute(ending.format(mine))

    await run_in_transaction(database, work)
    assert runs == 2
    assert await amounts(database) == [101, 100]


@pytest.mark.faults
@pytest.mark.dialects("postgresql")
async def test_server_restart_is_survived(database_url: str, database, postgres_server):
    if postgres_server.keeper is None:
        pytest.skip("the server of TEST_POSTGRES_URL is not restarted")

    async def work(session: AsyncSession) -> None:
        await session.execute(ACCOUNT.update().values(amount=ACCOUNT.c.amount + 1))
        await asyncio.sleep(0.1)

    restarting = asyncio.create_task(asyncio.to_thread(postgres_server.restart))
    count = 0
    while not restarting.done():
        try:
            await run_in_transaction(
                database, work, attempts=600, base_delay=0.1, max_delay=0.2, repeatable=False
            )
        except CommitOutcomeUnknownError:
            continue
        count += 1
    await restarting
    assert (await amounts(database))[0] >= 100 + count


@pytest.mark.faults
async def test_refused_connection_is_tried_again_after_longer_pauses(
    monkeypatch: pytest.MonkeyPatch,
):
    config = DatabaseConfig("postgresql://u:p@127.0.0.1:1/d", connect_timeout=1)
    started: list[float] = []
    pauses: list[tuple[float, float]] = []

    def shortest(low: float, high: float) -> float:
        pauses.append((low, high))
        return 0

    monkeypatch.setattr(retries.random, "uniform", shortest)

    async def never(session: AsyncSession) -> None:
        raise AssertionError("not reached")

    async with DatabaseSessionManager(config) as manager:
        event.listen(
            manager.engine.sync_engine,
            "do_connect",
            lambda *_: started.append(asyncio.get_running_loop().time()),
        )
        with pytest.raises(OperationalError):
            await run_in_transaction(manager, never, attempts=5, base_delay=10, max_delay=30)
    assert len(started) == 5
    assert pauses == [(0, 10), (0, 20), (0, 30), (0, 30)]


@pytest.mark.faults
@pytest.mark.dialects("postgresql")
async def test_a_server_that_is_starting_up_is_tried_again(database: DatabaseSessionManager):
    from asyncpg.exceptions import CannotConnectNowError

    refusals: list[object] = []

    def refuse_twice(*_: object) -> None:
        if len(refusals) < 2:
            refusals.append(None)
            raise CannotConnectNowError("the database system is starting up")

    event.listen(database.engine.sync_engine, "do_connect", refuse_twice)
    await database.engine.dispose()

    async def work(session: AsyncSession) -> object:
        return await session.scalar(select(1))

    assert await run_in_transaction(database, work, attempts=3, base_delay=0.01) == 1
    assert len(refusals) == 2


async def test_a_session_is_not_a_manager(database: DatabaseSessionManager):
    async def work(session: AsyncSession) -> None: ...

    async with database.session() as session:
        with pytest.raises(TypeError, match="opens its own session"):
            await run_in_transaction(session, work)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        await run_in_transaction(database, work, attempts=0)


async def test_cancelled_work_is_not_run_again(database: DatabaseSessionManager):
    runs, running = 0, asyncio.Event()

    async def work(session: AsyncSession) -> None:
        nonlocal runs
        runs += 1
        await session.scalar(select(func.count()).select_from(ACCOUNT))
        running.set()
        await asyncio.sleep(30)

    task = asyncio.create_task(run_in_transaction(database, work))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert runs == 1
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
