"""Reads that grow with the table: unbounded-result, deep-offset; and literal-in-sql."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from toolkit.queries.capture import cures
from toolkit.queries.capture.record import Statement, Unit
from toolkit.queries.capture.seen import Group, Seen, callers, finding, is_own, units_of, worst_of
from toolkit.queries.capture.shape import short, text_of, verb_of
from toolkit.queries.finding import QueryFinding

MANY_ROWS = 1000
"""Rows of a statement without a limit."""
WHOLE_TABLE = 500
"""The same where nothing narrows it either."""
DEEP = 1000
"""Rows that the server reads and throws away for an OFFSET."""
TEXTS = 3
"""Texts of one shape from one line that differ in their literals only."""

_LIMITED = re.compile(r"\b(LIMIT|FETCH (FIRST|NEXT)|TOP)\b", re.IGNORECASE)
_KEYS = re.compile(r"\bIN \(\?, \.\.\.\)|= ANY", re.IGNORECASE)
_OFFSET = re.compile(r"\bOFFSET\s+(%\(\w+\)s|\S+?)(?:::\w+)?(?=[\s,;)]|$)", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\$(\d+)|%\((\w+)\)s|(?<![:\w]):([A-Za-z_]\w*)|(%s)|(\?)")


def findings_of(seen: Seen) -> Iterator[QueryFinding]:
    yield from unbounded(seen)
    yield from deep_offsets(seen)
    yield from literals(seen)


def unbounded(seen: Seen) -> Iterator[QueryFinding]:
    found = [
        Group(unit, (one,))
        for unit, statements in seen.requests()
        for one in statements
        if is_own(one.frames) and is_unbounded(one)
    ]
    for _, groups in worst_of(found):
        worst = max(groups, key=lambda group: group.first.rows or 0)
        rows = worst.first.rows or 0
        yield finding(
            "unbounded-result",
            f"{worst.unit.name} fetches {rows:,} rows, with no limit to them",
            worst.frame,
            evidence=(
                f"{rows:,} rows by one statement without LIMIT, {worst.waited}",
                callers(worst.first.frames),
                units_of(groups),
                short(worst.first.shape),
            ),
            unit=worst.unit,
            shape=worst.first.shape,
            fix=cures.of_unbounded(worst.first),
            cost_ms=worst.ms,
        )


def is_unbounded(one: Statement) -> bool:
    if verb_of(one.shape) != "SELECT" or one.streamed or one.origin == "eager":
        return False
    if _LIMITED.search(one.shape) or _KEYS.search(one.shape):
        return False
    narrowed = re.search(r"\bWHERE\b", one.shape, re.IGNORECASE)
    return (one.rows or 0) >= (MANY_ROWS if narrowed else WHOLE_TABLE)


def deep_offsets(seen: Seen) -> Iterator[QueryFinding]:
    found: dict[object, list[tuple[int, Unit, Statement]]] = defaultdict(list)
    for unit, statements in seen.requests():
        for one in statements:
            offset = offset_of(one) if is_own(one.frames) else 0
            if offset >= DEEP:
                found[one.frames[0], one.shape].append((offset, unit, one))
    for places in found.values():
        offset, unit, one = max(places, key=lambda place: place[0])
        yield finding(
            "deep-offset",
            f"{unit.name} skips {offset:,} rows to get {one.rows or 0:,}",
            one.frames[0],
            evidence=(
                f"OFFSET {offset:,}: the server reads them all and throws them away",
                Group(unit, (one,)).waited,
                callers(one.frames),
                short(one.shape),
            ),
            unit=unit,
            shape=one.shape,
            fix=cures.of_deep_offset(one),
            cost_ms=one.ms,
        )


def offset_of(one: Statement) -> int:
    """The value of the outermost OFFSET, 0 for none that is known."""
    found = list(_OFFSET.finditer(one.sql))
    if found:
        return number_at(one, found[-1].start(1), found[-1][1])
    # MySQL's form: LIMIT offset, count.
    pair = re.search(r"\bLIMIT\s+(\S+?)\s*,\s*\S+", one.sql, re.IGNORECASE)
    return number_at(one, pair.start(1), pair[1]) if pair else 0


def number_at(one: Statement, position: int, text: str) -> int:
    """The integer at a place of the text: a literal, or the parameter behind a placeholder."""
    if text.isdigit():
        return int(text)
    mark = _PLACEHOLDER.match(text)
    value: Any = None
    try:
        if mark is None:
            return 0
        if mark[1]:
            value = one.parameters[int(mark[1]) - 1]
        elif mark[2] or mark[3]:
            value = one.parameters[mark[2] or mark[3]]
        else:
            before = [m for m in _PLACEHOLDER.finditer(one.sql, 0, position) if m[4] or m[5]]
            value = one.parameters[len(before)]
    except (IndexError, KeyError, TypeError):
        return 0
    return value if isinstance(value, int) else 0


def literals(seen: Seen) -> Iterator[QueryFinding]:
    """Values written into the text: no cache of any kind knows such statements again."""
    found: dict[object, dict[str, Group]] = defaultdict(dict)
    for number, statements in seen.by_unit.items():
        for one in statements:
            if is_own(one.frames) and verb_of(one.shape) in (
                "SELECT", "INSERT", "UPDATE", "DELETE",
            ):  # fmt: skip
                texts = found[one.frames[0], one.shape]
                texts.setdefault(text_of(one.sql), Group(seen.units[number], (one,)))
    for texts in found.values():
        if len(texts) < TEXTS:
            continue
        group = next(iter(texts.values()))
        yield finding(
            "literal-in-sql",
            f"{len(texts)} different texts for one statement: values are written into it",
            group.frame,
            evidence=(
                "neither SQLAlchemy nor the server can reuse its plan; if a value comes from"
                " outside, it can change the statement",
                callers(group.first.frames),
                units_of(list(texts.values())),
                short(group.first.shape),
            ),
            unit=group.unit,
            shape=group.first.shape,
            fix=cures.of_literal(),
            cost_ms=group.ms,
        )
