"""Numbers, places and untrusted texts as the reports write them."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from toolkit.queries.finding import Confidence, Layer, QueryFinding
from toolkit.queries.result import Result
from toolkit.report.masking import MASKER, clean
from toolkit.report.text import counted

STRENGTHS = {
    Layer.CODE: "the source was read, nothing was run",
    Layer.CAPTURE: "it happened while your code ran",
    Layer.STATEMENTS: "the server counted it since its statistics began",
    Layer.CATALOG: "the schema and the settings are like that",
    Layer.PLANS: "built, timed and rolled back on a scratch copy",
}
"""What a layer's findings rest on, in a phrase."""

MEANINGS = {
    Confidence.PROVED: "seen to happen, or to be there",
    Confidence.MEASURED: "numbers of this database say so",
    Confidence.SUSPECTED: "the source looks like it",
}

FIXES = {
    "code": "Change the code",
    "ddl": "Run on the database",
    "model": "Change the model",
    "setting": "Change the setting",
}


def shown(text: str) -> str:
    """`text` as it may be seen: secrets hidden, before anything is cut off that would be a half
    of one, and what steers a terminal or reorders a line written out.
    """
    return clean(MASKER(text))


def one_line(text: str, limit: int | None = None) -> str:
    """`text` as it may be shown, its whitespace collapsed, cut to `limit` characters with `...`."""
    line = " ".join(shown(text).split())
    return line if limit is None or len(line) <= limit else line[: max(limit - 3, 0)] + "..."


def duration(ms: float) -> str:
    """Three digits that count, in ms or s: `0.018 ms`, `4.49 ms`, `812 ms`, `1.24 s`."""
    if not math.isfinite(ms):
        return "?"
    if abs(ms) >= 999.5:
        return f"{ms / 1000:,.3g} s" if abs(ms) < 100_000 else f"{ms / 1000:,.0f} s"
    if abs(ms) >= 99.5:
        return f"{ms:.0f} ms"
    if ms and abs(ms) < 0.001:
        return "<0.001 ms"
    return f"{round(ms, 3):.3g} ms"


def amount(number: float | None) -> str:
    """With thousands separators; `-` for None."""
    if number is None or not math.isfinite(number):
        return "-"
    return f"{number:,.0f}" if number == int(number) or abs(number) >= 100 else f"{number:,.3g}"


def ratio(before: float, after: float) -> str:
    """`249 times less`, `the same`, `1.2 times more`; empty where there is no ratio."""
    if before == after:
        return "the same"
    if not (before > 0 and after > 0 and math.isfinite(before) and math.isfinite(after)):
        return ""
    factor = max(before, after) / min(before, after)
    if factor < 1.05:
        return "about the same"
    shown = f"{factor:,.0f}" if factor >= 10 else f"{factor:.1f}"
    return f"{shown} times {'less' if after < before else 'more'}"


def place(one: QueryFinding) -> str:
    """`app/posts.py:41`, or the table, or nothing."""
    if one.file:
        return f"{one.file}:{one.line}" if one.line else one.file
    return f"table {one.table}" if one.table else ""


def most_expensive(findings: Iterable[QueryFinding], number: int = 3) -> Sequence[QueryFinding]:
    """Those whose cost is known; guesses have none."""
    costly = [one for one in findings if one.cost_ms > 0 and one.confidence != Confidence.SUSPECTED]
    return sorted(costly, key=lambda one: -one.cost_ms)[:number]


def counts(findings: Iterable[QueryFinding]) -> dict[Confidence, int]:
    """By confidence, the surest first, zeros included."""
    numbers = Counter(one.confidence for one in findings)
    return {confidence: numbers[confidence] for confidence in Confidence}


def verdict(result: Result) -> str:
    """One or two sentences: what was found, and how far the search went."""
    numbers = counts(result.new)
    known = len(result.findings) - len(result.new)
    kinds = [f"{number} {confidence}" for confidence, number in numbers.items() if number]
    if kinds:
        total = sum(numbers.values())
        said = (
            f"{counted(total, 'new finding' if result.known else 'finding')}: {', '.join(kinds)}."
        )
    elif not any(state.ran for state in result.layers):
        said = "Nothing was looked at: no layer ran."
    else:
        said = f"{'Nothing new' if known else 'Nothing'} was found."
    parts = [said]
    if known:
        parts.append(f"{known} more {'is' if known == 1 else 'are'} known (baseline).")
    if result.over_budget:
        verb = "is" if len(result.over_budget) == 1 else "are"
        parts.append(f"{counted(len(result.over_budget), 'route')} {verb} over budget.")
    left_out = [state.layer.value for state in result.layers if not state.ran]
    if left_out and len(left_out) < len(result.layers):
        parts.append(f"Not looked at: {', '.join(left_out)}.")
    return " ".join(parts)
