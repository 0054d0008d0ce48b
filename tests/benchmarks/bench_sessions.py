"""What a request costs that reads one row, by what lies between the endpoint and the driver.

    python tests/benchmarks/bench_sessions.py [--rounds 5] [--seconds 2] [PEER ...]

Starts a private PostgreSQL and one uvicorn a peer, with a pool of 10 each, and sends requests with
wrk: 8 at once (fewer than connections) and 50 (more). The rounds go through all peers, so that
what else the machine does is in all. The server's CPU per request counts, user and system; p50
and p99 are the client's, of a machine that does other things too. Writes results/sessions.md and
results/sessions.svg beside this file.
"""

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

from servers import postgres, standby  # noqa: E402

PEERS = {
    "raw_asyncpg": "raw asyncpg",
    "tutorial": "FastAPI's tutorial",
    "sqlmodel": "SQLModel",
    "advanced_alchemy": "advanced-alchemy",
    "public_skill": "the existing public skill",
    "db_session": "DbSession, ORM",
    "read_only_entity": "ReadOnlyDbSession, entity",
    "read_only_columns": "ReadOnlyConnection, columns",
    "driver": "driver_connection()",
    "observed": "DbSession, ORM, observed",
    "replica": "ReplicaDbSession, one standby",
}
CLIENTS = (8, 50)
ROWS = 10_000
PACKAGES = ("sqlalchemy", "fastapi", "uvicorn", "uvloop", "asyncpg", "sqlmodel", "advanced-alchemy")
SCRIPT = """
counter = 0
request = function()
  counter = (counter * 1103515245 + 12345) % 2147483648
  return wrk.format("GET", "/customers/" .. (counter % %d + 1))
end
""".replace("%d", str(ROWS))


