"""What bulk.py, keyset pages and sizes cost, beside the driver's own.

    python tests/benchmarks/bench_bulk.py [--rounds 5] [--rows 200000] [--seconds 2]

Ours and the driver's take turns on one connection, in this process, against a private server, so
that what else the machine does is in both; rows are made before. Counted is CPU, of this process
and of the server, and time. A share is the driver's by ours, the median of the rounds. Then keyset
pages, rows by their number, and a DbSession by the number of clients (wrk). Writes
results/bulk.md and results/bulk.svg beside this file.
"""

import argparse
import asyncio
import contextlib
import datetime
import gc
import importlib.metadata
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE / "results"
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts"), str(ROOT / "templates")]

import bench_sessions  # noqa: E402
from sqlalchemy import BigInteger, String, bindparam, select, text, tuple_  # noqa: E402
from sqlalchemy.ext.asyncio import AsyncConnection  # noqa: E402
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column  # noqa: E402

from bulk import bulk_insert, stream_rows  # noqa: E402
from servers import mysql, postgres  # noqa: E402
from session_manager import DatabaseConfig, DatabaseSessionManager  # noqa: E402

STREAMED = 1_000_000
SIZES = (1_000, 10_000, 100_000, 1_000_000)
CLIENTS = (1, 5, 20, 100, 500)
PAGE, PAGES = 50, 10_000
COLUMNS = ("id", "name", "email", "credit")
PACKAGES = ("sqlalchemy", "asyncpg", "aiomysql", "aiosqlite")


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(320))
    credit: Mapped[int]


TABLE: Any = Customer.__table__
Work = Callable[[], Awaitable[object]]


@dataclass
class Cost:
    """Of one go."""

    cpu: float
    wall: float


@dataclass
class Duel:
    """What the driver and we take for the same, a cost a round."""

    name: str
    unit: int
    driver: list[Cost] = field(default_factory=list)
    ours: list[Cost] = field(default_factory=list)

    def share(self, of: str) -> float:
        pairs = zip(self.driver, self.ours, strict=True)
        return statistics.median(getattr(one, of) / getattr(two, of) for one, two in pairs)

    def line(self) -> str:
        each = [statistics.median(one.cpu for one in side) for side in (self.driver, self.ours)]
        microseconds = [f"{seconds / self.unit * 1e6:.2f}" for seconds in each]
        shares = f"{self.share('cpu'):.0%} | {self.share('wall'):.0%}"
        return f"| {self.name} | {microseconds[0]} | {microseconds[1]} | {shares} |"


class Watch:
    """Counts the CPU of this process and of the server's processes."""

    def __init__(self, *servers: int) -> None:
        self.servers = servers

    def cpu(self) -> float:
        ticks = 0
        for pid in self.servers:
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            ticks += int(stat[11]) + int(stat[12])
        return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")

    async def cost(self, work: Work) -> Cost:
        gc.collect()
        cpu, wall = self.cpu(), time.perf_counter()
        await work()
        return Cost(self.cpu() - cpu, time.perf_counter() - wall)

    async def duel(self, name: str, unit: int, rounds: int, driver: Work, ours: Work) -> Duel:
        duel = Duel(name, unit)
        await driver()  # warm
        await ours()
        for number in range(rounds):
            for ours_now in (number % 2 == 0, number % 2 == 1):
                cost = await self.cost(ours if ours_now else driver)
                (duel.ours if ours_now else duel.driver).append(cost)
        print(duel.line(), file=sys.stderr, flush=True)
        return duel


def records(count: int) -> list[tuple[Any, ...]]:
    return [(n, f"Customer {n}", f"c{n}@example.com", n) for n in range(count)]


def dicts(count: int) -> list[dict[str, Any]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in records(count)]


async def emptied(connection: AsyncConnection) -> None:
    await connection.rollback()
    word = "DELETE FROM" if connection.dialect.name == "sqlite" else "TRUNCATE TABLE"
    await connection.execute(text(f"{word} customers"))
    await connection.commit()


SQL = {
    "asyncpg": "INSERT INTO customers (id, name, email, credit) VALUES ($1, $2, $3, $4)",
    "aiomysql": "INSERT INTO customers (id, name, email, credit) VALUES (%s, %s, %s, %s)",
    "aiosqlite": "INSERT INTO customers (id, name, email, credit) VALUES (?, ?, ?, ?)",
}


