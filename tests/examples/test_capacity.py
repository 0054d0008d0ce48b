"""examples/capacity.py: the queue is a real one, the clock is not."""

import asyncio
import re
import time
from pathlib import Path

import pytest

import capacity
from capacity import POLICIES, Outcome, Policy, SimulatedLoop, arrivals, simulate

pytestmark = pytest.mark.any_sqlalchemy

PAGE = Path(__file__).resolve().parents[2] / "references" / "capacity.md"


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return [simulate(policy) for policy in POLICIES]


def test_queueing_without_a_bound_is_the_worst(outcomes: list[Outcome]):
    for_ever, long, short, full = outcomes
    assert for_ever.in_time < min(one.in_time for one in (long, short, full))
    assert for_ever.well_again > long.well_again > short.well_again > full.well_again
    assert for_ever.too_late > 2000
    assert short.too_late == full.too_late == 0
    assert full.p99 < short.p99 < long.p99


def test_every_request_has_one_end(outcomes: list[Outcome]):
    came = len(list(arrivals(1)))
    for one in outcomes:
        assert one.in_time + one.rejected + one.too_late == came
        assert one.in_time == len(one.waits)
        served = one.in_time + one.too_late
        assert one.busy == pytest.approx(served * capacity.HOLD)


def test_without_a_burst_littles_law_holds():
    """Connections in use on average = rate x hold, and nobody is turned away."""
    outcome = simulate(POLICIES[2], burst=capacity.USUAL)
    assert outcome.rejected == outcome.too_late == 0
    mean = outcome.busy / capacity.UNTIL
    assert mean == pytest.approx(capacity.USUAL * capacity.HOLD, rel=0.05)


def test_it_is_the_same_each_time():
    policy = Policy("short", 0.1)
    assert simulate(policy) == simulate(policy)


def test_the_clock_does_not_wait():
    async def wait() -> float:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1_000_000):
                await asyncio.sleep(2_000_000)
        return loop.time()

    loop = SimulatedLoop()
    before = time.monotonic()
    assert loop.run_until_complete(wait()) == pytest.approx(1_000_000)
    assert time.monotonic() - before < 100_000
    loop.close()


def test_the_page_shows_what_it_prints(outcomes: list[Outcome], capsys: pytest.CaptureFixture[str]):
    capacity.main()
    printed = capsys.readouterr().out
    assert printed in PAGE.read_text(encoding="utf-8")
    for outcome in outcomes:
        assert re.search(rf"{re.escape(outcome.policy.name)} +{outcome.in_time} ", printed)
