"""A capture arranged for the rules: statements by unit, and what may be accused at all."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from toolkit.queries.capture.loops import Sources
from toolkit.queries.capture.record import Capture, Event, Frame, Statement, Unit
from toolkit.queries.capture.shape import table_of, text_of
from toolkit.queries.finding import Confidence, Fix, Layer, QueryFinding

# The same as in worker/_query_capture/places.py, which puts the project's own frames first.
_TEST_FOLDER = {"test", "tests", "testing", "alembic", "migrations"}
_TEST_FILE = re.compile(r"(test_.*|.*_tests?|conftest|tests?)\.py$")

LOOP = 5
"""Executions from one line from which on it counts as a loop."""


@dataclass(frozen=True)
class Group:
    """Statements of one unit that one call chain has sent."""

    unit: Unit
    statements: tuple[Statement, ...]

    @property
    def first(self) -> Statement:
        return self.statements[0]

    @property
    def frame(self) -> Frame:
        return self.first.frames[0]

    @property
    def ms(self) -> float:
        """Of the unit's time, how much one of them or more was waited for."""
        ms = union_ms(self.statements)
        # What a background task sends after the answer is no part of the request's time.
        inside = self.unit.ended and self.first.at < self.unit.ms
        return min(ms, self.unit.ms) if inside else ms

    @property
    def waited(self) -> str:
        """`waited 3.2 ms for the database`, in the words of evidence."""
        total = sum(one.ms for one in self.statements)
        alone = total <= union_ms(self.statements) * 1.05 + 0.1
        return f"waited {total:,.1f} ms for the database" + (
            "" if alone else ", summed over concurrent statements"
        )

    @property
    def transactions(self) -> int:
        return len({one.transaction for one in self.statements})

    @property
    def distinct(self) -> int:
        """Different sets of parameters."""
        return len({values_of(one) for one in self.statements})


class Seen:
    """A capture, with the project's source."""

    def __init__(self, capture: Capture, root: Path) -> None:
        self.capture = capture
        self.sources = Sources(root)
        self.units = {unit.number: unit for unit in capture.units}

    @cached_property
    def by_unit(self) -> dict[int, list[Statement]]:
        found: dict[int, list[Statement]] = defaultdict(list)
        for one in self.capture.statements:
            found[one.unit].append(one)
        return found

    def requests(self) -> Iterator[tuple[Unit, list[Statement]]]:
        """The requests that reached the database."""
        for number, statements in self.by_unit.items():
            unit = self.units[number]
            if unit.kind == "request":
                yield unit, statements

    def events(self, kind: str, *, requests_only: bool = True) -> Iterator[tuple[Unit, Event]]:
        """Events of application code."""
        for event in self.capture.events:
            unit = self.units.get(event.unit)
            if event.kind != kind or unit is None or not is_own(event.frames):
                continue
            if unit.kind == "request" or not requests_only:
                yield unit, event

    def events_of(self, unit: Unit, kind: str) -> list[Event]:
        return [one for one in self.capture.events if one.kind == kind and one.unit == unit.number]

    def chains(self, *, tests_too: bool = False) -> Iterator[Group]:
        """Statements of one shape, from one call chain, in one unit, in their order.

        A loop is what repeats a whole chain: a function that five others call is none. In a
        test, the loop may be the test's, so that each call of the application stands alone.
        """
        for number, statements in self.by_unit.items():
            unit = self.units[number]
            if unit.kind != "request" and not tests_too:
                continue
            if unit.name.startswith("WS "):
                # A socket lives as long as its user does.
                continue
            found: dict[object, list[Statement]] = defaultdict(list)
            for one in statements:
                if is_own(one.frames):
                    found[one.shape, one.frames, one.activation].append(one)
            for group in found.values():
                yield Group(unit, tuple(group))


def union_ms(statements: Iterable[Statement]) -> float:
    """Milliseconds in which at least one of them was under way; all are of one unit."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted((one.at, one.at + one.ms) for one in statements):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def is_own(frames: Sequence[Frame]) -> bool:
    """Is it the application's code, and not a test's?"""
    if not frames:
        return False
    *folders, name = frames[0].file.split("/")
    return not (_TEST_FOLDER.intersection(folders) or _TEST_FILE.match(name))


def values_of(statement: Statement) -> str:
    """Parameters and literals, to be compared and never shown."""
    return text_of(statement.sql) + json.dumps(statement.parameters, sort_keys=True, default=str)


def worst_of(groups: Iterable[Group]) -> list[tuple[Group, list[Group]]]:
    """For each line and shape the most expensive group, and all of them."""
    found: dict[object, list[Group]] = defaultdict(list)
    for one in groups:
        found[one.frame.file, one.frame.line, one.first.shape].append(one)
    return [
        (max(group, key=lambda g: (len(g.statements), g.ms)), group) for group in found.values()
    ]


def finding(
    rule: str,
    message: str,
    frame: Frame,
    *,
    evidence: Sequence[str] = (),
    unit: Unit | None = None,
    shape: str | None = None,
    fix: Fix | None = None,
    cost_ms: float = 0.0,
) -> QueryFinding:
    """A finding of this layer: it happened, so it is proved."""
    return QueryFinding(
        rule=rule,
        layer=Layer.CAPTURE,
        confidence=Confidence.PROVED,
        message=message,
        evidence=tuple(one for one in evidence if one),
        file=frame.file,
        line=frame.line,
        function=frame.function,
        unit=unit.name if unit else None,
        table=table_of(shape) if shape else None,
        shape=shape,
        fix=fix,
        cost_ms=round(cost_ms, 2),
    )


def units_of(groups: Sequence[Group]) -> str:
    """`also in GET /a, GET /b`, for what was seen in more than one kind of unit."""
    names = list(dict.fromkeys(one.unit.name for one in groups))
    if len(names) < 2:
        return ""
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"in {', '.join(names[:4])}{more}"


def callers(frames: Sequence[Frame]) -> str:
    """Who called the line, innermost first."""
    if len(frames) < 2:
        return ""
    shown = (f"{one.file}:{one.line} ({one.function})" for one in frames[1:4])
    return f"called from {', '.join(shown)}"
