"""What a session of each database finds set, and what its transactions do."""

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, OperationalError
from sqlalchemy.schema import DropTable

from servers.postgres import PostgresServer, wait_for
from session_manager import DatabaseConfig, DatabaseSessionManager, ReadOnlySessionError

METADATA = MetaData()
PARENT = Table("parent", METADATA, Column("id", Integer, primary_key=True))
CHILD = Table(
    "child",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("parent_id", ForeignKey("parent.id", ondelete="CASCADE")),
)
COUNTER = Table("counter", METADATA, Column("id", Integer, primary_key=True), Column("n", Integer))
NAMES = Table("names", METADATA, Column("name", String(100)))


async def opened(url: str, **settings: object) -> DatabaseSessionManager:
    manager = DatabaseSessionManager(DatabaseConfig(url, **settings))  # type: ignore[arg-type]
    await manager.open()
    async with manager.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    return manager


@pytest.fixture
async def database(database_url: str):
    manager = await opened(database_url)
    yield manager
    await manager.close()


async def test_objects_and_rules_of_a_session(database: DatabaseSessionManager):
    async with database.begin() as session:
        session.add_all([])
        await session.execute(PARENT.insert().values(id=1))
    with pytest.raises(InvalidRequestError, match="permanently closed"):
        await session.execute(select(PARENT))
    with pytest.raises(ValueError, match="stop"):
        async with database.begin() as session:
            await session.execute(PARENT.insert().values(id=2))
            raise ValueError("stop")
    async with database.session() as session:
        await session.execute(PARENT.insert().values(id=3))  # never committed
    async with database.session() as session:
        assert (await session.scalars(select(PARENT.c.id))).all() == [1]
        assert session.sync_session.expire_on_commit is False
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_read_only_session_refuses_writes(database: DatabaseSessionManager):
    async with database.begin() as session:
        await session.execute(PARENT.insert().values(id=1))
    for statement in (
        PARENT.insert().values(id=2),
        PARENT.update().values(id=2),
        PARENT.delete(),
        DropTable(CHILD),
    ):
        async with database.read_only_session() as session:
            with pytest.raises(ReadOnlySessionError, match="in a read-only session"):
                await session.execute(statement)
    async with database.read_only_session() as session:
        assert await session.scalar(select(func.count()).select_from(PARENT)) == 1
    async with database.begin() as session:  # the same pool still writes
        await session.execute(PARENT.insert().values(id=5))


@pytest.mark.dialects("sqlite", "mysql")
async def test_read_only_session_does_not_keep_textual_writes(database: DatabaseSessionManager):
    async with database.read_only_session() as session:
        with suppress(OperationalError):  # SQLite refuses, MySQL rolls back
            await session.execute(text("INSERT INTO parent (id) VALUES (7)"))
    async with database.session() as session:
        assert await session.scalar(select(func.count()).select_from(PARENT)) == 0