@dataclass
class Served:
    """A peer's server, and what was measured of it: by number of clients, a value a round."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    cpu: dict[int, list[float]] = field(default_factory=dict)
    p50: dict[int, list[float]] = field(default_factory=dict)
    p99: dict[int, list[float]] = field(default_factory=dict)
    errors: int = 0

    def cpu_seconds(self) -> float:
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def load(self, clients: int, seconds: float, script: Path) -> tuple[int, str]:
        ran = subprocess.run(
            [
                *("wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "-s", str(script)),
                f"http://127.0.0.1:{self.port}",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        if bad := re.search(r"Non-2xx.*: (\d+)|Socket errors: (.*)", ran.stdout):
            self.errors += 1
            print(f"  {self.name}: {bad[0]}", file=sys.stderr)
        found = re.search(r"(\d+) requests in", ran.stdout)
        assert found is not None and int(found[1]), ran.stdout
        return int(found[1]), ran.stdout

    def measure(self, clients: int, seconds: float, script: Path) -> None:
        before = self.cpu_seconds()
        requests, told = self.load(clients, seconds, script)
        microseconds = (self.cpu_seconds() - before) / requests * 1e6
        self.cpu.setdefault(clients, []).append(microseconds)
        self.p50.setdefault(clients, []).append(milliseconds(told, "50%"))
        self.p99.setdefault(clients, []).append(milliseconds(told, "99%"))


def milliseconds(told: str, percentile: str) -> float:
    found = re.search(rf"{percentile}\s+([\d.]+)(us|ms|s)", told)
    assert found is not None, told
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]]


@contextlib.contextmanager
def serving(name: str, url: str) -> Iterator[Served]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "--factory", f"session_peers:{name}"),
            *("--port", str(port), "--log-level", "warning", "--no-access-log"),
        ],
        cwd=HERE,
        env={**os.environ, "DATABASE_URL": url, "POOL": "10"},
    )
    try:
        served = Served(name, process, port)
        wait_for(served)
        yield served
    finally:
        process.terminate()
        process.wait()


def wait_for(served: Served) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError):
            address = f"http://127.0.0.1:{served.port}/customers/7"
            with urllib.request.urlopen(address) as answer:
                expected = {"id": 7, "name": "Customer 7", "email": "c7@example.com", "credit": 7}
                assert json.load(answer) == expected, served.name
                return
        assert served.process.poll() is None, f"{served.name} ended"
        time.sleep(0.1)
    raise SystemExit(f"{served.name} does not answer")


def table(peers: list[Served]) -> list[str]:
    raw = next((one for one in peers if one.name == "raw_asyncpg"), peers[0])
    lines = ["| | CPU of the server, us (spread) | share of raw asyncpg | p50, p99 of 8, ms |"]
    lines[0] += " p50, p99 of 50 on 10 connections, ms |"
    lines.append("| --- | --- | --- | --- | --- |")
    for one in peers:
        share = share_of(raw, one)
        values = one.cpu[CLIENTS[0]]
        waits = [
            f"{statistics.median(one.p50[n]):.1f}, {statistics.median(one.p99[n]):.1f}"
            for n in CLIENTS
        ]
        lines.append(
            f"| {PEERS[one.name]} | {statistics.median(values):.0f} "
            f"({min(values):.0f} to {max(values):.0f}) | {share:.0%} | {waits[0]} | {waits[1]} |"
        )
    return lines


def share_of(raw: Served, other: Served) -> float:
    """The median of the shares of the rounds: both sides of each met the same machine."""
    pairs = zip(raw.cpu[CLIENTS[0]], other.cpu[CLIENTS[0]], strict=True)
    return statistics.median(one / two for one, two in pairs)


def plot(peers: list[Served]) -> str:
    """Bars, one a peer: the share of raw asyncpg, with its spread over the rounds."""
    raw, height = peers[0], 30
    bars = []
    for number, one in enumerate(peers):
        shares = [a / b for a, b in zip(raw.cpu[CLIENTS[0]], one.cpu[CLIENTS[0]], strict=True)]
        share, y = statistics.median(shares), 50 + number * height
        ours = list(PEERS).index(one.name) >= list(PEERS).index("db_session")
        colour = "#2f6f4f" if ours else "#9aa5a0"
        bars.append(
            f'<text x="232" y="{y + 15}" text-anchor="end">{PEERS[one.name]}</text>'
            f'<rect x="240" y="{y}" width="{400 * share:.0f}" height="20" fill="{colour}"/>'
            f'<line x1="{240 + 400 * min(shares):.0f}" x2="{240 + 400 * max(shares):.0f}" '
            f'y1="{y + 10}" y2="{y + 10}" stroke="black"/>'
            f'<text x="{248 + 400 * max(shares):.0f}" y="{y + 15}">{share:.0%}</text>'
        )
    title = "One row by its key: share of raw asyncpg, by the server's CPU"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {60 + len(peers) * height}" '
        'font-family="sans-serif" font-size="13">'
        '<rect width="100%" height="100%" fill="white"/>'
        f'<text x="20" y="28" font-size="15">{title}</text>{"".join(bars)}</svg>\n'
    )


def versions(server: postgres.PostgresServer) -> str:
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return (
        f"{datetime.date.today().isoformat()}, Python {platform.python_version()}, {packages}, "
        f"PostgreSQL {server.version}, {os.cpu_count()} cores"
    )


def fill(server: postgres.PostgresServer) -> None:
    """The database `bench` with its customers."""
    server.create_database("bench")
    server.execute(
        "CREATE TABLE customers AS SELECT n AS id, 'Customer ' || n AS name, "
        f"'c' || n || '@example.com' AS email, n AS credit FROM generate_series(1, {ROWS}) n",
        "bench",
    )
    server.execute("ALTER TABLE customers ADD PRIMARY KEY (id)", "bench")
    server.execute("VACUUM ANALYZE customers", "bench")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("peers", nargs="*", choices=[*PEERS, []], metavar="PEER")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not there, which sends the requests: make system-deps")
    names = options.peers or list(PEERS)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres.running_postgres())
        if server.keeper is not None:  # all peers are there at once, each with its pool
            server.execute("ALTER SYSTEM SET max_connections = 400")
            server.restart()
        fill(server)
        if "replica" in names:
            second = stack.enter_context(standby.running_standby(server))
            os.environ["STANDBY_URL"] = second.url("bench")
        script = Path(stack.enter_context(folder())) / "requests.lua"
        script.write_text(SCRIPT)
        peers = [stack.enter_context(serving(name, server.url("bench"))) for name in names]
        for one in peers:
            one.load(CLIENTS[1], 1, script)  # warm
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for clients in CLIENTS:
                for one in peers:
                    one.measure(clients, options.seconds, script)
        lines = [versions(server), "", *table(peers)]
        print("\n".join(lines))
        if not options.peers:
            results = HERE / "results"
            results.mkdir(exist_ok=True)
            head = ["# One row by its key, over HTTP", "", "By `make bench`:"]
            text = "\n".join([*head, *lines, "", "![](sessions.svg)", ""])
            (results / "sessions.md").write_text(text)
            (results / "sessions.svg").write_text(plot(peers))


@contextlib.contextmanager
def folder() -> Iterator[str]:
    import tempfile

    with tempfile.TemporaryDirectory() as path:
        yield path


if __name__ == "__main__":
    main()
