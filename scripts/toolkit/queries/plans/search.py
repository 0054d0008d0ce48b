"""The search for indexes: which of the candidates really help, and as few of them as do."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from toolkit.database.urls import Kind
from toolkit.queries.finding import Index
from toolkit.queries.plans.bench import Bench, Built, Clock, Failed, Sample, Symptom, walk
from toolkit.queries.plans.candidates import Trial, covering, covering_sums, trials
from toolkit.queries.plans.captured import Shape
from toolkit.queries.plans.model import Candidate, Limits, Place, Table
from toolkit.queries.plans.usage import Use

# An index must be worth its upkeep. Times of a busy machine are off by a factor of two at
# times, the work (pages, rows, steps) never is. So: either the time halves and a millisecond
# is saved, and the work shrinks, too; or it shrinks to a tenth, with the time as witness.
MS_SAVED = 1.0
MS_RATIO = 2.0
WORK_RATIO = 10.0
MS_SAVED_BY_WORK = 0.1
WORK_SHARE = 0.9
"""What may be left of the work at most. A statement that is quicker with all of it was disturbed
before, by others on the machine (#10)."""
LEAST_ROWS = 1000
"""Of a table: in a smaller one a scan is right, and stays so."""
ALIKE = 1.2
"""Within a fifth, the index with fewer columns is better."""
COST_SHARE = 0.9
"""What the planner's estimate has to fall to, for an index to be built."""
PAGES_RATIO = 5
PAGES_SAVED = 50
"""What one more column in an index has to bring."""
ROUNDS = 3
"""Indexes for one statement, one after the other."""


@dataclass(frozen=True)
class Outcome:
    """One index (or several that belong together) that helps a statement."""

    trial: Trial
    indexes: tuple[Index, ...]
    before: Sample
    after: Sample
    built: tuple[Built, ...]
    cost: tuple[float, float] | None = None

    @property
    def columns(self) -> int:
        return sum(one.width for one in self.trial)

    @property
    def size(self) -> int:
        return sum(one.size_bytes or 0 for one in self.built)


@dataclass
class Verdict:
    """What was found out about one statement."""

    shape: Shape
    tables: Mapping[Place, Table]
    """By their names in the statement, and by their own."""
    uses: Sequence[Use]
    before: Sample
    after: Sample
    """With all that was chosen."""
    chosen: list[Outcome] = field(default_factory=list)
    tried: int = 0
    refused: list[tuple[Candidate, str]] = field(default_factory=list)
    symptoms: list[Symptom] = field(default_factory=list)
    """Those that no index cures."""


class Search:
    """Tries candidates for statements on one scratch copy.

    What is chosen for one statement stays there for the next ones, so that they get another only
    where it is worth it on top.
    """

    def __init__(self, bench: Bench, kind: Kind, limits: Limits, clock: Clock) -> None:
        self.bench, self.kind, self.limits, self.clock = bench, kind, limits, clock
        self.counts: dict[Place, int] = {}
        self.kept: dict[Index, Outcome] = {}
        """By index the outcome that it was chosen for."""

    def first(self, shape: Shape, tables: Mapping[Place, Table], uses: Sequence[Use]) -> Verdict:
        """Run the statement as it is. Raises Failed when it can't be run, Stopped."""
        sample = self.bench.sample(shape.query)
        return Verdict(shape, tables, uses, sample, sample)

    def search(self, verdict: Verdict) -> None:
        """Choose indexes for it. Raises Stopped."""
        if verdict.before.ms < MS_SAVED_BY_WORK:
            return
        self.use_kept(verdict)
        if verdict.chosen:
            self.choose(verdict, self.extended(verdict))
        self.choose_best(verdict)
        if not verdict.chosen:
            self.choose(verdict, self.covering_sum(verdict))

    def choose_best(self, verdict: Verdict) -> None:
        """One index after the other, as long as one more helps."""
        for _ in range(ROUNDS):
            if verdict.chosen and verdict.after.ms < MS_SAVED:
                return
            outcome = self.best(verdict)
            if outcome is None:
                return
            self.choose(verdict, outcome)

    def choose(self, verdict: Verdict, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        for index in outcome.indexes:
            self.bench.keep(index)
            self.kept[index] = outcome
        verdict.chosen.append(outcome)
        verdict.after = outcome.after

    def extended(self, verdict: Verdict) -> Outcome | None:
        """More columns in an index that another statement asked for: that costs no second one,
        so it is enough that it halves the work.
        """
        narrow = [outcome.trial[0] for outcome in verdict.chosen if len(outcome.trial) == 1]
        found = []
        for trial, cost in self.promising(verdict):
            if len(trial) == 1 and any(begins(one, trial[0]) for one in narrow):
                outcome = self.measured(verdict, trial, cost)
                outcome = outcome and replace(outcome, before=verdict.before)
                if outcome and 2 * outcome.after.work <= verdict.after.work:
                    found.append(outcome)
        return preferred([one for one in found if one.after.ms <= verdict.after.ms])

    def use_kept(self, verdict: Verdict) -> None:
        """Does it use what other statements asked for?"""
        places = {table.place for table in verdict.tables.values()}
        if not any(one.place in places for it in self.kept.values() for one in it.trial):
            return
        after = self.bench.sample(verdict.shape.query)
        used = [index for index in self.kept if uses_index(after, index.name)]
        if used and is_better(verdict.before, after) and self.confirmed(verdict, used, after):
            verdict.after = after
            for outcome in dict.fromkeys(self.kept[index] for index in used):
                verdict.chosen.append(
                    replace(outcome, before=verdict.before, after=after, cost=None)
                )

    def confirmed(self, verdict: Verdict, used: Sequence[Index], after: Sample) -> bool:
        """Is it also better than without these indexes, now? The machine may have been busier at
        the start. Work is the same at any time, so it needs no second look.
        """
        if halves_work(verdict.before, after):
            return True
        for index in used:
            self.bench.drop(index)
        before = self.bench.sample(verdict.shape.query)
        for index in used:
            self.bench.keep(index)
        return is_better(quicker(verdict.before, before), after)

    def best(self, verdict: Verdict) -> Outcome | None:
        """The best single step from where the statement is."""
        found = []
        for trial, cost in self.promising(verdict):
            outcome = self.attempt(verdict, trial, cost)
            if outcome is not None:
                found.append(outcome)
        best = preferred(found)
        return best and self.covered(verdict, best)

    def promising(self, verdict: Verdict) -> list[tuple[Trial, tuple[float, float] | None]]:
        """The candidates of each table, those that HypoPG likes first, as many as may be built."""
        found = []
        for use in verdict.uses:
            table = verdict.tables.get(use.place)
            if table is None or self.rows(table) < LEAST_ROWS:
                continue
            some = trials(use, table, self.kind)
            some = [rest for trial in some if (rest := self.not_kept(trial))]
            indexes = [self.named(trial, verdict) for trial in some]
            costs = self.bench.estimates(verdict.shape.query, indexes)
            pairs = [pair for pair in zip(some, costs, strict=True) if promises(pair[1])]
            if any(costs):
                # Among equals the order stays: the most complete first.
                pairs.sort(key=lambda pair: round(math.log(pair[1][1] + 1), 1) if pair[1] else 0)
            found += pairs[: self.limits.candidates]
        return list(dict(found).items())

    def not_kept(self, trial: Trial) -> Trial:
        kept = {one for outcome in self.kept.values() for one in outcome.trial}
        return tuple(one for one in trial if one not in kept)

    def rows(self, table: Table) -> int:
        if table.place not in self.counts:
            self.counts[table.place] = self.bench.rows(table.place)
        return self.counts[table.place]

    def named(self, trial: Iterable[Candidate], verdict: Verdict) -> tuple[Index, ...]:
        """The indexes, with names that differ from each other's as well."""
        found: list[Index] = []
        tables = {table.place: table for table in verdict.tables.values()}
        for one in trial:
            table = tables[one.place]
            taken = table.taken | {index.name for index in (*found, *self.kept)}
            found.append(one.named(replace(table, taken=taken), self.kind))
        return tuple(found)

    def attempt(
        self, verdict: Verdict, trial: Trial, cost: tuple[float, float] | None = None
    ) -> Outcome | None:
        """Build it and run the statement; None where that is not better."""
        outcome = self.measured(verdict, trial, cost)
        # On top of another index, only what is felt counts.
        felt = bool(verdict.chosen)
        if outcome is None or not is_better(verdict.after, outcome.after, felt=felt):
            return None
        if halves_work(verdict.after, outcome.after):
            return outcome
        again = quicker(verdict.after, self.bench.sample(verdict.shape.query))
        return (
            replace(outcome, before=again) if is_better(again, outcome.after, felt=felt) else None
        )

    def measured(
        self, verdict: Verdict, trial: Trial, cost: tuple[float, float] | None = None
    ) -> Outcome | None:
        """Build it and run the statement; None where one of them is refused."""
        indexes = self.named(trial, verdict)
        verdict.tried += 1
        try:
            with self.bench.built(indexes) as built:
                after = self.bench.sample(verdict.shape.query)
                if halves_work(verdict.after, after) and not is_better(verdict.after, after):
                    # A moment in which others were at work hides no index (#10).
                    after = quicker(after, self.bench.sample(verdict.shape.query))
        except Failed as error:
            verdict.refused.append((trial[0], str(error)))
            return None
        return Outcome(trial, indexes, verdict.after, after, tuple(built), cost)

    def covering_sum(self, verdict: Verdict) -> Outcome | None:
        """An index that answers an aggregate without the table."""
        found = []
        for use in verdict.uses:
            table = verdict.tables.get(use.place)
            if table is None or self.rows(table) < LEAST_ROWS:
                continue
            for trial in covering_sums(use, table, self.kind):
                outcome = self.measured(verdict, trial) if self.not_kept(trial) else None
                if outcome and is_smaller(verdict.before, outcome.after):
                    found.append(outcome)
        return preferred(found)

    def covered(self, verdict: Verdict, best: Outcome) -> Outcome:
        """The same index with all columns that are read, where that is felt once more."""
        if self.kind != "postgresql" or len(best.trial) != 1:
            return best
        for use in verdict.uses:
            table = verdict.tables.get(use.place)
            if table is None or table.place != best.trial[0].place:
                continue
            wider = covering(best.trial[0], use, table)
            outcome = self.attempt(verdict, (wider,)) if wider else None
            if outcome is not None and is_better(best.after, outcome.after, felt=True):
                return outcome
        return best


def begins(narrow: Candidate, wide: Candidate) -> bool:
    """Has `wide` the keys of `narrow` first, and more?"""
    same = (narrow.place, narrow.method, narrow.where) == (wide.place, wide.method, wide.where)
    more = len(wide.keys) > len(narrow.keys) or bool(set(wide.include) - set(narrow.include))
    first = wide.keys[: len(narrow.keys)] == narrow.keys
    columns = {key.sql for key in wide.keys if key.column}
    return same and more and first and set(narrow.include) <= {*wide.include, *columns}


def uses_index(sample: Sample, name: str) -> bool:
    pattern = re.compile(rf"\b{re.escape(name)}\b")
    return any(pattern.search(node.label) for node in walk(sample.plan))


def promises(cost: tuple[float, float] | None) -> bool:
    return cost is None or cost[1] <= COST_SHARE * cost[0]


def is_better(before: Sample, after: Sample, *, felt: bool = False) -> bool:
    """Is this index worth its upkeep? See the constants. `felt`: milliseconds alone count."""
    saved = before.ms - after.ms
    if after.slow:
        return False
    if saved >= MS_SAVED and before.ms >= MS_RATIO * after.ms:
        return after.work <= before.work * WORK_SHARE
    if felt:
        return False
    shrunk = before.work >= WORK_RATIO * max(after.work, 1)
    return shrunk and saved >= MS_SAVED_BY_WORK and before.ms >= MS_RATIO * after.ms


def halves_work(before: Sample, after: Sample) -> bool:
    return before.work >= 2 * after.work


def quicker(one: Sample, other: Sample) -> Sample:
    return one if one.ms <= other.ms else other


def is_smaller(before: Sample, after: Sample) -> bool:
    """Are clearly fewer pages read? Where nobody counts pages, what is felt counts."""
    if before.buffers is None or after.buffers is None:
        return is_better(before, after, felt=True)
    fewer = before.buffers >= PAGES_RATIO * max(after.buffers, 1)
    return fewer and before.buffers - after.buffers >= PAGES_SAVED and after.ms <= before.ms


def score(outcome: Outcome) -> float:
    """Lower is better. Work and time weigh alike; both as factors."""
    return math.log(max(outcome.after.ms, 0.01)) + math.log(max(outcome.after.work, 1))


def preferred(found: Sequence[Outcome]) -> Outcome | None:
    """The best, or one with fewer columns that is as good; a partial one if it is much smaller."""
    if not found:
        return None
    best = min(found, key=score)
    alike = [one for one in found if is_alike(one, best)]
    full = [one for one in alike if not any(each.where for each in one.trial)]
    part = [one for one in alike if one not in full]
    simplest = min(full, key=lambda one: (one.columns, one.size), default=None)
    smallest = min(part, key=lambda one: (one.columns, one.size), default=None)
    if simplest is None or smallest is None:
        return simplest or smallest
    return smallest if smallest.size * 2 < simplest.size else simplest


def is_alike(one: Outcome, best: Outcome) -> bool:
    """As good within a fifth of the work. Time, which others on the machine change, counts only
    where it is twice as much and can be felt.
    """
    work = one.after.work <= ALIKE * best.after.work + 2
    ms = one.after.ms <= 2 * best.after.ms or one.after.ms - best.after.ms < MS_SAVED_BY_WORK
    return work and ms
