"""Findings as text for people and as JSON for programs."""

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from toolkit.report.finding import Finding
from toolkit.report.masking import in_a_line

WIDTH = 100


def as_text(findings: Iterable[Finding]) -> str:
    """One paragraph a finding: what, where, what was seen, and the safe form."""
    return "\n\n".join("\n".join(paragraph(one)) for one in findings)


def paragraph(one: Finding) -> Iterator[str]:
    place = f"{one.file}:{one.line}" if one.file and one.line else one.file or one.revision or ""
    head = " ".join(filter(None, (one.verdict.upper(), f"[{one.rule}]", one.table, place)))
    yield in_a_line(head)
    yield from indented(one.message, "  ")
    for line in one.evidence:
        yield from indented(f"seen: {line}", "    ")
    if one.rewrite:
        yield "    instead:"
        yield textwrap.indent(one.rewrite.strip("\n"), "      ")


def indented(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def counted(number: float, noun: str) -> str:
    """`1 call`, `2,000 calls`, `0 indexes`."""
    text = f"{number:,.0f}"
    plural = "" if text == "1" else "es" if noun.endswith("x") else "s"
    return f"{text} {noun}{plural}"


def as_data(one: Finding) -> dict[str, Any]:
    """What `--json` prints of a finding."""
    return {
        "rule": one.rule,
        "verdict": str(one.verdict),
        "message": one.message,
        "evidence": list(one.evidence),
        "table": one.table,
        "revision": one.revision,
        "file": one.file,
        "line": one.line,
        "rewrite": one.rewrite,
        "source": one.source,
    }
