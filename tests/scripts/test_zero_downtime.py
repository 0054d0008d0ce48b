"""The written revisions run while old code reads and writes 500,000 rows: nobody notices.

The same watch is put over the naive form of each change, and has to see it: a test that finds
every migration harmless would prove nothing.

A request is one short transaction of one client, as of a web service: it fails when the database
refuses it or when it takes longer than the client waits. A stall is the longest of them.
"""

import asyncio
import textwrap
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

import migration_examples as example
from servers.postgres import PostgresServer
from toolkit.migration.expand_contract import (
    Change,
    ChangeType,
    Column,
    Index,
    RenameColumn,
    SetNotNull,
    Table,
    expand_contract,
)

pytestmark = pytest.mark.any_sqlalchemy

ROWS = 500_000
CLIENT_WAITS = 5.0  # seconds, as an impatient service
LONGEST_STALL = 1.0
TABLE = Table("visit")
NAME = Column("name", "sa.Text()", "TEXT")
HITS = Column("hits", "sa.Integer()", "INTEGER", nullable=False)
FILL = (
    "CREATE TABLE visit (id serial, name text, hits integer NOT NULL, kind text)",
    # One in twenty has a name: each of them is copied, and a minute is too long for a test.
    "INSERT INTO visit (id, name, kind, hits) "
    "SELECT i, CASE WHEN i % 20 = 0 THEN 'visitor ' || i END, 'x', i "
    f"FROM generate_series(1, {ROWS}) i",
    f"SELECT setval('visit_id_seq', {ROWS})",
    "ALTER TABLE visit ADD PRIMARY KEY (id)",
    "CREATE INDEX ix_visit_name ON visit (name)",
)
# The server begins no vacuum by itself, which would make the numbers another's.
SETTLE = "VACUUM (FREEZE, ANALYZE) visit"
QUIET = "ALTER TABLE visit SET (autovacuum_enabled = off)"


@dataclass
class Traffic:
    """What the clients met."""

    requests: int = 0
    failed: list[str] = field(default_factory=list)
    longest: float = 0.0
    under_way: dict[int, float] = field(default_factory=dict)
    """When the request of each client began that has no answer yet."""

    def harmless(self) -> bool:
        return not self.failed and self.longest < LONGEST_STALL

    def is_stalled(self) -> bool:
        oldest = min(self.under_way.values(), default=time.monotonic())
        return time.monotonic() - oldest > LONGEST_STALL


async def watch(
    url: str, migration: Callable[[], object], *, end_when_stalled: bool = False
) -> Traffic:
    """Run the migration in a thread while old code reads and writes.

    `end_when_stalled`: cancel it once a request has waited too long. More of it shows no more.
    """
    traffic = Traffic()
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    stop = asyncio.Event()
    requests = (read_one, write_one, insert_one)
    clients = [
        asyncio.create_task(client(address, traffic, stop, request, number))
        for number, request in enumerate((*requests, read_one))
    ]
    await asyncio.sleep(0.3)
    before = traffic.requests
    assert before > len(clients), "old code runs before the migration does"
    try:
        running = asyncio.create_task(asyncio.to_thread(migration))
        if end_when_stalled:
            await cancel_when_stalled(address, traffic, running)
        await running
        await asyncio.sleep(0.2)
    except DBAPIError as error:
        assert end_when_stalled and "canceling statement due to user request" in str(error)
    finally:
        stop.set()
        await asyncio.gather(*clients)
    assert traffic.requests > before, "old code runs while the migration does"
    return traffic


async def cancel_when_stalled(
    address: str, traffic: Traffic, running: "asyncio.Task[object]"
) -> None:
    while not traffic.is_stalled():
        if running.done():
            return
        await asyncio.sleep(0.05)
    connection = await asyncpg.connect(address, timeout=30)
    await connection.execute(
        "SELECT pg_cancel_backend(pid) FROM pg_locks WHERE relation = 'visit'::regclass "
        "AND mode = 'AccessExclusiveLock' AND granted"
    )
    await connection.close()


Request = Callable[[asyncpg.Connection, int], Coroutine[None, None, object]]


async def client(
    address: str, traffic: Traffic, stop: asyncio.Event, request: Request, number: int
) -> None:
    connection = await asyncpg.connect(address, timeout=30)
    turn = number
    while not stop.is_set():
        turn += 97
        started = traffic.under_way[number] = time.monotonic()
        try:
            async with asyncio.timeout(CLIENT_WAITS):
                await request(connection, turn % ROWS + 1)
        except (asyncpg.PostgresError, TimeoutError) as error:
            traffic.failed.append(f"{request.__name__}: {type(error).__name__}: {error}")
        traffic.longest = max(traffic.longest, time.monotonic() - started)
        traffic.requests += 1
        del traffic.under_way[number]
        await asyncio.sleep(0.005)
    await connection.close()


async def read_one(connection: asyncpg.Connection, key: int) -> None:
    await connection.fetchrow("SELECT id, name, hits FROM visit WHERE id = $1", key)


async def write_one(connection: asyncpg.Connection, key: int) -> None:
    async with connection.transaction():
        await connection.execute("UPDATE visit SET hits = hits + 1 WHERE id = $1", key)
        await connection.execute("UPDATE visit SET name = $2 WHERE id = $1", key, f"again {key}")


