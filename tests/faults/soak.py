"""Money moves between accounts while its server, its processes and the way between them fail.

    python tests/faults/soak.py [--seconds 600] [--seed N]        make soak SECONDS=180

Two processes of `bank.py` on a PostgreSQL with a synchronous standby, behind a proxy. Clients
repeat with the same key what was not acknowledged, and some give up. One fault after the other is
injected, chosen by the seed. Afterwards the database is compared with what the clients were told:
no money made or lost, each acknowledged transfer applied exactly once, none of the others more than
once. Prints what was injected, how long until both processes worked again, and what was lost.
"""

import argparse
import asyncio
import os
import random
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx

TESTS = Path(__file__).resolve().parents[1]
PATHS = [str(TESTS), *(str(TESTS.parent / name) for name in ("templates", "examples"))]
if __name__ == "__main__":
    sys.path[:0] = PATHS

from sqlalchemy import make_url, select

from faults.bank import ACCOUNTS, ENTRIES, TABLES
from servers import postgres, private, replication
from servers.proxy import Proxy
from session_manager import DatabaseConfig, DatabaseSessionManager

ACCOUNT_NUMBERS = range(8)
START = 1_000_000
CLIENTS = 4
"""For each process; a wrong way has one."""
GIVES_UP = 0.1
HURRIES = 0.05
"""The share of requests whose client hangs up, most likely before the answer."""
HANG = 60.0
OFF = "more or less money than there was"
LOST = "acknowledged and not applied"
TWICE = "applied more than once"
HALF = "applied by half"
NAME = "soak"
SETTINGS = {
    f"DATABASE_{name}": "2"
    for name in ("STATEMENT_TIMEOUT", "CONNECT_TIMEOUT", "POOL_TIMEOUT", "LOCK_TIMEOUT")
} | {"DATABASE_IDLE_IN_TRANSACTION_TIMEOUT": "2"}


class Process:
    """One application, which may be killed."""

    def __init__(self, database_url: str) -> None:
        self.port = private.free_port()
        inherited = {n: v for n, v in os.environ.items() if not n.startswith("DATABASE_")}
        self.environment = {
            **inherited,
            **SETTINGS,
            "DATABASE_URL": database_url,
            "PYTHONPATH": os.pathsep.join(PATHS),
        }
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.running = subprocess.Popen(
            [sys.executable, str(TESTS / "faults" / "bank.py"), str(self.port)],
            stdin=subprocess.PIPE,
            env=self.environment,
            start_new_session=True,
        )

    def kill(self) -> None:
        self.running.kill()
        self.running.communicate()


@dataclass
class Told:
    """What the clients of one way know of their transfers, by key."""

    acknowledged: set[uuid.UUID] = field(default_factory=set)
    given_up: set[uuid.UUID] = field(default_factory=set)
    repeated: int = 0


@dataclass
class Injected:
    fault: str
    recovery: float


