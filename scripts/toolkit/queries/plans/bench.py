"""What every database has to offer to the search for indexes."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from toolkit.queries.finding import Index
from toolkit.queries.plans.measure import Node
from toolkit.queries.plans.model import Place
from toolkit.queries.plans.query import Query

QUICK_MS = 20.0
QUICK_RUNS = 3


class Stopped(Exception):
    """The time is up, or the program is being ended."""


class Failed(Exception):
    """A statement that the scratch copy refuses. The text has no values in it."""


class Clock:
    """The time that is left, and the end of it by Ctrl-C."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.ended = threading.Event()

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    def check(self) -> None:
        if self.ended.is_set() or self.left <= 0:
            raise Stopped


@dataclass(frozen=True)
class Sample:
    """How a statement did."""

    ms: float
    """The quickest of some runs."""
    work: float
    """A count that no other program on the machine can change: pages, rows read, steps."""
    plan: Node
    buffers: int | None = None
    symptoms: "tuple[Symptom, ...]" = ()
    slow: bool = False
    """It did not end: `ms` is the limit."""


@dataclass(frozen=True)
class Symptom:
    """Something in a plan that costs, and what it is called."""

    rule: str
    message: str
    evidence: tuple[str, ...] = ()
    table: str | None = None
    columns: tuple[str, ...] = ()
    rows: float = 0.0
    """Of a scan: rows that were read and thrown away."""


@dataclass(frozen=True)
class Built:
    """An index that is there."""

    size_bytes: int | None
    build_ms: float


class Bench(Protocol):
    """A scratch copy on which a statement can be run and indexes tried."""

    work_unit: str
    """What `Sample.work` counts, in words."""

    def sample(self, query: Query) -> Sample:
        """Run it. Raises Failed or Stopped."""
        ...

    def built(self, indexes: Sequence[Index]) -> AbstractContextManager[list[Built]]:
        """The indexes, gone afterwards. Raises Failed where one can't be made."""
        ...

    def keep(self, index: Index) -> None:
        """Make it, to stay for the statements that come after. Raises Failed."""
        ...

    def drop(self, index: Index) -> None:
        """Take one away that was kept."""
        ...

    def write_ratio(self, index: Index) -> float | None:
        """Time of INSERTs with the index by the time without; None if it can't be measured."""
        ...

    def estimates(
        self, query: Query, trials: Sequence[Sequence[Index]]
    ) -> list[tuple[float, float] | None]:
        """The planner's cost before and after, with hypothetical indexes; None: can't be told."""
        ...

    def rows(self, place: Place) -> int:
        """Rows of the copy."""
        ...


def quickest(run: Callable[[], float], *, most: int, seconds: float = 0.4) -> float:
    """Milliseconds of the best of up to `most` runs: fewer where they take long, more where they
    are quick. Not the median: what other programs on the machine add is never less than nothing.
    """
    found: list[float] = []
    end = time.monotonic() + seconds
    while not found or (
        time.monotonic() < end
        and (len(found) < most or (sum(found) < QUICK_MS and len(found) < QUICK_RUNS * most))
    ):
        found.append(run())
    return min(found)


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)
