"""How long requests wait while half a million rows change their form: written and naive.

    python tests/benchmarks/bench_downtime.py

On PostgreSQL. Four clients read and write as old code does, one short transaction a request, while
a migration runs: the revisions that --expand-contract writes, and the naive form of the same
change. Printed is the longest request, and how many failed: refused by the database, or not
answered in the five seconds that a client waits. A naive form is stopped once its stall is seen.

Exit code 1 when a request under a written form fails or waits for a second, or when no naive form
is noticed. `tests/scripts/test_zero_downtime.py` shows why, without a clock.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / name) for name in ("tests", "scripts", "templates", "examples")]

import psycopg  # noqa: E402
from alembic import command  # noqa: E402
from sqlalchemy.exc import DBAPIError  # noqa: E402

import migration_examples as example  # noqa: E402
from projects import visits  # noqa: E402
from servers.postgres import PostgresServer, running_postgres  # noqa: E402

ROWS = 500_000
CLIENT_WAITS = 5.0  # seconds, as an impatient service
LONGEST_STALL = 1.0
Address = dict[str, Any]
CLIENTS = (visits.READ, visits.WRITE, visits.INSERT, visits.READ)


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


async def watch(url: str, migration: Callable[[], object], *, end_when_stalled: bool) -> Traffic:
    """Run the migration in a thread while old code reads and writes."""
    traffic, stop = Traffic(), asyncio.Event()
    address = visits.address(url)
    clients = [
        asyncio.create_task(client(address, traffic, stop, statements, number))
        for number, statements in enumerate(CLIENTS)
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
        if "canceling statement due to user request" not in str(error):
            raise
    finally:
        stop.set()
        await asyncio.gather(*clients)
    return traffic


async def cancel_when_stalled(
    address: Address, traffic: Traffic, running: "asyncio.Task[object]"
) -> None:
    while not traffic.is_stalled():
        if running.done():
            return
        await asyncio.sleep(0.05)
    async with await psycopg.AsyncConnection.connect(**address) as connection:
        await connection.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_locks WHERE relation = 'visit'::regclass "
            "AND mode IN ('AccessExclusiveLock', 'ShareLock') AND granted"
        )


async def client(
    address: Address,
    traffic: Traffic,
    stop: asyncio.Event,
    statements: tuple[str, ...],
    number: int,
) -> None:
    connection = await psycopg.AsyncConnection.connect(**address, autocommit=True)
    turn = number
    while not stop.is_set():
        turn += 97
        key = turn % ROWS + 1
        started = traffic.under_way[number] = time.monotonic()
        try:
            async with asyncio.timeout(CLIENT_WAITS), connection.transaction():
                for statement in statements:
                    await connection.execute(statement, {"key": key, "name": f"again {key}"})
        except (psycopg.Error, TimeoutError) as error:
            traffic.failed.append(f"{type(error).__name__}: {error}")
            if connection.closed:
                connection = await psycopg.AsyncConnection.connect(**address, autocommit=True)
        traffic.longest = max(traffic.longest, time.monotonic() - started)
        traffic.requests += 1
        del traffic.under_way[number]
        await asyncio.sleep(0.005)
    await connection.close()


@contextmanager
def copy_of(server: PostgresServer, name: str) -> Iterator[str]:
    server.create_database("copy", name)
    # Else the first seconds of the clients are spent on the copy's own first checkpoint.
    server.execute("CHECKPOINT")
    yield server.url("copy")
    server.drop_database("copy")


def measure(server: PostgresServer, files: dict[str, str], target: str, *, naive: bool) -> Traffic:
    with tempfile.TemporaryDirectory() as name, copy_of(server, "full") as url:
        folder = Path(name)
        history = visits.put(folder / "written", files)
        config = example.make_project(folder / "project", url, history)
        migration = lambda: command.upgrade(config, target)  # noqa: E731
        return asyncio.run(watch(url, migration, end_when_stalled=naive))


def line(kind: str, form: str, traffic: Traffic) -> str:
    said = "nobody notices" if traffic.harmless() else "noticed"
    longest = f"{1000 * traffic.longest:8.0f} ms"
    return f"{kind:<10}{form:<9}{traffic.requests:>9}{len(traffic.failed):>8}{longest}  {said}"


def main() -> int:
    wrong = 0
    with running_postgres() as server:
        server.create_database("full")
        for statement in visits.fill(ROWS):
            server.execute(statement, "full")
        print(f"PostgreSQL {server.version}, {ROWS:,} rows, {len(CLIENTS)} clients")
        print(f"{'change':<10}{'form':<9}{'requests':>9}{'failed':>8}{'longest':>11}")
        for kind in dict.fromkeys([*visits.SAFE, *visits.NAIVE]):
            if kind in visits.SAFE:
                met = measure(server, *visits.written(kind), naive=False)
                print(line(kind, "written", met), flush=True)
                wrong += not met.harmless()
            if kind in visits.NAIVE:
                met = measure(server, {"naive.py": visits.naive(kind)}, "naive", naive=True)
                print(line(kind, "naive", met), flush=True)
                # The others are a matter of rows: a fast disk may hide them.
                wrong += kind == "rename" and met.harmless()
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
