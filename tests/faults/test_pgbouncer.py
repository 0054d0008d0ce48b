"""PgBouncer in transaction mode, two applications, one switch (#17)."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from database_engine import SessionStateError
from projects import warm
from servers import pgbouncer
from servers.postgres import PostgresServer
from session_manager import DatabaseConfig, DatabaseSessionManager

pytestmark = [
    pytest.mark.faults,
    pytest.mark.dialects("postgresql"),
    pytest.mark.older_sqlalchemy_on("postgresql"),
]

TESTS = Path(__file__).parents[1]
WORKER = TESTS / "faults" / "pooled_worker.py"
SERVER_CONNECTIONS = 5


@pytest.fixture(scope="module")
def bouncer(postgres_server: PostgresServer) -> Iterator[pgbouncer.Bouncer]:
    if pgbouncer.program() is None:
        if os.environ.get("REQUIRE_SYSTEM_DEPS") == "1":
            pytest.fail(pgbouncer.NO_PGBOUNCER)
        pytest.skip(pgbouncer.NO_PGBOUNCER)
    with pgbouncer.running_pgbouncer(postgres_server) as running:
        yield running


def run_two(url: str, tasks: int, switch: str) -> list[str]:
    """What both print."""
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent / "templates")])
    running = [
        subprocess.Popen(
            [warm.python(), str(WORKER), url, str(tasks), switch],
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    return [one.communicate(timeout=300)[0].strip() for one in running]


@pytest.fixture
async def pooled(bouncer: pgbouncer.Bouncer, database_url: str) -> AsyncIterator[str]:
    """The URL of the database by way of PgBouncer, whose settings the role has for itself."""
    async with (
        DatabaseSessionManager(DatabaseConfig(database_url)) as database,
        database.begin() as session,
    ):
        await session.execute(text("CREATE TABLE hits (number INTEGER)"))
    yield bouncer.url(make_url(database_url).database or "")


async def test_two_applications_with_the_switch(pooled: str, database_url: str) -> None:
    """No error, no wrong row, and no statement that stays prepared on a server connection."""
    assert await asyncio.to_thread(run_two, pooled, 100, "pgbouncer") == ["{}", "{}"]
    async with (
        DatabaseSessionManager(DatabaseConfig(database_url)) as database,
        database.read_only_session() as session,
    ):
        assert await session.scalar(text("SELECT count(*) FROM hits")) == 200
    config = DatabaseConfig(pooled, pgbouncer=True)
    async with DatabaseSessionManager(config) as database:
        met = asyncio.Barrier(SERVER_CONNECTIONS)

        async def look() -> tuple[int, int]:
            async with database.begin() as session:
                await met.wait()  # each holds one
                row = (await session.execute(text(PREPARED))).one()
                await met.wait()
                return row.pid, row.prepared

        found = dict(await asyncio.gather(*(look() for _ in range(SERVER_CONNECTIONS))))
    assert list(found.values()) == [0] * SERVER_CONNECTIONS


PREPARED = (
    "SELECT pg_backend_pid() AS pid, "
    "(SELECT count(*) FROM pg_prepared_statements WHERE statement NOT LIKE '%pg_prepared%') "
    "AS prepared"
)


async def test_without_the_switch_they_fail(pooled: str) -> None:
    """The control: PgBouncer refuses what is sent at connect."""
    for said in await asyncio.to_thread(run_two, pooled, 5, "off"):
        assert "unsupported startup parameter" in said


REFUSED = [
    "SET statement_timeout = 5",
    "set session time zone 'UTC'",
    "SET ROLE postgres",
    "LISTEN news",
    "UNLISTEN *",
    "SELECT pg_advisory_lock(1)",
    "/* why */ SELECT pg_try_advisory_lock_shared(1, 2)",
    "PREPARE p AS SELECT 1",
    "CREATE TEMP TABLE t (id int)",
    "CREATE TEMPORARY TABLE t AS SELECT 1",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "SELECT set_config('search_path', 'x', false)",
    "-- why\nSET statement_timeout = 5",
    "SELECT 1,\n pg_advisory_lock(1)",
]
TAKEN = [
    "SET LOCAL statement_timeout = 5",
    "SET TRANSACTION READ ONLY",
    "SET CONSTRAINTS ALL DEFERRED",
    "SELECT pg_advisory_xact_lock(1)",
    "NOTIFY news",
    "DECLARE c CURSOR FOR SELECT 1",
    "CREATE TEMP TABLE t (id int) ON COMMIT DROP",
    "SELECT set_config('application_name', 'x', true)",
    "SELECT 'SET x' AS said, 'LISTEN' AS too",
    "UPDATE hits SET number = 1",
]


async def test_what_it_gives_up_is_refused(database_url: str) -> None:
    """Before it is sent: it would work now, and be met by another client."""
    async with (
        DatabaseSessionManager(DatabaseConfig(database_url, pgbouncer=True)) as database,
        database.session() as session,
    ):
        for statement in REFUSED:
            with pytest.raises(SessionStateError, match="PgBouncer"):
                await session.execute(text(statement))
            assert await session.scalar(text("SELECT 1")) == 1


async def test_what_lasts_for_a_transaction_is_not(pooled: str) -> None:
    async with DatabaseSessionManager(DatabaseConfig(pooled, pgbouncer=True)) as database:
        for statement in TAKEN:
            async with database.begin() as session:
                await session.execute(text(statement))


async def test_without_pgbouncer_nothing_is_refused(database_url: str) -> None:
    async with (
        DatabaseSessionManager(DatabaseConfig(database_url)) as database,
        database.begin() as session,
    ):
        await session.execute(text("SET statement_timeout = 5000"))
        await session.execute(text("SELECT pg_advisory_lock(1), pg_advisory_unlock(1)"))
