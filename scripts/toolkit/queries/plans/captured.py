"""Which captured statements are worth a look: by shape, the worst first."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.database.urls import Kind
from toolkit.queries.capture.record import Statement
from toolkit.queries.plans.query import COMMENT, Query, take_apart

READS = re.compile(r"\(*\s*(?:SELECT|WITH)\b", re.I)
WRITES = re.compile(r"(?:UPDATE|DELETE\s+FROM)\b.*\bWHERE\b", re.I | re.S)
# Functions of the server that do something, and catalogs: no statement of an application.
OF_THE_SERVER = re.compile(
    r"\b(?:pg_(?!trgm)\w+|dblink\w*|lo_\w+|set_config|nextval|setval|sleep|get_lock"
    r"|information_schema|performance_schema|sqlite_\w+|load_extension)\b",
    re.I,
)
EXECUTIONS_FOR_FIXED = 3
"""Executions after which a parameter that never changed counts as a constant."""


@dataclass(frozen=True, eq=False)
class Shape:
    """All executions of one statement, and the one to look at."""

    text: str
    """Without values."""
    worst: Statement
    """The slowest execution whose parameters were kept."""
    query: Query = field(repr=False)
    executions: int
    total_ms: float
    fixed: frozenset[int]
    """Positions of parameters that had one value in all executions, of which there were some."""
    same_text: bool
    """No execution had another text: what is written in it never changes."""
    unit: str | None
    """The request or test of the worst execution."""
    places: tuple[str, ...]
    """`file:line` of all that issue it, the most frequent first."""

    @property
    def writes(self) -> bool:
        return not READS.match(self.query.parts[0])


def shapes_of(statements: Sequence[Statement], kind: Kind, units: Mapping[int, str]) -> list[Shape]:
    """What can be explained, the largest total time first."""
    groups: dict[str, list[Statement]] = defaultdict(list)
    for statement in statements:
        if explainable(statement.sql):
            groups[statement.shape].append(statement)
    shapes = [shape_of(text, group, kind, units) for text, group in groups.items()]
    return sorted(shapes, key=lambda shape: -shape.total_ms)


def explainable(sql: str) -> bool:
    sql = COMMENT.sub("", sql)
    return bool(READS.match(sql) or WRITES.match(sql)) and not OF_THE_SERVER.search(sql)


def shape_of(text: str, group: Sequence[Statement], kind: Kind, units: Mapping[int, str]) -> Shape:
    slowest = sorted(group, key=lambda one: -one.ms)
    worst, query = slowest[0], take_apart(slowest[0].sql, slowest[0].parameters, kind)
    for one in slowest:
        other = take_apart(one.sql, one.parameters, kind)
        if not other.missing:
            worst, query = one, other
            break
    return Shape(
        text,
        worst,
        query,
        len(group),
        sum(one.ms for one in group),
        fixed_slots(worst, group),
        len({one.sql for one in group}) == 1,
        units.get(worst.unit),
        places_of(group),
    )


def fixed_slots(worst: Statement, group: Sequence[Statement]) -> frozenset[int]:
    alike = [values_of(one) for one in group if one.sql == worst.sql]
    if len(alike) < EXECUTIONS_FOR_FIXED or len({len(values) for values in alike}) != 1:
        return frozenset()
    columns = zip(*alike, strict=True)
    return frozenset(at for at, values in enumerate(columns) if len(set(values)) == 1)


def values_of(statement: Statement) -> list[str]:
    given = statement.parameters
    values = list(given.values()) if isinstance(given, dict) else list(given or ())
    return [json.dumps(value, sort_keys=True, default=str) for value in values]


def places_of(group: Sequence[Statement]) -> tuple[str, ...]:
    counts: dict[str, int] = defaultdict(int)
    for one in group:
        if one.frames:
            counts[f"{one.frames[0].file}:{one.frames[0].line}"] += 1
    return tuple(sorted(counts, key=lambda place: -counts[place]))