@pytest.mark.dialects("postgresql")
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_read_only_session_leaves_no_transaction_open(database_url: str, driver: str):
    database = await opened(database_url.replace("asyncpg", driver))
    async with database.read_only_session() as reader, database.session() as writer:
        for session, state in ((reader, "idle"), (writer, "idle in transaction")):
            pid = await session.scalar(text("SELECT pg_backend_pid()"))
            async with database.session() as watcher:
                seen = await watcher.scalar(
                    text("SELECT state FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid}
                )
            assert seen == state
    async with database.read_only_session() as reader:
        streamed = await reader.stream_scalars(text("SELECT generate_series(1, 20)"))
        assert [one async for one in streamed] == list(range(1, 21))
    async with database.begin() as writer:  # on the connection of that stream
        await writer.execute(PARENT.insert().values(id=1))
        await writer.rollback()
    async with database.read_only_session() as reader:
        assert await reader.scalar(select(func.count()).select_from(PARENT)) == 0
    await database.close()


async def test_read_only_session_streams(database: DatabaseSessionManager):
    """PostgreSQL's cursor needs a transaction, which a session for reading has not (#17)."""
    async with database.begin() as session:
        await session.execute(PARENT.insert(), [{"id": number} for number in range(1, 101)])
    ids = select(PARENT.c.id).order_by(PARENT.c.id)
    async with database.read_only_session() as session:
        await session.execute(select(1))
        rows = await session.stream_scalars(ids.execution_options(yield_per=10))
        assert [row async for row in rows] == list(range(1, 101))
        assert (await session.scalars(ids)).all() == list(range(1, 101))
    async with database.read_only_session() as session, database.session() as watcher:
        await session.execute(select(1))  # the next one has none
        if watcher.get_bind().dialect.name == "postgresql":
            states = text("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'")
            assert await watcher.scalar(states) == 0


async def test_a_snapshot_sees_one_moment_and_refuses_to_write(
    database: DatabaseSessionManager, dialect: str
):
    count = select(func.count()).select_from(PARENT)
    async with database.snapshot() as session:
        assert await session.scalar(count) == 0
        async with database.begin() as other:
            await other.execute(PARENT.insert().values(id=1))
        assert await session.scalar(count) == 0
        if dialect != "mysql":
            with pytest.raises(DBAPIError, match=r"read-?only"):
                await session.execute(text("INSERT INTO parent (id) VALUES (2)"))
    async with database.begin() as session:  # on the same connection
        await session.execute(PARENT.insert().values(id=3))
        assert await session.scalar(count) == 2


async def test_failed_savepoint_keeps_the_rest(database: DatabaseSessionManager):
    async with database.begin() as session:
        await session.execute(PARENT.insert().values(id=1))
        with pytest.raises(IntegrityError):
            async with session.begin_nested():
                await session.execute(PARENT.insert().values(id=1))
        async with session.begin_nested():
            await session.execute(PARENT.insert().values(id=2))
    async with database.session() as session:
        async with session.begin_nested():
            await session.execute(PARENT.insert().values(id=3))
        await session.rollback()  # also undoes the released savepoint
    async with database.session() as session:
        assert (await session.scalars(select(PARENT.c.id).order_by("id"))).all() == [1, 2]


async def test_foreign_keys_are_kept(database: DatabaseSessionManager):
    with pytest.raises(IntegrityError):
        async with database.begin() as session:
            await session.execute(CHILD.insert().values(id=1, parent_id=99))
    async with database.begin() as session:
        await session.execute(PARENT.insert().values(id=1))
        await session.execute(CHILD.insert().values(id=1, parent_id=1))
    async with database.begin() as session:
        await session.execute(PARENT.delete())
    async with database.session() as session:
        assert await session.scalar(select(func.count()).select_from(CHILD)) == 0


async def add_up(database: DatabaseSessionManager, tasks: int, times: int) -> int:
    async with database.begin() as session:
        await session.execute(COUNTER.insert().values(id=1, n=0))

    async def add() -> None:
        for _ in range(times):
            async with database.begin() as session:
                n = await session.scalar(select(COUNTER.c.n).with_for_update())
                await asyncio.sleep(0)
                await session.execute(COUNTER.update().values(n=n + 1))

    async def read() -> None:
        for _ in range(times):
            async with database.read_only_session() as session:
                await session.scalar(select(COUNTER.c.n))

    await asyncio.gather(*(add() for _ in range(tasks)), *(read() for _ in range(tasks)))
    async with database.session() as session:
        return await session.scalar(select(COUNTER.c.n)) or 0


async def test_seed_18_concurrent_writers_lose_nothing(database_url: str):
    database = await opened(database_url, lock_timeout=30, pool_timeout=30)
    assert await add_up(database, 8, 10) == 80
    await database.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
async def test_memory_database_is_shared_by_sessions_with_their_own_transactions(url: str):
    database = await opened(url, lock_timeout=30, pool_timeout=30, pool_size=2, max_overflow=8)
    assert await add_up(database, 6, 5) == 30
    async with database.session() as kept, database.session() as other:
        await kept.execute(PARENT.insert().values(id=1))
        await kept.commit()
        await other.execute(PARENT.insert().values(id=2))
        await other.rollback()
    await database.engine.dispose()  # the pool's connections go, the data stays
    async with database.session() as session:
        assert (await session.scalars(select(PARENT.c.id))).all() == [1]
    await database.close()
    again = await opened(url)
    async with again.session() as session:
        assert await session.scalar(select(func.count()).select_from(PARENT)) == 0
    await again.close()


@pytest.mark.dialects("sqlite")
async def test_sqlite_settings(database: DatabaseSessionManager):
    expected = {"foreign_keys": 1, "journal_mode": "wal", "busy_timeout": 20000}
    async with database.session() as session:
        for name, value in expected.items():
            assert await session.scalar(text(f"PRAGMA {name}")) == value


@pytest.mark.dialects("sqlite")
async def test_a_writer_of_sqlite_is_waited_for_and_readers_do_not_wait(database_url: str):
    database = await opened(database_url, lock_timeout=0.25)  # a second, on SQLite
    async with database.session() as writer, database.session() as waiting:
        await writer.execute(select(PARENT))  # BEGIN IMMEDIATE, though it only reads so far
        with pytest.raises(OperationalError, match="locked"):
            await waiting.execute(select(PARENT))
        async with database.read_only_session() as reader:
            assert (await reader.execute(select(PARENT))).all() == []
    await database.close()


@pytest.mark.dialects("sqlite", "postgresql")
async def test_failed_commit_leaves_no_transaction(database: DatabaseSessionManager):
    async with database.begin() as session:
        await session.execute(
            text(
                "CREATE TABLE late (id INTEGER REFERENCES parent "
                "(id) DEFERRABLE INITIALLY DEFERRED)"
            )
        )
    for _ in range(3):
        with pytest.raises(IntegrityError):
            async with database.begin() as session:
                await session.execute(text("INSERT INTO late VALUES (99)"))
    async with database.session() as session, database.session() as other:
        assert await session.scalar(text("SELECT count(*) FROM late")) == 0
        await session.commit()
        await other.execute(PARENT.insert().values(id=1))


@pytest.mark.dialects("sqlite", "postgresql")
async def test_ddl_is_rolled_back(database: DatabaseSessionManager):
    async with database.session() as session:
        await session.execute(text("CREATE TABLE half_done (id INTEGER)"))
        await session.execute(text("ALTER TABLE parent ADD COLUMN extra INTEGER"))
        await session.rollback()
    async with database.session() as session:
        with pytest.raises(DBAPIError):
            await session.execute(text("SELECT * FROM half_done"))
    async with database.session() as session:
        with pytest.raises(DBAPIError):
            await session.execute(text("SELECT extra FROM parent"))


async def test_sqlite_starts_while_another_process_writes(tmp_path: Path):
    """SQLite waits for no writer before the switch to WAL, whatever the busy timeout."""

    async def start() -> str:
        config = DatabaseConfig(f"sqlite:///{tmp_path}/new.db")
        async with DatabaseSessionManager(config) as database, database.session() as session:
            return str(await session.scalar(text("PRAGMA journal_mode")))

    with closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("CREATE TABLE t (id INTEGER)")
        starting = asyncio.ensure_future(start())
        await asyncio.wait([starting], timeout=0.3)
        writer.execute("COMMIT")
        assert await starting == "wal"


async def test_sqlite_processes_can_start_together(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/new.db"
    managers = [DatabaseSessionManager(DatabaseConfig(url)) for _ in range(8)]

    async def start(manager: DatabaseSessionManager) -> None:
        async with manager, manager.begin() as session:
            await session.execute(text("CREATE TABLE IF NOT EXISTS t (id INTEGER)"))

    await asyncio.gather(*map(start, managers))
    with sqlite3.connect(tmp_path / "new.db") as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchall() == [(0,)]
    connection.close()


PG_SETTINGS = (
    "application_name",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
)


@pytest.mark.dialects("postgresql")
@pytest.mark.parametrize("pgbouncer", [False, True])
async def test_postgresql_settings(database_url: str, pgbouncer: bool):
    database = await opened(
        database_url,
        application_name="orders",
        statement_timeout=1.25,
        lock_timeout=1.2,
        idle_in_transaction_timeout=7,
        pgbouncer=pgbouncer,
    )
    async with database.session() as session:
        shown = [await session.scalar(text(f"SHOW {name}")) for name in PG_SETTINGS]
        assert shown == ["orders", "1250ms", "1200ms", "7s"]
        with pytest.raises(DBAPIError) as caught:
            await session.execute(text("SELECT pg_sleep(60)"))
        assert caught.value.orig.sqlstate == "57014"  # type: ignore[union-attr]
    async with database.session() as holder, database.session() as waiting:
        await holder.execute(text("LOCK TABLE parent"))
        with pytest.raises(DBAPIError) as caught:
            await waiting.execute(select(PARENT))
        assert caught.value.orig.sqlstate == "55P03"  # type: ignore[union-attr]
    async with database.engine.connect() as connection:
        await connection.rollback()
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert driver is not None
        outside = await driver.fetchval("SHOW statement_timeout")
        assert outside == ("0" if pgbouncer else "1250ms")  # SET LOCAL, or at connect
        prepared = await driver.fetchval("SELECT count(*) FROM pg_prepared_statements")
        assert bool(prepared) is not pgbouncer
    async with database.read_only_session() as session:
        assert await session.scalar(text("SELECT 1")) == 1
    await database.close()


@pytest.mark.dialects("postgresql")
async def test_forgotten_transaction_ends(database_url: str, postgres_server: PostgresServer):
    database = await opened(database_url, idle_in_transaction_timeout=0.2)
    async with database.session() as session:
        pid = await session.scalar(text("SELECT pg_backend_pid()"))
        gone = f"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = {pid}"
        await asyncio.to_thread(wait_for, gone, postgres_server, "postgres", 60)
        with pytest.raises(DBAPIError):
            await session.execute(select(PARENT))
    async with database.session() as session:
        await session.execute(select(PARENT))
    await database.close()


@pytest.mark.dialects("mysql")
async def test_mysql_settings(database_url: str):
    url = database_url.replace("mysql+aiomysql", "mysql") + "?charset=utf8"
    database = await opened(url, pool_recycle=100, lock_timeout=1.5)
    async with database.begin() as session:
        row = await session.execute(
            text(
                "SELECT @@wait_timeout, @@innodb_lock_wait_timeout, @@character_set_client, "
                "@@transaction_isolation"
                if "maria" not in (await session.scalar(text("SELECT version()"))).lower()
                else "SELECT @@wait_timeout, @@innodb_lock_wait_timeout, @@character_set_client, "
                "@@tx_isolation"
            )
        )
        assert tuple(row.one()) == (160, 2, "utf8mb4", "READ-COMMITTED")
        await session.execute(NAMES.insert().values(name="snow \N{SNOWMAN} \N{PILE OF POO}"))
    async with database.read_only_session() as session:
        assert await session.scalar(select(NAMES.c.name)) == "snow \N{SNOWMAN} \N{PILE OF POO}"
    await database.close()