class Soak:
    """A run. `ways`: of the bank's, the right one and, to try the checker, wrong ones."""

    def __init__(self, cluster: replication.Cluster, seed: int, ways: Sequence[str]) -> None:
        self.cluster, self.ways = cluster, ways
        self.random = random.Random(seed)
        self.told = {way: Told() for way in ways}
        self.statuses: Counter[str] = Counter()
        self.injected: list[Injected] = []
        self.worked: dict[int, int] = Counter()
        """Acknowledged transfers by process."""
        self.stopping = False

    @property
    def server(self) -> postgres.PostgresServer:
        return self.cluster.primary

    @property
    def url(self) -> str:
        return self.server.url(NAME)

    async def run(self, seconds: float, until: Callable[[], Awaitable[bool]] | None = None) -> None:
        """For so long, and until that is true."""
        self.until = until
        self.server.create_database(NAME)
        self.cluster.wait_for_a_standby()
        await self.fill()
        async with Proxy(self.server.host, self.server.port) as self.proxy:
            through = make_url(self.url).set(port=self.proxy.port)
            url = through.render_as_string(hide_password=False)
            self.processes = [Process(url), Process(url)]
            limits = httpx.Limits(max_connections=None)
            try:
                async with httpx.AsyncClient(limits=limits) as self.http:
                    await self.work(seconds)
            finally:
                for process in self.processes:
                    process.kill()

    async def work(self, seconds: float) -> None:
        clients = [
            asyncio.create_task(self.client(way, number % 2))
            for way in self.ways
            for number in range(2 * (CLIENTS if way == self.ways[0] else 1))
        ]
        try:
            await self.both_work()
            end = time.monotonic() + seconds
            faults = self.faults()
            rounds = 0
            # In each round of ten all faults happen, in another order.
            while time.monotonic() < end or (self.until and not await self.until()):
                assert time.monotonic() < end + HANG * 2
                if not rounds % len(faults):
                    self.random.shuffle(faults)
                fault, inject = faults[rounds % len(faults)]
                rounds += 1
                self.proxy.commits_to_cut = 2  # beside all others
                await inject()
                began = time.monotonic()
                await self.both_work()
                self.injected.append(Injected(fault, time.monotonic() - began))
                if not self.cluster.standbys:
                    await asyncio.to_thread(self.cluster.add_standby)
                    await asyncio.to_thread(self.cluster.wait_for_a_standby)
                for client in clients:
                    if client.done():
                        client.result()
                await asyncio.sleep(self.random.uniform(0, 0.3))
        finally:
            self.stopping = True
            self.proxy.commits_to_cut = 0
            await asyncio.gather(*clients)

    async def both_work(self) -> None:
        """Until each process has acknowledged two more; one may have been under way."""
        goal = {number: self.worked[number] + 2 for number in range(2)}
        async with asyncio.timeout(HANG):
            while any(self.worked[number] < least for number, least in goal.items()):
                ended = [process.running.poll() for process in self.processes]
                assert ended == [None, None], f"the bank ended by itself: {ended}"
                await asyncio.sleep(0.005)

    # Clients

    async def client(self, way: str, at: int) -> None:
        """Transfer after transfer; what is not acknowledged is repeated, at either process."""
        own = random.Random(self.random.random())
        told = self.told[way]
        while not self.stopping:
            source, target = own.sample(ACCOUNT_NUMBERS, 2)
            key = uuid.uuid4()
            amount = own.randint(1, 100)
            order = {"key": key.hex, "source": source, "target": target, "amount": amount}
            process = at
            deadline = time.monotonic() + HANG
            while not await self.ask(
                process, way, order, own.uniform(0, 0.05) if own.random() < HURRIES else 20
            ):
                if own.random() < GIVES_UP:
                    told.given_up.add(key)
                    break
                assert time.monotonic() < deadline, "a transfer was refused for a minute"
                told.repeated += 1
                process = own.randrange(2)
                await asyncio.sleep(own.uniform(0, 0.2))
            else:
                told.acknowledged.add(key)
                if way == self.ways[0]:
                    self.worked[process] += 1
            await asyncio.sleep(0.02)

    async def ask(self, process: int, way: str, order: dict[str, object], patience: float) -> bool:
        address = self.processes[process].address
        try:
            answer = await self.http.post(f"{address}/{way}", json=order, timeout=patience)
        except httpx.TransportError as error:
            self.statuses[type(error).__name__] += 1
            return False
        self.statuses[str(answer.status_code)] += 1
        return answer.status_code == 201

    # Faults

    def faults(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        async def lose_commits() -> None:
            self.proxy.commits_to_cut += 8
            await self.both_work()

        async def reset() -> None:
            self.proxy.reset()

        async def black_hole() -> None:
            self.proxy.swallow = True
            await asyncio.sleep(self.random.uniform(0.5, 3))
            self.proxy.swallow = False

        async def terminate() -> None:
            await self.execute(f"SELECT pg_terminate_backend(pid) {BACKENDS}")

        async def kill_a_backend() -> None:
            found = await self.execute(f"SELECT pid {BACKENDS}")
            if found:
                private.send(self.random.choice(found)[0], signal.SIGKILL)

        async def restart() -> None:
            await asyncio.to_thread(self.server.restart)

        async def crash() -> None:
            await asyncio.to_thread(self.server.restart, signal.SIGQUIT)

        async def freeze() -> None:
            assert self.server.keeper is not None
            with self.server.keeper.frozen():
                await asyncio.sleep(self.random.uniform(0.5, 3))

        async def fail_over() -> None:
            """What was acknowledged is on the standby."""
            await asyncio.to_thread(self.cluster.fail_over)
            self.proxy.target = (self.server.host, self.server.port)
            self.proxy.reset()

        async def kill_an_application() -> None:
            process = self.random.choice(self.processes)
            process.kill()
            process.start()

        return [
            ("answers to COMMIT lost", lose_commits),
            ("connections reset", reset),
            ("black hole of 0.5 to 3 s", black_hole),
            ("every backend terminated", terminate),
            ("backend killed (SIGKILL)", kill_a_backend),
            ("server restarted, fast", restart),
            ("server restarted, immediate", crash),
            ("server frozen for 0.5 to 3 s", freeze),
            ("failed over to the standby", fail_over),
            ("application killed (SIGKILL)", kill_an_application),
        ]

    async def execute(self, statement: str) -> list[tuple[int]]:
        async with asyncio.timeout(HANG):
            while True:
                with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    # The server may be recovering.
                    return list(await asyncio.to_thread(self.server.execute, statement))
                await asyncio.sleep(0.05)

    # What has to be true afterwards

    async def fill(self) -> None:
        async with (
            DatabaseSessionManager(DatabaseConfig(self.url)) as manager,
            manager.engine.begin() as connection,
        ):
            for table in TABLES:
                await connection.run_sync(table.create)
            rows = [
                {"way": way, "id": number, "balance": START}
                for way in self.ways
                for number in ACCOUNT_NUMBERS
            ]
            await connection.execute(ACCOUNTS.insert(), rows)

    async def count(self, way: str) -> dict[str, int]:
        """How often the database and the clients do not agree, by what it is."""
        async with (
            DatabaseSessionManager(DatabaseConfig(self.url)) as manager,
            manager.snapshot() as session,
        ):
            mine = select(ACCOUNTS.c.id, ACCOUNTS.c.balance).where(ACCOUNTS.c.way == way)
            balances = {row.id: row.balance for row in await session.execute(mine)}
            columns = (ENTRIES.c.key, ENTRIES.c.account, ENTRIES.c.amount)
            entries = (await session.execute(select(*columns).where(ENTRIES.c.way == way))).all()
        booked = dict.fromkeys(ACCOUNT_NUMBERS, START)
        halves: Counter[uuid.UUID] = Counter()
        for key, account, amount in entries:
            booked[account] += amount
            halves[key] += 1
        told = self.told[way]
        self.applied_of_given_up = sum(halves[key] == 2 for key in told.given_up)
        return {
            OFF: sum(balances.values()) - START * len(ACCOUNT_NUMBERS),
            "accounts whose balance is not what was booked": sum(
                booked[number] != balance for number, balance in balances.items()
            ),
            LOST: sum(halves[key] < 2 for key in told.acknowledged),
            TWICE: sum(number > 2 for number in halves.values()),
            HALF: sum(number % 2 for number in halves.values()),
            "applied and never asked for": len(halves.keys() - told.acknowledged - told.given_up),
        }

    async def problems(self, way: str) -> list[str]:
        """Empty when all is well."""
        return [f"{number} {what}" for what, number in (await self.count(way)).items() if number]

    def table(self, problems: Sequence[str]) -> str:
        """What was injected, how long it took to recover, what was lost."""
        lines = [f"{'injected':32}{'times':>6}{'recovery: median':>18}{'longest':>9}"]
        times: dict[str, list[float]] = {}
        for one in self.injected:
            times.setdefault(one.fault, []).append(one.recovery)
        for fault, taken in sorted(times.items()):
            middle, longest = statistics.median(taken), max(taken)
            lines.append(f"{fault:32}{len(taken):>6}{middle:>16.2f} s{longest:>7.2f} s")
        told = self.told[self.ways[0]]
        answers = ", ".join(f"{n} x {what}" for what, n in sorted(self.statuses.items()))
        lines += [
            "",
            f"acknowledged  {len(told.acknowledged)}, each applied once" * (not problems),
            f"repeated      {told.repeated} requests",
            f"given up      {len(told.given_up)}, of which {self.applied_of_given_up} were applied",
            f"answers       {answers}",
            f"lost          {'; '.join(problems) or 'nothing'}",
        ]
        return "\n".join(line for line in lines if line)


BACKENDS = f"FROM pg_stat_activity WHERE datname = '{NAME}'"


def soak_cluster() -> AbstractContextManager[replication.Cluster]:
    """What is acknowledged is on the disk of this one, else a crash would lose it."""
    return replication.running_cluster(1, "max_connections=80")


async def soak(cluster: replication.Cluster, seconds: float, seed: int) -> int:
    run = Soak(cluster, seed, ["right"])
    await run.run(seconds)
    problems = await run.problems("right")
    if run.statuses["500"]:
        problems.append(f"{run.statuses['500']} answers were 500")
    print(run.table(problems))
    return bool(problems)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    chosen = parser.parse_args()
    print(f"{chosen.seconds:g} seconds, seed {chosen.seed}", flush=True)
    with soak_cluster() as cluster:
        return asyncio.run(soak(cluster, chosen.seconds, chosen.seed))


if __name__ == "__main__":
    sys.exit(main())
