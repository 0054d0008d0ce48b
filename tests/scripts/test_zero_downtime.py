"""The written revisions do no work on rows under a lock that old code would meet.

Seen in the server's own catalogs, at each statement: which strong locks the migration holds on
the table, which rows it has read or written, whether the table has become another file. Between
its transactions old code reads and writes. The same watch is put over the naive form of each
change, and has to see it: a test that finds every migration harmless would prove nothing.

How long the longest request waits on half a million rows, `make bench-downtime` measures.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from alembic import command
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine, make_url

import migration_examples as example
from projects import visits
from projects.visits import NAIVE, SAFE
from servers.postgres import PostgresServer

pytestmark = pytest.mark.any_sqlalchemy

ROWS = 3000
LOOK = """
SELECT pg_relation_filenode(t.oid),
       coalesce(s.seq_tup_read + s.n_tup_ins + s.n_tup_upd + s.n_tup_del, 0),
       (SELECT coalesce(array_agg(l.mode), '{}') FROM pg_locks l
        WHERE l.pid = pg_backend_pid() AND l.relation = t.oid AND l.granted)
FROM pg_class t LEFT JOIN pg_stat_xact_user_tables s ON s.relid = t.oid
WHERE t.relname = 'visit' AND t.relkind = 'r'
"""
# Those that let old code neither write nor, the last one, read.
STRONG = {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}
# What holds its lock only while it runs has to be one of these, whose lock is a weak one.
ALONE = re.compile(
    r"\s*(SELECT|UPDATE|SET|(CREATE|DROP) INDEX CONCURRENTLY|ALTER TABLE \S+ VALIDATE CONSTRAINT) "
)
FEW = 100
"""Rows; a whole table has more."""


@dataclass(frozen=True)
class Look:
    """What the migration's own backend says of the table."""

    file: int
    rows: int
    locks: frozenset[str]


@dataclass
class Seen:
    """What one migration did, and what became of old code's requests."""

    strong: set[str] = field(default_factory=set)
    works_under_a_lock: list[str] = field(default_factory=list)
    requests: int = 0
    failed: list[str] = field(default_factory=list)


def look(connection: Connection) -> Look:
    # Of the driver: the statement that is about to run, or has run, is SQLAlchemy's.
    cursor: Any = connection.connection.cursor()
    cursor.execute(LOOK)
    file, rows, locks = cursor.fetchone()
    cursor.close()
    return Look(file, rows, frozenset(locks))


@contextmanager
def watching(seen: Seen, old_code: Callable[[Seen], None]) -> Iterator[None]:
    """Look before and after each statement of every engine of this process."""
    before: list[Look] = []

    def first(connection: Connection, *_: object) -> None:
        before[:] = [look(connection)]
        if not before[0].locks:  # between two transactions: what old code finds is committed
            old_code(seen)

    def then(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        now = look(connection)
        strong = now.locks & STRONG
        seen.strong |= strong
        work = now.rows - before[0].rows > FEW or now.file != before[0].file
        is_alone = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
        if (work and strong) or (is_alone and not ALONE.match(statement)):
            seen.works_under_a_lock.append(statement)

    event.listen(Engine, "before_cursor_execute", first)
    event.listen(Engine, "after_cursor_execute", then)
    try:
        yield
        old_code(seen)
    finally:
        event.remove(Engine, "before_cursor_execute", first)
        event.remove(Engine, "after_cursor_execute", then)


@contextmanager
def old_code(url: str) -> Iterator[Callable[[Seen], None]]:
    with psycopg.connect(**visits.address(url), autocommit=True) as connection:

        def requests(seen: Seen) -> None:
            seen.requests += 1
            key = seen.requests * 97 % ROWS + 1
            for statements in (visits.READ, visits.WRITE, visits.INSERT):
                try:
                    with connection.transaction():
                        for statement in statements:
                            connection.execute(statement, {"key": key, "name": f"again {key}"})
                except psycopg.Error as error:
                    seen.failed.append(f"{type(error).__name__}: {error}")

        yield requests


@pytest.fixture(scope="module")
def filled(postgres_server: PostgresServer) -> Iterator[str]:
    name = "asp_test_visits"
    postgres_server.create_database(name)
    for statement in visits.fill(ROWS):
        postgres_server.execute(statement, name)
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
def url(filled: str, make_database: Callable[..., str]) -> str:
    return make_database("postgresql", template=filled)


def run(url: str, migration: Callable[[], None]) -> Seen:
    seen = Seen()
    with old_code(url) as requests, watching(seen, requests):
        migration()
    assert seen.requests > 2, "old code has run before, between and after"
    return seen


def upgrade(folder: Path, url: str, files: dict[str, str], target: str) -> Callable[[], None]:
    """A call that does as `alembic upgrade <target>` with these files does."""
    config = example.make_project(folder / "project", url, visits.put(folder / "written", files))
    return lambda: command.upgrade(config, target)


@pytest.mark.parametrize("kind", SAFE)
def test_what_is_written_works_on_no_rows_under_a_lock(
    kind: str, tmp_path: Path, url: str, postgres_server: PostgresServer
) -> None:
    files, target = visits.written(kind)
    seen = run(url, upgrade(tmp_path, url, files, target))
    assert seen.strong, "there were locks to look at"
    assert seen.works_under_a_lock == []
    assert seen.failed == []
    if kind == "rename":
        different = "SELECT count(*) FROM visit WHERE full_name IS DISTINCT FROM name"
        assert postgres_server.execute(different, make_url(url).database)[0][0] == 0


@pytest.mark.parametrize("kind", NAIVE)
def test_the_naive_form_does(kind: str, tmp_path: Path, url: str) -> None:
    seen = run(url, upgrade(tmp_path, url, {"naive.py": visits.naive(kind)}, "naive"))
    if kind == "rename":
        assert any("UndefinedColumn" in one for one in seen.failed)
        assert seen.works_under_a_lock == [], "it breaks old code, and fast"
    else:
        assert seen.works_under_a_lock


async def test_a_long_query_makes_the_migration_wait_and_nobody_else(
    tmp_path: Path, url: str
) -> None:
    """Whoever waits for AccessExclusive stands before all that come later: it gives way."""
    files, _ = visits.written("rename")
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    report, old, watch = [await asyncpg.connect(address, timeout=60) for _ in range(3)]
    transaction = report.transaction()
    await transaction.start()
    await report.fetchval("SELECT count(*) FROM visit WHERE id < 10")
    migration = asyncio.create_task(
        asyncio.to_thread(upgrade(tmp_path, url, files, "visit_expand"))
    )
    for _ in range(3):
        await until_it_waits(watch, migration)
        # Behind the migration, which is behind the report: it comes through as that gives way.
        async with asyncio.timeout(60):
            await old.fetchrow("SELECT id, name, hits FROM visit WHERE id = 7")
        assert not migration.done()
    await transaction.rollback()
    async with asyncio.timeout(120):
        await migration
    assert await watch.fetchval("SELECT count(full_name) FROM visit") == 0
    for connection in (report, old, watch):
        await connection.close()


async def until_it_waits(watch: asyncpg.Connection, migration: "asyncio.Task[None]") -> None:
    waits = "SELECT count(*) FROM pg_locks WHERE relation = 'visit'::regclass AND NOT granted"
    end = time.monotonic() + 120
    while not await watch.fetchval(waits):
        assert not migration.done(), migration
        assert time.monotonic() < end, "it never waited"
        await asyncio.sleep(0.01)
