"""A burst on a pool of connections: to queue, or to reject.

    python examples/capacity.py

Ten connections of 50 ms a transaction do 200 requests a second. 120 come; for five seconds 600 do.
Clients wait 5 s and then go, which no server notices: the work for them is done, and for nobody.
The clock is simulated, so half a minute takes a moment and every run prints the same.

What it shows: who waits without a bound is answered too late, by work that the next one waits for
in turn, long after the burst. With a bound more are answered in time; the shorter it is, the
sooner all is well, and the more are told no, at once, and may come again.
"""

import asyncio
import random
import selectors
from collections.abc import Iterator
from dataclasses import dataclass, field

CONNECTIONS, HOLD = 10, 0.05
USUAL, BURST = 120.0, 600.0
BEGINS, ENDS, UNTIL = 2.0, 7.0, 30.0
PATIENCE = 5.0


class SimulatedTime(selectors.SelectSelector):
    """Goes ahead to the next timer in place of waiting for it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout:
            self.now += timeout
        return found


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop on such a clock: asyncio.sleep and asyncio.timeout are the real ones."""

    def __init__(self) -> None:
        self.clock = SimulatedTime()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


@dataclass(frozen=True)
class Policy:
    """What happens to a request that finds no free connection."""

    name: str
    pool_timeout: float
    """Seconds that it waits."""
    most_waiting: int | None = None
    """Who comes after so many is rejected at once."""


@dataclass
class Outcome:
    policy: Policy
    in_time: int = 0
    rejected: int = 0
    too_late: int = 0
    """Answered to nobody."""
    waits: list[float] = field(default_factory=list)
    """Of those in time, in seconds."""
    well_again: float = 0.0
    """Seconds after the burst until the last request was rejected or too late."""
    busy: float = 0.0
    """Connection-seconds in use."""

    @property
    def p99(self) -> float:
        return sorted(self.waits)[len(self.waits) * 99 // 100] if self.waits else 0.0


def arrivals(seed: int, *, burst: float = BURST) -> Iterator[float]:
    chance, now = random.Random(seed), 0.0  # noqa: S311 - it hides nothing
    while True:
        now += chance.expovariate(burst if BEGINS <= now < ENDS else USUAL)
        if now >= UNTIL:
            return
        yield now


def simulate(policy: Policy, *, burst: float = BURST, seed: int = 1) -> Outcome:
    """All that happens in UNTIL seconds, and what becomes of who still waits then."""
    loop = SimulatedLoop()
    try:
        return loop.run_until_complete(_simulate(loop, policy, list(arrivals(seed, burst=burst))))
    finally:
        loop.close()


async def _simulate(loop: SimulatedLoop, policy: Policy, moments: list[float]) -> Outcome:
    outcome, pool, waiting = Outcome(policy), asyncio.Semaphore(CONNECTIONS), 0

    def badly() -> None:
        outcome.well_again = max(outcome.well_again, loop.time() - ENDS)

    async def request() -> None:
        nonlocal waiting
        came = loop.time()
        if pool.locked() and policy.most_waiting is not None and waiting >= policy.most_waiting:
            outcome.rejected += 1
            return badly()
        waiting += 1
        try:
            async with asyncio.timeout(policy.pool_timeout):
                await pool.acquire()
        except TimeoutError:
            outcome.rejected += 1
            return badly()
        finally:
            waiting -= 1
        await asyncio.sleep(HOLD)
        pool.release()
        outcome.busy += HOLD
        if (took := loop.time() - came) > PATIENCE:
            outcome.too_late += 1
            return badly()
        outcome.in_time += 1
        outcome.waits.append(took)

    async with asyncio.TaskGroup() as group:
        for moment in moments:
            await asyncio.sleep(moment - loop.time())
            group.create_task(request())
    return outcome


POLICIES = (
    Policy("wait 30 s (SQLAlchemy's default)", 30.0),
    Policy("wait 5 s (this skill's default)", 5.0),
    Policy("wait 0.5 s", 0.5),
    Policy("at most 20 wait (max_concurrency=30)", 30.0, most_waiting=20),
)


def main() -> None:
    """Print a line a policy."""
    print(f"{'a request without a connection':37}  in time  rejected  too late   p99    well again")
    for outcome in map(simulate, POLICIES):
        print(
            f"{outcome.policy.name:37}  {outcome.in_time:7}  {outcome.rejected:8}  "
            f"{outcome.too_late:8}  {outcome.p99:4.2f} s  after {outcome.well_again:.1f} s"
        )


if __name__ == "__main__":
    main()
