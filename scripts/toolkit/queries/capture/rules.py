"""What is wrong with what was captured. Each rule is sure, or silent."""

from collections import Counter, defaultdict
from pathlib import Path

from toolkit.queries.capture import rules_events, rules_reads, rules_repeated, rules_writes
from toolkit.queries.capture.record import Capture, Statement, Unit
from toolkit.queries.capture.seen import Seen, is_own, union_ms
from toolkit.queries.finding import QueryFinding
from toolkit.queries.result import Route

BAD = 400
"""HTTP statuses from here on say that something else ran than was meant."""


def findings_of(capture: Capture, root: Path) -> list[QueryFinding]:
    """All findings about application code; `root` is the project's, to look at its source."""
    seen = Seen(capture, root)
    return [
        *rules_repeated.findings_of(seen),
        *rules_writes.findings_of(seen),
        *rules_reads.findings_of(seen),
        *rules_events.findings_of(seen),
    ]


def failure_of(unit: Unit) -> str:
    """`401`, or the type of what came out of the application; empty where all went well."""
    if unit.kind != "request":
        return ""
    if unit.status is not None and unit.status >= BAD:
        return str(unit.status)
    return unit.error.partition(":")[0] if unit.error and unit.status is None else ""


def routes_of(capture: Capture) -> tuple[Route, ...]:
    """What each kind of request costs at its worst, and each test that calls the application
    without a request; the most statements first.
    """
    statements: dict[int, list[Statement]] = defaultdict(list)
    for one in capture.statements:
        statements[one.unit].append(one)
    with_requests = {unit.test for unit in capture.units if unit.kind == "request"}
    costs: dict[str, list[tuple[int, float, float, int]]] = defaultdict(list)
    failed: dict[str, Counter[str]] = defaultdict(Counter)
    for unit in capture.units:
        own = statements[unit.number]
        if unit.kind == "test":
            # What a test prepares is not what the application costs.
            own = [one for one in own if is_own(one.frames)]
            if not own or unit.name in with_requests:
                continue
        elif unit.kind == "other":
            continue
        rows = sum(one.rows or 0 for one in own)
        if word := failure_of(unit):
            failed[unit.name][word] += 1
        costs[unit.name].append((len(own), union_ms(own), unit.ms, rows))
    routes = [
        Route(
            name=name,
            calls=len(calls),
            statements=max(call[0] for call in calls),
            database_ms=round(max(min(call[1], call[2]) for call in calls), 2),
            ms=round(max(call[2] for call in calls), 2),
            rows=max(call[3] for call in calls),
            failed=tuple(sorted(failed[name].items())),
        )
        for name, calls in costs.items()
    ]
    return tuple(sorted(routes, key=lambda one: (-one.statements, one.name)))
