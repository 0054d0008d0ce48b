"""One statement again and again: n-plus-one, repeated-statement."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from toolkit.queries.capture import cures
from toolkit.queries.capture.loops import Loop
from toolkit.queries.capture.record import Event, Statement
from toolkit.queries.capture.seen import (
    LOOP,
    Group,
    Seen,
    callers,
    finding,
    is_own,
    units_of,
    values_of,
    worst_of,
)
from toolkit.queries.capture.shape import short, verb_of
from toolkit.queries.finding import QueryFinding

MANY_FIXED = 10
"""Executions from which on a loop counts whose turns are written in the source."""
SAME = 3
"""Executions with the same parameters in one request."""
_SEVERAL = re.compile(
    r"\bIN \(\s*(?:\?|\$\d+(?:::\w+)?|%\(?\w*\)?s|:\w+)\s*,|= ANY|\bVALUES\b",
    re.IGNORECASE,
)
_UNSTABLE = re.compile(
    r"\bFOR (UPDATE|SHARE|NO KEY)|nextval|random\(|pg_|_lock\(|\bnow\(\)|current_timestamp",
    re.IGNORECASE,
)


def findings_of(seen: Seen) -> Iterator[QueryFinding]:
    found = [group for group in seen.chains(tests_too=True) if is_n_plus_one(seen, group)]
    for worst, group in worst_of(found):
        yield n_plus_one(seen, worst, group)
    yield from repeated(seen, {place_of(one) for one in found})


def is_n_plus_one(seen: Seen, group: Group) -> bool:
    """Does one line read row by row what one statement could read?"""
    first = group.first
    calls = len(group.statements)
    if calls < LOOP or group.distinct < min(calls, LOOP) // 2 + 1 or first.origin == "eager":
        return False
    if verb_of(first.shape) != "SELECT" or _UNSTABLE.search(first.shape):
        return False
    if first.batch or _SEVERAL.search(first.sql):
        # Already many at a time: chunks of keys.
        return False
    if group.unit.kind == "other" and first.origin != "lazy":
        # A script or a worker turns its loops on purpose, for hours.
        return False
    if first.origin == "lazy":
        return True
    return can_grow(seen.sources.loops(first.frames), group.statements, calls)


def is_fixed(loops: Sequence[Loop]) -> bool:
    """Does the source alone say how often it turns?"""
    return bool(loops) and all(loop.constant for loop in loops)


def can_grow(loops: Sequence[Loop], statements: Sequence[Statement], calls: int) -> bool:
    """Does the number of turns depend on data, or is it a high one? Of a task of its own
    (gather), no loop is seen.
    """
    if is_fixed(loops):
        return calls >= MANY_FIXED
    if loops and loops[0].kind == "while":
        # Pages of many rows are read so, and what waits for something; a chain of parents too.
        return all((one.rows or 0) <= 1 for one in statements) and "LIMIT" not in (
            statements[0].shape.upper()
        )
    return True


def fixed(seen: Seen, one: Statement | Event) -> str:
    """Said of a number of turns that is in the source."""
    return ", a fixed number," if is_fixed(seen.sources.loops(one.frames)) else ""


def n_plus_one(seen: Seen, worst: Group, groups: Sequence[Group]) -> QueryFinding:
    first, calls = worst.first, len(worst.statements)
    if first.origin == "lazy":
        what = f"loads {first.loader} {calls} times, once for each object"
    elif first.origin == "deferred":
        what = f"loads the column {first.loader} {calls} times, once for each object"
    elif first.origin == "polymorphic":
        what = (
            f"loads the column {first.loader} {calls} times, once for each object:"
            f" a select of {first.entity} leaves it out"
        )
    elif first.origin in ("expired", "refresh"):
        name = first.entity or "object"
        what = f"reads {calls} objects of {name} again, one by one"
    else:
        what = f"runs one statement {calls} times{fixed(seen, first)} with different values"
    loop = next((one for one in seen.sources.loops(first.frames) if not one.constant), None)
    sizes = sorted({len(one.statements) for one in groups})
    return finding(
        "n-plus-one",
        f"{worst.unit.name} {what}",
        worst.frame,
        evidence=(
            f"{calls} executions, {worst.waited}",
            f"{calls} of the {len(seen.by_unit[worst.unit.number])} statements of it",
            f"in the loop of {loop.file}:{loop.line}: {loop.text}" if loop else "",
            callers(first.frames),
            f"elsewhere {', '.join(map(str, sizes[:-1][-5:]))} times: it grows with the data"
            if len(sizes) > 1
            else "",
            units_of(groups),
            short(first.shape),
        ),
        unit=worst.unit,
        shape=first.shape,
        fix=cures.of_n_plus_one(seen, worst),
        cost_ms=worst.ms * (calls - 1) / calls,
    )


def place_of(group: Group) -> tuple[object, ...]:
    return group.unit.number, group.frame.file, group.frame.line, group.first.shape


def repeated(seen: Seen, told: set[tuple[object, ...]]) -> Iterator[QueryFinding]:
    """The same statement with the same parameters, and nothing that could have changed the
    answer in between: one transaction without a write. `told` are loops that do this because
    they read row by row.
    """
    found: list[Group] = []
    for unit, statements in seen.requests():
        alike: dict[object, list[Statement]] = defaultdict(list)
        writes = 0
        for one in statements:
            if verb_of(one.shape) != "SELECT":
                writes += 1
            elif is_own(one.frames) and is_stable(one):
                alike[one.shape, values_of(one), one.transaction, writes].append(one)
        found += [Group(unit, tuple(group)) for group in alike.values() if len(group) >= SAME]
    for worst, groups in worst_of(one for one in found if place_of(one) not in told):
        calls = len(worst.statements)
        lines = dict.fromkeys(
            f"{frame.file}:{frame.line}"
            for one in worst.statements
            for frame in (one.frames[1] if len(one.frames) > 1 else one.frames[0],)
        )
        yield finding(
            "repeated-statement",
            f"{worst.unit.name} asks the same question {calls} times in one transaction",
            worst.frame,
            evidence=(
                f"{calls} executions with the same parameters, {worst.waited}",
                f"for {', '.join(list(lines)[:5])}",
                units_of(groups),
                short(worst.first.shape),
            ),
            unit=worst.unit,
            shape=worst.first.shape,
            fix=cures.of_repeated(worst),
            cost_ms=worst.ms * (calls - 1) / calls,
        )


def is_stable(one: Statement) -> bool:
    """Would it have the same answer again?"""
    return (
        " FROM " in one.shape.upper()
        and one.origin not in ("refresh", "expired")
        and not _UNSTABLE.search(one.shape)
    )