async def inserting(
    database: DatabaseSessionManager, watch: Watch, count: int, rounds: int
) -> list[Duel]:
    """bulk_insert beside COPY or executemany, each in a transaction that is rolled back."""
    rows, tuples = dicts(count), records(count)
    duels = []
    async with database.engine.connect() as connection:
        name, driver_name = connection.dialect.name, connection.dialect.driver
        raw: Any = (await connection.get_raw_connection()).driver_connection
        sql = SQL[driver_name]
        await emptied(connection)

        async def begun() -> None:
            await connection.execute(text("SELECT 1"))

        def driver(go: Callable[[], Awaitable[object]]) -> Work:
            async def run() -> None:
                await begun()
                await go()
                await connection.rollback()

            return run

        def ours(**options: Any) -> Work:
            async def run() -> None:
                await bulk_insert(connection, Customer, rows, **options)
                await connection.rollback()

            return run

        async def copy() -> None:
            await raw.copy_records_to_table("customers", records=tuples, columns=list(COLUMNS))

        async def executemany(statement: str = sql) -> None:
            if driver_name == "aiomysql":
                async with raw.cursor() as cursor:
                    await cursor.executemany(statement, tuples)
            else:
                await raw.executemany(statement, tuples)

        kind = "COPY" if name == "postgresql" else "executemany"
        go = copy if name == "postgresql" else executemany
        duels.append(
            await watch.duel(f"{database_name(name)}: {kind}", count, rounds, driver(go), ours())
        )
        ignoring = {
            "mysql": sql.replace("INSERT", "INSERT IGNORE"),
            "postgresql": f"{sql} ON CONFLICT DO NOTHING",
            "sqlite": f"{sql} ON CONFLICT DO NOTHING",
        }[name]
        duels.append(
            await watch.duel(
                f"{database_name(name)}: duplicates left out",
                count,
                rounds,
                driver(lambda: executemany(ignoring)),
                ours(skip_duplicates=True),
            )
        )
        if name == "postgresql":
            duels.append(
                await watch.duel(
                    "PostgreSQL: RETURNING",
                    count,
                    rounds,
                    driver(lambda: raw.fetchmany(f"{sql} RETURNING id", tuples)),
                    ours(returning=["id"]),
                )
            )
        await connection.rollback()
    return duels


def database_name(name: str) -> str:
    return {"postgresql": "PostgreSQL", "mysql": "MariaDB", "sqlite": "SQLite"}[name]


async def streaming(database: DatabaseSessionManager, watch: Watch, rounds: int) -> Duel:
    statement = select(*(TABLE.c[name] for name in COLUMNS))

    async def ours() -> None:
        seen = 0
        async with database.read_only_session() as session:
            async for rows in stream_rows(session, statement):
                for row in rows:
                    seen += row[3] >= 0
        assert seen == STREAMED

    async def driver() -> None:
        seen = 0
        async with database.driver_connection() as raw, raw.transaction():
            cursor = await raw.cursor("SELECT id, name, email, credit FROM customers")
            while rows := await cursor.fetch(1000):
                for row in rows:
                    seen += row[3] >= 0
        assert seen == STREAMED

    return await watch.duel("PostgreSQL: a million rows out", STREAMED, rounds, driver, ours)


GROWTH = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from sqlalchemy import select
from bench_bulk import COLUMNS, STREAMED, TABLE
from bulk import stream_rows
from session_manager import DatabaseConfig, DatabaseSessionManager

def resident():  # not ru_maxrss, which is that of the parent to begin with
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 / 1024

async def main():
    async with DatabaseSessionManager(DatabaseConfig(sys.argv[1])) as database:
        async with database.read_only_session() as session:
            seen, sizes = 0, [resident()]
            async for rows in stream_rows(session, select(*(TABLE.c[name] for name in COLUMNS))):
                seen += len(rows)
                sizes.append(resident())
    assert seen == STREAMED
    print(max(sizes) - sizes[0])

