"""The soak, shortened: the right way to move money keeps every cent, and its checker can see."""

from collections.abc import Callable

import pytest

from faults.bank import WRONG
from faults.soak import HALF, LOST, TWICE, Soak, soak_cluster

pytestmark = [pytest.mark.faults, pytest.mark.any_sqlalchemy]


async def test_soak(show_at_the_end: Callable[[str], None]) -> None:
    """`make soak` for six seconds, with three wrong ways beside the right one: caught, each."""
    with soak_cluster() as cluster:
        run = Soak(cluster, 17, ["right", *WRONG])

        async def all_are_caught() -> bool:
            counts = {way: await run.count(way) for way in WRONG}
            # More than may be under way at this moment.
            return bool(
                counts["without-a-key"][TWICE]
                and counts["two-commits"][HALF] > 4
                and counts["answered-early"][LOST] > 20
            )

        await run.run(6, all_are_caught)
        caught = {way: await run.problems(way) for way in WRONG}
        problems = await run.problems("right")
    show_at_the_end(run.table(problems) + "\n" + "\n".join(map(str, caught.items())))
    assert problems == []
    assert any(TWICE in one for one in caught["without-a-key"])
    assert any(HALF in one for one in caught["two-commits"])
    assert any(LOST in one for one in caught["answered-early"])
