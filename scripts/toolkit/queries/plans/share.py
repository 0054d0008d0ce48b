"""One index for several statements, where one of them asks for the beginning of another's."""

from collections.abc import Sequence
from dataclasses import replace

from toolkit.queries.finding import Index
from toolkit.queries.plans.bench import Sample
from toolkit.queries.plans.search import Outcome, Search, Verdict, begins, uses_index

AS_GOOD = 1.5
"""Times slower that a statement may be with the wider index, which costs no second one."""


def shared(search: Search, verdicts: Sequence[Verdict]) -> None:
    """Take narrow indexes away where wider ones that other statements need do as well.

    Raises Stopped.
    """
    for narrow, outcome in list(search.kept.items()):
        if len(outcome.trial) != 1:
            continue
        wider = [
            other
            for other in search.kept.values()
            if len(other.trial) == 1 and begins(outcome.trial[0], other.trial[0])
        ]
        users = [one for one in verdicts if any(narrow in it.indexes for it in one.chosen)]
        if wider and users:
            replaced(search, narrow, wider[0], users)


def replaced(search: Search, narrow: Index, wide: Outcome, users: Sequence[Verdict]) -> None:
    """Drop `narrow` if all statements that use it do as well with `wide`."""
    search.bench.drop(narrow)
    samples = [search.bench.sample(user.shape.query) for user in users]
    if not all(
        as_good(user, sample) and uses_index(sample, wide.indexes[0].name)
        for user, sample in zip(users, samples, strict=True)
    ):
        search.bench.keep(narrow)
        return
    del search.kept[narrow]
    for user, sample in zip(users, samples, strict=True):
        old = next(one for one in user.chosen if narrow in one.indexes)
        user.chosen = [one for one in user.chosen if one is not old and one.trial != wide.trial]
        user.chosen.append(replace(wide, before=old.before, after=sample, cost=None))
        user.after = sample


def as_good(user: Verdict, sample: Sample) -> bool:
    return sample.ms <= AS_GOOD * user.after.ms + 0.1
