"""One run of the layer: what it may cost, and what it has found so far."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import ModuleType

from toolkit.database.scratch import Scratch, Wish
from toolkit.database.urls import Kind
from toolkit.queries.finding import Index
from toolkit.queries.plans.bench import Bench, Clock, Failed, Stopped
from toolkit.queries.plans.captured import Shape
from toolkit.queries.plans.model import Limits, Notes, Place, Table
from toolkit.queries.plans.parse import Parsed, Unreadable
from toolkit.queries.plans.scope import uses_of
from toolkit.queries.plans.search import Search, Verdict
from toolkit.queries.plans.share import shared
from toolkit.queries.plans.symptoms import paging_symptoms
from toolkit.report.text import counted


@dataclass
class Job:
    """A run."""

    kind: Kind
    limits: Limits
    clock: Clock
    say: Callable[[str], None]
    sqlglot: ModuleType | None
    wish: Wish | None = None
    notes: Notes = field(default_factory=Notes)
    verdicts: list[Verdict] = field(default_factory=list)
    sampled: dict[str, str] = field(default_factory=dict)
    """Words about tables of which the copy has only a part."""
    rows: dict[Place, int] = field(default_factory=dict)
    write_ratios: dict[Index, float | None] = field(default_factory=dict)
    work_unit: str = ""
    stopped: bool = False

    def note_scratch(self, scratch: Scratch) -> None:
        """Where the copy is, if it is not where it was wanted, and why."""
        if scratch.notes:
            self.notes.add(f"scratch copy: {scratch.origin}, since {'; '.join(scratch.notes)}")

    def note_versions(self, here: str, there: str) -> None:
        self.notes.add(f"measured on {here}, the given database is on {there}: plans may differ")

    def note(self, shape: Shape, words: str) -> None:
        place = shape.places[0] if shape.places else "a statement outside of the project's code"
        self.notes.add(f"{place}: {words}")


def parsed_of(shape: Shape, job: Job) -> Parsed | None:
    if job.sqlglot is None:
        return None
    try:
        return Parsed(job.sqlglot, shape.query, job.kind)
    except Unreadable:
        job.note(shape, "sqlglot does not understand it, so no indexes were tried")
        return None


def try_all(
    bench: Bench,
    shapes: Sequence[Shape],
    tables: Mapping[Shape, Mapping[Place, Table]],
    job: Job,
) -> None:
    """The search for each statement, until the time is up."""
    job.work_unit = bench.work_unit
    search = Search(bench, job.kind, job.limits, job.clock)
    try:
        job.say(f"measuring {counted(len(shapes), 'statement')}")
        # What is written and rolled back leaves traces in the pages: reads first.
        for shape in sorted(shapes, key=lambda one: one.writes):
            parsed = parsed_of(shape, job)
            fixed, same_text = shape.fixed, shape.same_text
            uses = uses_of(parsed, tables[shape], fixed, same_text=same_text) if parsed else []
            try:
                verdict = search.first(shape, tables[shape], uses)
                verdict.symptoms += paging_symptoms(verdict, parsed, job.kind)
                job.verdicts.append(verdict)
            except Failed as error:
                job.note(shape, f"not measured: {error}")
        for number, verdict in enumerate(job.verdicts):
            job.say(f"trying indexes for statement {number + 1} of {len(job.verdicts)}")
            search.search(verdict)
        shared(search, job.verdicts)
        for index in search.kept:
            job.write_ratios[index] = bench.write_ratio(index)
    except Stopped:
        job.stopped = True
    job.rows |= search.counts


def worst(costs: Mapping[int, float], lean: Set[int], job: Job) -> list[int]:
    """Numbers of statements, as many as may be measured. Says so when some are left out.

    Taken in turn from the slowest that were captured (the order that they have) and from the most
    expensive here: the capture may have run on a small database. `lean` ones have nothing to
    spare, however long the application waited for them: they get what room is left.
    """
    most = job.limits.statements
    found = [
        *in_turn({number: cost for number, cost in costs.items() if number not in lean}),
        *in_turn({number: cost for number, cost in costs.items() if number in lean}),
    ]
    left = found[most:]
    if left:
        words = f"measured: the worst {most:,} of {len(found):,} statements"
        quick = sum(number in lean for number in left)
        if quick:
            words += f"; {quick:,} of those left out find their rows by an index as it is"
        job.notes.add(words)
    return found[:most]


def in_turn(costs: Mapping[int, float]) -> list[int]:
    by_time, by_cost = sorted(costs), sorted(costs, key=lambda number: -costs[number])
    mixed = (number for pair in zip(by_time, by_cost, strict=True) for number in pair)
    return list(dict.fromkeys(mixed))
