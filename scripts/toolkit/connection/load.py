"""The application's own pool under concurrent use, as its engine is set."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import AsyncAdaptedQueuePool

from toolkit.connection.address import Target
from toolkit.connection.connecting import close, make_engine
from toolkit.connection.expected import Expected, Room
from toolkit.connection.failures import words_of
from toolkit.connection.steps import Layer, Step, not_checked, ok, stop

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

STATEMENTS = 5
MOST_CONNECTIONS = 10
HOLD_SECONDS = 0.002  # inside of each transaction, so that they overlap


@dataclass
class Load:
    """What happened."""

    tasks: int
    connections: int
    """The most at once."""
    failures: Counter[str] = field(default_factory=Counter)
    """Tasks by the error that ended them."""
    waits: list[float] = field(default_factory=list)
    """Seconds from asking for a connection to having it."""
    backends: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """The server's processes that each connection has met."""
    left_out: int = 0
    """Connections that were not given back."""

    @property
    def failed(self) -> int:
        return self.failures.total()

    @property
    def processes(self) -> frozenset[int]:
        """Of the server, those that any connection has met."""
        return frozenset(pid for pids in self.backends.values() for pid in pids)

    @property
    def moves(self) -> bool:
        """Has a connection met several processes, or have several shared one?"""
        several = any(len(pids) > 1 for pids in self.backends.values())
        return several or len(self.processes) < len(self.backends)


def connections_for(expected: Expected, room: Room) -> int:
    """How many connections a load may open: half of what is free, and few."""
    return min(MOST_CONNECTIONS, expected.load, expected.settings.capacity, room.free // 2)


async def run_load(
    target: Target, expected: Expected, connections: int, query: str, seconds: float
) -> Load:
    """Let `expected.load` tasks use the pool at once. Raises TimeoutError after `seconds`."""
    size = min(expected.settings.pool_size or connections, connections)
    engine = make_engine(
        target,
        own=False,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=size,
        max_overflow=connections - size,
        pool_timeout=min(expected.settings.pool_timeout, seconds),
    )
    load = Load(expected.load, connections)
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(use(engine, load, query) for _ in range(expected.load)))
        pool: Any = engine.pool
        load.left_out = pool.checkedout()
    finally:
        await engine.dispose()
    return load


async def use(engine: Any, load: Load, query: str) -> None:  # noqa: ANN401
    started = time.monotonic()
    try:
        connection = await engine.connect()
        load.waits.append(time.monotonic() - started)
        try:
            await statements(connection, load, query)
        finally:
            await close(connection)
    except PoolTimeout:
        load.failures["no connection became free in pool_timeout"] += 1
    except asyncio.CancelledError:
        raise
    except Exception as error:
        load.failures[words_of(error)] += 1


async def statements(connection: "AsyncConnection", load: Load, query: str) -> None:
    raw = await connection.get_raw_connection()
    key = id(raw.driver_connection)
    for number in range(STATEMENTS):
        pid = (await connection.execute(text(query), {"n": number})).scalar_one()
        await asyncio.sleep(HOLD_SECONDS)
        # After a transaction a pooler may give the next one to another process. A commit, as it
        # is the application's usual end: at a rollback psycopg drops its prepared statements.
        await connection.commit()
        load.backends[key].add(int(pid))


def judge_pool(load: Load, expected: Expected) -> Step:
    """Raises Broken."""
    longest = max(load.waits, default=0.0) * 1000
    settings = expected.settings
    lines = [
        f"pool_size {settings.pool_size} + max_overflow {settings.max_overflow}:"
        f" {settings.origin}; tried with {load.connections}",
        *settings.notes,
    ]
    data: dict[str, Any] = {
        "tasks": load.tasks,
        "connections": load.connections,
        "failed": load.failed,
        "longest_wait_ms": round(longest, 1),
        "left_out": load.left_out,
    }
    if load.failed:
        stop(
            Layer.POOL,
            f"{load.failed} of {load.tasks} tasks got no answer when they came at once.",
            "Read the errors above; raise pool_size where no connection became free.",
            [*lines, *described(load.failures)],
            **data,
        )
    if load.left_out:
        stop(
            Layer.POOL,
            f"{load.left_out} connections were not given back to the pool.",
            "Raise SQLAlchemy and the driver to their latest versions.",
            lines,
            **data,
        )
    return ok(
        Layer.POOL,
        f"{load.tasks} tasks at once on {load.connections} connections: all answered, all given"
        f" back, the longest wait {longest:.0f} ms",
        lines,
        **data,
    )


def described(failures: Counter[str]) -> Sequence[str]:
    return [f"{number} x {error}" for error, number in failures.most_common(4)]


def no_room(room: Room) -> Step:
    return not_checked(
        Layer.POOL, f"only {room.free} connections are free, which are left to others"
    )
