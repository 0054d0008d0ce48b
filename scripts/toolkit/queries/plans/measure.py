"""What was measured about one statement on a scratch copy, as plain values."""

from dataclasses import dataclass

from toolkit.queries.finding import Index


@dataclass(frozen=True)
class Node:
    """One node of a plan."""

    label: str
    """`Index Scan using ix_posts_user_id on posts`; no values of parameters."""
    rows: float | None = None
    """Rows that came out, of all loops."""
    estimated: float | None = None
    ms: float | None = None
    """Own time, without the children's."""
    cost: float | None = None
    buffers: int | None = None
    notes: tuple[str, ...] = ()
    """`removed 99,900 rows by filter`, `sorted on disk, 12 MB`."""
    children: tuple["Node", ...] = ()


@dataclass(frozen=True)
class Timing:
    """How a statement did, the quickest of several runs."""

    ms: float
    buffers: int | None
    """Pages; None where the database does not count them."""
    plan: Node


@dataclass(frozen=True)
class Measured:
    """One statement before and after one change."""

    shape: str
    file: str | None
    line: int | None
    unit: str | None
    before: Timing
    after: Timing | None = None
    index: Index | None = None
    ddl: str = ""
    size_bytes: int | None = None
    build_ms: float | None = None
    write_ratio: float | None = None
    """Time of an INSERT with the index by the time without it."""
    estimated_cost: tuple[float, float] | None = None
    """The planner's before and after with a hypothetical index (HypoPG)."""
    note: str = ""
