"""What is wrong with what was captured. Each rule is sure, or silent."""

from collections import defaultdict
from pathlib import Path

from toolkit.queries.capture import rules_events, rules_reads, rules_repeated, rules_writes
from toolkit.queries.capture.record import Capture, Statement
from toolkit.queries.capture.seen import Seen, is_own, union_ms
from toolkit.queries.finding import QueryFinding
from toolkit.queries.result import Route


def findings_of(capture: Capture, root: Path) -> list[QueryFinding]:
    """All findings about application code; `root` is the project's, to look at its source."""
    seen = Seen(capture, root)
    return [
        *rules_repeated.findings_of(seen),
        *rules_writes.findings_of(seen),
        *rules_reads.findings_of(seen),
        *rules_events.findings_of(seen),
    ]


def routes_of(capture: Capture) -> tuple[Route, ...]:
    """What each kind of request costs at its worst, and each test that calls the application
    without a request; the most statements first.
    """
    statements: dict[int, list[Statement]] = defaultdict(list)
    for one in capture.statements:
        statements[one.unit].append(one)
    with_requests = {unit.test for unit in capture.units if unit.kind == "request"}
    costs: dict[str, list[tuple[int, float, float, int]]] = defaultdict(list)
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
        costs[unit.name].append((len(own), union_ms(own), unit.ms, rows))
    routes = [
        Route(
            name=name,
            calls=len(calls),
            statements=max(call[0] for call in calls),
            database_ms=round(max(min(call[1], call[2]) for call in calls), 2),
            ms=round(max(call[2] for call in calls), 2),
            rows=max(call[3] for call in calls),
        )
        for name, calls in costs.items()
    ]
    return tuple(sorted(routes, key=lambda one: (-one.statements, one.name)))