asyncio.run(main())
"""


def growth(url: str) -> float:
    """MiB that a process grew by, from before the first row of a million to its largest."""
    program = [sys.executable, "-c", GROWTH, url, *sys.path[:3], str(HERE)]
    ran = subprocess.run(program, capture_output=True, text=True, check=True)
    return float(ran.stdout)


async def paging(database: DatabaseSessionManager, watch: Watch, rounds: int) -> list[str]:
    """Page 10,000 beside page 1, by keyset and by offset; CPU of both sides, the median."""
    key = (TABLE.c.credit, TABLE.c.id)
    columns = [TABLE.c[name] for name in COLUMNS]
    first = select(*columns).order_by(*key).limit(PAGE)
    after = first.where(tuple_(*key) > tuple_(bindparam("credit"), bindparam("id")))
    number = PAGE * (PAGES - 1)  # of the rows before, whose credit is their number
    pages: dict[str, tuple[Any, dict[str, int]]] = {
        "keyset, page 1": (after, {"credit": -1, "id": -1}),
        f"keyset, page {PAGES:,}": (after, {"credit": number - 1, "id": number - 1}),
        "offset, page 1": (first.offset(0), {}),
        f"offset, page {PAGES:,}": (first.offset(number), {}),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in pages}
    async with database.engine.connect() as connection:

        async def read(name: str) -> None:
            statement, values = pages[name]
            for _ in range(100 if "keyset" in name else 5):
                rows = (await connection.execute(statement, values)).all()
                assert rows[0].id == (number if f"{PAGES:,}" in name else 0)
                assert len(rows) == PAGE

        for name in [*pages, *list(pages) * rounds]:
            costs[name].append(await watch.cost(lambda name=name: read(name)))
    lines = [f"| Page of {PAGE} rows, of a million | ms of CPU |", "| --- | --- |"]
    for name, found in costs.items():
        each = 100 if "keyset" in name else 5
        lines.append(f"| {name} | {statistics.median(c.cpu for c in found[1:]) / each * 1e3:.2f} |")
    return lines


async def sizes(database: DatabaseSessionManager, watch: Watch) -> dict[str, list[float]]:
    """Microseconds of CPU a row, in and out, by the number of rows."""
    found: dict[str, list[float]] = {"bulk_insert": [], "stream_rows": []}
    for count in SIZES:
        rows = dicts(count)
        times = max(1, 20_000 // count)
        async with database.engine.connect() as connection:
            await emptied(connection)

            async def write(rows: Any = rows, times: int = times) -> None:
                for _ in range(times):
                    await bulk_insert(connection, Customer, rows)
                    await connection.rollback()

            async def read(times: int = times) -> None:
                for _ in range(times):
                    statement = select(*(TABLE.c[name] for name in COLUMNS))
                    async for _rows in stream_rows(connection, statement):
                        pass

            for name, work in (("bulk_insert", write), ("stream_rows", read)):
                costs = [await watch.cost(work) for _ in range(3)]
                least = min(one.cpu for one in costs)
                found[name].append(least / count / times * 1e6)
                if work is write:
                    await bulk_insert(connection, Customer, rows)
            await connection.rollback()
    return found


def clients(url: str, folder: Path, seconds: int) -> dict[str, list[float]]:
    """A request of DbSession that reads a row, by the number of clients, 10 connections."""
    script = folder / "requests.lua"
    script.write_text(bench_sessions.SCRIPT)
    found: dict[str, list[float]] = {"us of CPU": [], "p50, ms": [], "p99, ms": []}
    with bench_sessions.serving("db_session", url) as served:
        served.load(50, 1, script)  # warm
        for number in CLIENTS:
            for _ in range(3):
                served.measure(number, max(seconds, number // 50), script)
            for name, values in zip(found, (served.cpu, served.p50, served.p99), strict=True):
                found[name].append(statistics.median(values[number]))
    return found


def plot(rows: dict[str, list[float]], requests: dict[str, list[float]]) -> str:
    """Two pictures: microseconds a row by rows, and a request by clients."""
    parts = [
        *panel("CPU a row, us, by rows", SIZES, rows, 30),
        *panel("CPU a request, us, by clients", CLIENTS, {"us of CPU": requests["us of CPU"]}, 400),
    ]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 270" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def panel(
    title: str, sizes: tuple[int, ...], lines: dict[str, list[float]], left: int
) -> Iterator[str]:
    most = max(value for values in lines.values() for value in values)
    yield f'<text x="{left}" y="24" font-size="14">{title}</text>'
    yield f'<line x1="{left}" x2="{left + 320}" y1="230" y2="230" stroke="#999"/>'
    places = [left + 20 + 280 * n / (len(sizes) - 1) for n in range(len(sizes))]
    for x, size in zip(places, sizes, strict=True):
        yield f'<text x="{x:.0f}" y="248" text-anchor="middle">{size:,}</text>'
    for (name, values), colour in zip(lines.items(), ("#2f6f4f", "#9a6f2f"), strict=False):
        points = [(x, 230 - 170 * value / most) for x, value in zip(places, values, strict=True)]
        path = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for (x, y), value in zip(points, values, strict=True):
            yield f'<text x="{x:.0f}" y="{y - 6:.0f}" text-anchor="middle">{value:.3g}</text>'
        yield f'<text x="{places[-1]:.0f}" y="{points[-1][1] + 16:.0f}" text-anchor="end" '
        yield f'fill="{colour}">{name}</text>'


def table(head: str, numbers: tuple[int, ...], values: dict[str, list[float]]) -> list[str]:
    lines = [f"| {head} | {' | '.join(f'{n:,}' for n in numbers)} |"]
    lines.append("| --- " * (len(numbers) + 1) + "|")
    for name, found in values.items():
        lines.append(f"| {name} | {' | '.join(f'{value:.3g}' for value in found)} |")
    return lines


@contextlib.asynccontextmanager
async def opened(url: str, *servers: int) -> AsyncIterator[tuple[DatabaseSessionManager, Watch]]:
    config = DatabaseConfig(url, pool_size=1, max_overflow=0, statement_timeout=0)
    async with DatabaseSessionManager(config) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            if connection.dialect.name == "postgresql":
                raw: Any = (await connection.get_raw_connection()).driver_connection
                servers = (raw.get_server_pid(),)
        yield database, Watch(*servers)


def pid_of(server: mysql.MySQLServer) -> int:
    return int(Path(server.execute("SELECT @@pid_file")[0][0]).read_text())


async def measure(options: argparse.Namespace, stack: contextlib.ExitStack) -> list[str]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    server = stack.enter_context(postgres.running_postgres())
    server.create_database("bench")
    maria = stack.enter_context(mysql.running_mysql())
    maria.create_database("bench")
    maria_pid = pid_of(maria)
    url = server.url("bench")
    rounds = options.rounds
    duels: list[Duel] = []
    async with opened(url) as (database, watch):
        duels += await inserting(database, watch, options.rows, rounds)
        by_size = await sizes(database, watch)
        async with database.begin() as session:
            await session.execute(text("CREATE INDEX ix_customers_page ON customers (credit, id)"))
            await bulk_insert(session, Customer, dicts(STREAMED))
        await database.engine.dispose()
    async with opened(url) as (database, watch):
        async with database.engine.connect() as connection:
            await connection.execute(text("ANALYZE customers"))
            await connection.commit()
        duels.append(await streaming(database, watch, rounds))
        pages = await paging(database, watch, rounds)
        grown = growth(url)
    by_clients = clients(url, folder, options.seconds)
    for other, pids in ((f"sqlite:///{folder}/bench.db", ()), (maria.url("bench"), (maria_pid,))):
        async with opened(other, *pids) as (database, watch):
            duels += await inserting(database, watch, options.rows, rounds)
    (RESULTS / "bulk.svg").write_text(plot(by_size, by_clients))
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return [
        "# Many rows, beside the driver",
        "",
        "By `make bench-bulk`:",
        f"{datetime.date.today().isoformat()}, Python {platform.python_version()}, {packages}, "
        f"PostgreSQL {server.version}, MariaDB {maria.version}, SQLite {sqlite3.sqlite_version}, "
        f"{os.cpu_count()} cores",
        "",
        f"{options.rows:,} rows of four columns, from dicts (the driver: from tuples).",
        "",
        "| | driver, us of CPU a row | ours | share of the driver, by CPU | by time |",
        "| --- | --- | --- | --- | --- |",
        *(duel.line() for duel in duels),
        "",
        f"While a million rows went out, the process grew by {grown:.1f} MiB.",
        "",
        *pages,
        "",
        *table("us of CPU a row, by rows", SIZES, by_size),
        "",
        *table("DbSession, one row by its key, 10 connections, by clients", CLIENTS, by_clients),
        "",
        "![](bulk.svg)",
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--seconds", type=int, default=2)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not there, which sends the requests: make system-deps")
    RESULTS.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        lines = asyncio.run(measure(options, stack))
    print("\n".join(lines))
    (RESULTS / "bulk.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
