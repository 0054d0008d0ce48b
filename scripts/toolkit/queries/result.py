"""What one run of optimize-queries has to tell; the reports read nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from toolkit.queries.finding import Layer, QueryFinding
from toolkit.queries.plans.measure import Measured


@dataclass(frozen=True)
class LayerState:
    """What became of a layer."""

    layer: Layer
    ran: bool
    words: str
    """What it looked at, or in one line why it did not: `sqlglot is not installed: ...`."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Route:
    """What one kind of request or one test costs: the worst of its calls, and how many."""

    name: str
    calls: int
    statements: int
    database_ms: float
    ms: float
    rows: int
    budget: int | None = None
    """Statements that it may issue; None where nobody said."""
    failed: tuple[tuple[str, int], ...] = ()
    """What was no good answer (`401`, or the type of an exception), and how often."""

    @property
    def title(self) -> str:
        """Its name, with the answers that show other code than was meant (#12)."""
        words = ", ".join(f"{times} x {what}" for what, times in self.failed)
        return f"{self.name} ({words})" if words else self.name


@dataclass(frozen=True)
class Excerpt:
    """Lines of the project's source around a finding."""

    first_line: int
    lines: tuple[str, ...]
    marked: int
    """The line that is meant."""


@dataclass(frozen=True)
class Change:
    """The same route or statement before and after (--verify)."""

    name: str
    statements: tuple[int, int]
    database_ms: tuple[float, float]


@dataclass(frozen=True)
class Result:
    """Everything of one run."""

    title: str
    """The project's name."""
    command: str
    database: str
    """`PostgreSQL 15.18`; empty where none was reached."""
    layers: tuple[LayerState, ...]
    findings: tuple[QueryFinding, ...]
    """Sorted: the surest first, then the most expensive."""
    routes: tuple[Route, ...] = ()
    measured: tuple[Measured, ...] = ()
    excerpts: dict[str, Excerpt] = field(default_factory=dict)
    """By the finding's fingerprint."""
    known: frozenset[str] = frozenset()
    """Fingerprints that --baseline has: shown as known, and not counted."""
    over_budget: tuple[Route, ...] = ()
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def new(self) -> Sequence[QueryFinding]:
        return [one for one in self.findings if one.fingerprint not in self.known]
