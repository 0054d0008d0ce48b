"""How long a connect and a query take, and how far the clocks are apart."""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.pool import NullPool

from toolkit.connection.address import Target
from toolkit.connection.connecting import close, login, make_engine
from toolkit.connection.steps import Layer, Status, Step, Verdict, judged, not_checked, ok, warning

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

CONNECTS = 10
QUERIES = 100
BUDGET = 3.0  # seconds for each of the two; a slow line gets fewer samples
SLOW_QUERY = 20.0  # milliseconds: more than a network within one place takes
CLOCK_SAMPLES = 5
MOST_SKEW = 1.0  # seconds


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank: a value that was measured."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summary(values: Sequence[float]) -> dict[str, float]:
    return {f"p{int(share * 100)}": percentile(values, share) for share in (0.5, 0.95, 0.99)}


def worded(name: str, values: Sequence[float]) -> str:
    found = ", ".join(f"{key} {value:.1f}" for key, value in summary(values).items())
    return f"{name}: {found} ms (of {len(values)})"


async def connects(target: Target, seconds: float) -> list[float]:
    """Milliseconds of connects, one after the other, each closed at once. Raises Broken."""
    engine = make_engine(target, own=True, poolclass=NullPool)
    measured: list[float] = []
    until = time.monotonic() + min(BUDGET, seconds)
    try:
        # SQLAlchemy asks the server a few things at the first, which would count.
        await close(await login(engine, target, seconds))
        while len(measured) < CONNECTS and (not measured or time.monotonic() < until):
            started = time.monotonic()
            connection = await login(engine, target, seconds)
            measured.append((time.monotonic() - started) * 1000)
            await close(connection)
    finally:
        await engine.dispose()
    return measured


async def queries(connection: "AsyncConnection", seconds: float) -> list[float]:
    """Milliseconds of `SELECT 1` on one connection."""
    measured: list[float] = []
    until = time.monotonic() + min(BUDGET, seconds)
    async with asyncio.timeout(seconds):
        while len(measured) < QUERIES and (not measured or time.monotonic() < until):
            started = time.monotonic()
            await connection.execute(text("SELECT 1"))
            measured.append((time.monotonic() - started) * 1000)
    return measured


async def check_latency(
    target: Target, connection: "AsyncConnection", free: int, seconds: float
) -> Step:
    """Raises Broken when a connect fails."""
    if free < 1:
        return not_checked(Layer.LATENCY, "no connection is free for it")
    asked = await queries(connection, seconds)
    made = await connects(target, seconds)
    verdicts = []
    if percentile(asked, 0.5) > SLOW_QUERY:
        message = f"A query takes {percentile(asked, 0.5):.0f} ms without doing anything."
        remedy = "Run the application where the database is, or use fewer round trips."
        verdicts.append(Verdict(Status.WARNING, message, remedy))
    lines = [worded("connect", made), worded("SELECT 1", asked)]
    return judged(
        Layer.LATENCY,
        "; ".join(lines),
        verdicts,
        lines if verdicts else [],
        connect_ms=summary(made),
        query_ms=summary(asked),
    )


async def check_clock(connection: "AsyncConnection", query: str) -> Step:
    """The sample with the shortest round trip; the truth is within half of it."""
    best: tuple[float, float] | None = None
    for _ in range(CLOCK_SAMPLES):
        before = time.time()
        server = float((await connection.execute(text(query))).scalar_one())
        after = time.time()
        trip = after - before
        if best is None or trip < best[0]:
            best = trip, server - (before + after) / 2
    assert best is not None
    trip, skew = best
    words = f"{skew:+.3f} s against this machine, within {trip / 2:.3f} s"
    data: dict[str, Any] = {"skew_seconds": skew, "uncertainty_seconds": trip / 2}
    if abs(skew) - trip / 2 > MOST_SKEW:
        return warning(
            Layer.CLOCK,
            f"The server's clock is {words}.",
            "timedatectl   # on both; chronyc tracking tells more",
            [],
            **data,
        )
    return ok(Layer.CLOCK, words, **data)
