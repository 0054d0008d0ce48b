"""Writes one by one: write-in-loop, commit-in-loop."""

from collections import defaultdict
from collections.abc import Iterator

from toolkit.queries.capture import cures
from toolkit.queries.capture.record import Event, Frame, Unit
from toolkit.queries.capture.rules_repeated import can_grow, fixed
from toolkit.queries.capture.seen import LOOP, Group, Seen, callers, finding, units_of, worst_of
from toolkit.queries.capture.shape import short, verb_of
from toolkit.queries.finding import Fix, QueryFinding

WRITES = ("INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE")


def findings_of(seen: Seen) -> Iterator[QueryFinding]:
    found = [group for group in seen.chains() if is_write_in_loop(seen, group)]
    for worst, groups in worst_of(found):
        calls = len(worst.statements)
        verb = verb_of(worst.first.shape)
        yield finding(
            "write-in-loop",
            f"{worst.unit.name} writes {calls} rows"
            f"{fixed(seen, worst.first)} with {calls} statements",
            worst.frame,
            evidence=(
                f"{calls} times {verb}, {worst.waited}",
                callers(worst.first.frames),
                units_of(groups),
                short(worst.first.shape),
            ),
            unit=worst.unit,
            shape=worst.first.shape,
            fix=cures.of_write_in_loop(worst),
            cost_ms=worst.ms * (calls - 1) / calls,
        )
    yield from commits(seen)


def is_write_in_loop(seen: Seen, group: Group) -> bool:
    """Single rows, each sent alone: neither sets of parameters nor one flush's statements."""
    first = group.first
    if verb_of(first.shape) not in WRITES or first.batch:
        return False
    if any((one.rows or 0) > 1 for one in group.statements):
        # Each of them changes many rows: a chunk.
        return False
    sent = {one.flush or -number for number, one in enumerate(group.statements, 1)}
    if len(sent) < LOOP or group.distinct < LOOP:
        return False
    # With a commit for each, the commits are what to say. A test may have made them savepoints.
    ended = [one for one in seen.events_of(group.unit, "commit") if one.frames == first.frames]
    if len(ended) >= LOOP or group.transactions == len(group.statements):
        return False
    if has_savepoints(seen, group):
        return False
    return can_grow(seen.sources.loops(first.frames), (), len(group.statements))


def has_savepoints(seen: Seen, group: Group) -> bool:
    """Is each of the writes in a savepoint of its own, so that a bad row fails alone?"""
    before = group.first.number
    savepoints = [
        one.number
        for one in seen.by_unit[group.unit.number]
        if one.connection == group.first.connection and one.shape.upper().startswith("SAVEPOINT ")
    ]
    for one in group.statements[1:]:
        if not any(before < number < one.number for number in savepoints):
            return False
        before = one.number
    return True


def commits(seen: Seen) -> Iterator[QueryFinding]:
    found: dict[Frame, list[tuple[Unit, list[Event]]]] = defaultdict(list)
    chains: dict[tuple[int, tuple[Frame, ...]], list[Event]] = defaultdict(list)
    for unit, event in seen.events("commit"):
        chains[unit.number, event.frames].append(event)
    for (number, frames), events in chains.items():
        small = [one for one in events if 0 < one.data["writes"] <= 2]
        if len(small) < LOOP or not can_grow(seen.sources.loops(frames), (), len(small)):
            continue
        if not seen.sources.loops(frames) and len(frames) < 2:
            continue
        found[frames[0]].append((seen.units[number], small))
    for frame, units in found.items():
        unit, events = max(units, key=lambda pair: len(pair[1]))
        yield finding(
            "commit-in-loop",
            f"{unit.name} commits {len(events)} times{fixed(seen, events[0])} with one or two"
            " writes each",
            frame,
            evidence=(
                f"{len(events)} transactions, each waits for the disk; if it fails in the middle,"
                " half of it stays",
                callers(events[0].frames),
            ),
            unit=unit,
            fix=Fix("code", "# once, after the loop\nawait session.commit()"),
            cost_ms=unit.ms * 0.5,
        )