async def insert_one(connection: asyncpg.Connection, key: int) -> None:
    await connection.execute(
        "INSERT INTO visit (name, kind, hits) VALUES ($1, 'x', 1)", f"new {key}"
    )


@pytest.fixture(scope="module")
def full_database(postgres_server: PostgresServer) -> Iterator[str]:
    name = "asp_test_half_a_million"
    postgres_server.create_database(name)
    for statement in (*FILL, QUIET, SETTLE):
        postgres_server.execute(statement, name)
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
def url(postgres_server: PostgresServer, full_database: str) -> Iterator[str]:
    name = f"{full_database}_copy"
    postgres_server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{full_database}"')
    # Else the first seconds of the clients are spent on the copy's own first checkpoint.
    postgres_server.execute("CHECKPOINT")
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


def upgrade_to(folder: Path, url: str, files: dict[str, str], target: str) -> Callable[[], None]:
    """A call that does as `alembic upgrade <target>` with these files does."""
    history = folder / "written"
    history.mkdir()
    for name, text in files.items():
        (history / name).write_text(text)
    config = example.make_project(folder / "project", url, history)
    return lambda: command.upgrade(config, target)


def written(folder: Path, url: str, change: Change, target: str) -> Callable[[], None]:
    revisions = expand_contract(change, dialect="postgresql", parent=None, slug="visit")
    assert target in {revision.revision for revision in revisions}
    return upgrade_to(folder, url, {r.file: r.text for r in revisions}, target)


def naive(folder: Path, url: str, *lines: str) -> Callable[[], None]:
    text = """
    import sqlalchemy as sa
    from alembic import op

    revision = "naive"
    down_revision = None


    def upgrade():
        {}


    def downgrade():
        pass
    """
    source = textwrap.dedent(text).format("\n    ".join(lines))
    return upgrade_to(folder, url, {"naive.py": source}, "naive")


RENAME = RenameColumn(TABLE, NAME, "full_name", (Index("ix_visit_name", ("name",)),))
SAFE = {
    "rename": (RENAME, "visit_backfill"),
    "type": (ChangeType(TABLE, HITS, "sa.BigInteger()", "BIGINT"), "visit_expand"),
    "not null": (SetNotNull(TABLE, Column("kind", "sa.Text()", "TEXT"), "'y'"), "visit_contract"),
}


@pytest.mark.parametrize("kind", SAFE)
async def test_old_code_does_not_notice_what_is_written(
    kind: str, tmp_path: Path, url: str, postgres_server: PostgresServer
) -> None:
    change, target = SAFE[kind]
    traffic = await watch(url, written(tmp_path, url, change, target))
    assert not traffic.failed, traffic.failed[:3]
    assert traffic.longest < LONGEST_STALL, f"{traffic.longest:.2f} s, of {traffic.requests}"
    assert traffic.harmless()
    if kind == "rename":
        different = "SELECT count(*) FROM visit WHERE full_name IS DISTINCT FROM name"
        assert postgres_server.execute(different, make_url(url).database)[0][0] == 0


NAIVE = {
    # Old code asks for a column that is not there.
    "rename": ("op.alter_column('visit', 'name', new_column_name='full_name')",),
    # One transaction: the first statement's lock is held while all rows are written.
    "copy": (
        "op.add_column('visit', sa.Column('full_name', sa.Text))",
        "op.execute('UPDATE visit SET full_name = name')",
        "op.create_index('ix_visit_full_name', 'visit', ['full_name'])",
    ),
    # All rows and both indexes are written anew, three times.
    "type": (
        "op.alter_column('visit', 'hits', type_=sa.BigInteger)",
        "op.alter_column('visit', 'id', type_=sa.BigInteger)",
        "op.alter_column('visit', 'name', type_=sa.String(200))",
    ),
}


@pytest.mark.parametrize("kind", NAIVE)
async def test_old_code_notices_the_naive_form(kind: str, tmp_path: Path, url: str) -> None:
    migration = naive(tmp_path, url, *NAIVE[kind])
    traffic = await watch(url, migration, end_when_stalled=True)
    assert not traffic.harmless(), f"{traffic.requests} requests, {traffic.longest:.2f} s at most"
    if kind == "rename":
        assert any("UndefinedColumn" in one for one in traffic.failed)


async def test_a_long_query_makes_the_migration_wait_and_nobody_else(
    tmp_path: Path, url: str
) -> None:
    """Whoever waits for AccessExclusive stands before all that come later: it gives way."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    report = await asyncpg.connect(address, timeout=30)
    upgrade = written(tmp_path, url, RENAME, "visit_expand")
    traffic = asyncio.create_task(watch(url, upgrade))
    async with report.transaction():
        await report.fetchval("SELECT count(*) FROM visit WHERE id < 10")
        await asyncio.sleep(1.8)
        assert not traffic.done()
    met = await traffic
    await report.close()
    assert met.harmless(), (met.failed[:3], met.longest)
    assert met.longest > 0.3, "it has waited, and others behind it, for half a second at most"
