"""What a server counted about one statement, as plain values."""

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Counted:
    """All executions of one statement since the statistics began."""

    text: str
    """Written by whoever sent it: data, never to be trusted."""
    key: str
    """See shape.py."""
    calls: int
    total_ms: float
    rows: int
    own: bool = True
    """Run by the role that asks."""
    cut: bool = False
    """The server kept the beginning of the text only."""
    blocks_hit: int | None = None
    blocks_read: int | None = None
    spilled_blocks: int | None = None
    """Blocks of 8 kB that sorts and hashes wrote to disk."""
    disk_tables: int | None = None
    """Temporary tables on disk (MySQL)."""
    examined: int | None = None
    """Rows that were looked at (MySQL)."""

    @property
    def mean_ms(self) -> float:
        return self.total_ms / max(self.calls, 1)

    @property
    def rows_per_call(self) -> float:
        return self.rows / max(self.calls, 1)


@dataclass(frozen=True)
class Statistics:
    """Everything that one server gave."""

    counted: tuple[Counted, ...]
    all_ms: float
    """Of every statement of this database that we may see, also of those left out."""
    notes: tuple[str, ...] = ()


def merged(rows: Iterable[Counted]) -> tuple[Counted, ...]:
    """Entries of one statement (lists of other lengths, other roles) as one."""
    found: dict[str, Counted] = {}
    for row in rows:
        other = found.get(row.key)
        found[row.key] = row if other is None else added(other, row)
    return tuple(found.values())


def added(one: Counted, other: Counted) -> Counted:
    return replace(
        one,
        calls=one.calls + other.calls,
        total_ms=one.total_ms + other.total_ms,
        rows=one.rows + other.rows,
        own=one.own or other.own,
        cut=one.cut or other.cut,
        blocks_hit=plus(one.blocks_hit, other.blocks_hit),
        blocks_read=plus(one.blocks_read, other.blocks_read),
        spilled_blocks=plus(one.spilled_blocks, other.spilled_blocks),
        disk_tables=plus(one.disk_tables, other.disk_tables),
        examined=plus(one.examined, other.examined),
    )


def plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
