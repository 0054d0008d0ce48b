"""Which of the counted statements are slow, and where the source issues them."""

import re
from collections import defaultdict
from collections.abc import Sequence

from toolkit.queries.capture.record import Statement
from toolkit.queries.finding import Confidence, Layer, QueryFinding
from toolkit.queries.statements.counted import Counted, Statistics
from toolkit.queries.statements.shape import join_key, printable
from toolkit.report.text import counted

SLOW_MS = 100.0
"""Slow whatever its share is."""
NOTICEABLE_MS = 10.0
LARGE_SHARE = 0.1
LARGE_TOTAL_MS = 1000.0
"""At this mean, slow if it also has this share of all time, and that much of it."""
FELT_MS = 5.0
LARGEST_SHARE = 0.2
"""At this mean, slow if it has this share, and MANY_CALLS."""
MANY_CALLS = 20
"""A statement that the capture did not see counts from here: a load or a repair is rarer."""
BLOCK_MB = 8 / 1024
SPILL_MB = 1.0
MOST = 20
_QUESTION = re.compile(r"(?i)\(*\s*(select|with|insert|update|delete|merge|replace|values)\b")
_SYSTEM = re.compile(
    r"(?i)\b(pg_catalog|pg_stat\w*|pg_class|pg_type|pg_settings|information_schema"
    r"|performance_schema|mysql ?\.|sqlite_master)\b"
)


class Captured:
    """The captured statements by the key that the server's text has, too."""

    def __init__(self, statements: Sequence[Statement], *, mysql: bool) -> None:
        self.by_key: dict[str, list[Statement]] = defaultdict(list)
        keys: dict[str, str] = {}
        for one in statements:
            if one.sql not in keys:
                keys[one.sql] = join_key(one.sql, mysql=mysql)
            self.by_key[keys[one.sql]].append(one)

    def of(self, counted: Counted) -> list[Statement]:
        """Its executions; none where a text that was cut off could be several statements."""
        if counted.key in self.by_key:
            return self.by_key[counted.key]
        if counted.cut and counted.key:
            found = [key for key in self.by_key if key.startswith(f"{counted.key} ")]
            if len(found) == 1:
                return self.by_key[found[0]]
        return []


def slow_ones(
    statistics: Statistics, captured: Captured
) -> tuple[list[QueryFinding], list[str], int]:
    """Findings, the most expensive first; notes; and how many statements were joined."""
    matches = {one.key: captured.of(one) for one in statistics.counted}
    joined = sum(bool(match) for match in matches.values())
    known = bool(captured.by_key)
    # Where the application has this role, other roles' statements are not its own. A role
    # that only watches has none of the captured ones, and is shown all.
    own_only = any(one.own for one in statistics.counted if matches[one.key])
    found: list[QueryFinding] = []
    others = 0
    for one in sorted(statistics.counted, key=lambda one: -one.total_ms):
        if own_only and not one.own:
            others += 1
            continue
        if not _QUESTION.match(one.text) or _SYSTEM.search(one.text):
            continue
        if not is_slow(one, statistics.all_ms):
            continue
        match = matches[one.key]
        if not match and one.calls < MANY_CALLS:
            continue
        found.append(finding(one, match, statistics.all_ms, known=known))
    notes = [threshold(len(statistics.counted), len(found))]
    if len(found) > MOST:
        notes.append(f"{len(found) - MOST} more slow statements are left out")
    if others:
        notes.append(f"{others} statements of other roles were left out")
    return found[:MOST], notes, joined


def is_slow(one: Counted, all_ms: float) -> bool:
    if one.mean_ms >= SLOW_MS:
        return True
    share = one.total_ms / all_ms if all_ms else 0.0
    if one.mean_ms >= NOTICEABLE_MS and share >= LARGE_SHARE and one.total_ms >= LARGE_TOTAL_MS:
        return True
    return one.mean_ms >= FELT_MS and share >= LARGEST_SHARE and one.calls >= MANY_CALLS


def threshold(counted_ones: int, found: int) -> str:
    """What it takes to be a finding: also where there is none."""
    above = f"{found:,} of them" if found else "none of them"
    return (
        f"{counted(counted_ones, 'statement')} {'is' if counted_ones == 1 else 'are'} counted,"
        f" {above} above {SLOW_MS:g} ms a call (or {NOTICEABLE_MS:g} ms with"
        f" {100 * LARGE_SHARE:g} % of all time, or {FELT_MS:g} ms with {100 * LARGEST_SHARE:g} %"
        f" in {MANY_CALLS} calls or more); what no capture saw counts from {MANY_CALLS} calls"
    )


def finding(
    one: Counted, match: Sequence[Statement], all_ms: float, *, known: bool
) -> QueryFinding:
    share = 100 * one.total_ms / all_ms if all_ms else 0.0
    evidence = [
        f"{counted(one.calls, 'call')}, {one.mean_ms:,.1f} ms each, {one.total_ms:,.0f} ms in all:"
        f" {share:.0f} % of the time of all statements",
        f"{counted(one.rows_per_call, 'row')} a call",
        *work(one),
    ]
    framed = [statement for statement in match if statement.frames]
    frame = framed[0].frames[0] if framed else None
    places = {(s.frames[0].file, s.frames[0].line) for s in framed}
    if len(places) > 1:
        evidence.append(
            "also issued at "
            + ", ".join(
                f"{file}:{line}"
                for file, line in sorted(places)
                if frame and (file, line) != (frame.file, frame.line)
            )
        )
    if known and not match:
        evidence.append("the captured run did not issue it: its line is not known")
    spills = spilled_mb(one) / max(one.calls, 1) >= SPILL_MB
    return QueryFinding(
        rule="slow-statement-on-disk" if spills else "slow-statement",
        layer=Layer.STATEMENTS,
        confidence=Confidence.MEASURED,
        message=f"A statement takes {one.mean_ms:,.1f} ms on average, over"
        f" {counted(one.calls, 'call')}" + (", and sorts or hashes on disk." if spills else "."),
        evidence=(*evidence, printable(one.text)),
        file=frame.file if frame else None,
        line=frame.line if frame else None,
        function=frame.function if frame else None,
        shape=match[0].shape if match else printable(one.key),
        cost_ms=one.mean_ms,
    )


def work(one: Counted) -> list[str]:
    """What the server did for it."""
    lines = []
    calls = max(one.calls, 1)
    if one.blocks_hit is not None and one.blocks_read is not None:
        blocks = one.blocks_hit + one.blocks_read
        from_disk = 100 * one.blocks_read / blocks if blocks else 0.0
        lines.append(
            f"{counted(blocks / calls, 'block')} a call ({blocks * BLOCK_MB / calls:,.1f} MB),"
            f" {from_disk:.0f} % of them not in the buffers"
        )
    if one.spilled_blocks:
        lines.append(f"{spilled_mb(one) / calls:,.1f} MB of temporary files a call")
    if one.examined is not None:
        lines.append(f"{counted(one.examined / calls, 'row')} looked at a call")
    if one.disk_tables:
        lines.append(f"{counted(one.disk_tables, 'temporary table')} on disk")
    return lines


def spilled_mb(one: Counted) -> float:
    return (one.spilled_blocks or 0) * BLOCK_MB
