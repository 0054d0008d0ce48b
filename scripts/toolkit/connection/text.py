"""The report as text for people and as JSON for programs."""

import itertools
import textwrap
from collections.abc import Iterator
from typing import Any

from toolkit.connection.steps import Report, Status, Step
from toolkit.report.exits import Exit
from toolkit.report.text import WIDTH, indented

INDENT = " " * 13


def as_text(report: Report) -> str:
    """A line a layer; what is not in order with its evidence and one next command."""
    after = list(itertools.dropwhile(lambda step: step is not report.broken, report.steps))[1:]
    before = [step for step in report.steps if step not in after]
    lines = [line for step in before for line in paragraph(step)]
    if after:
        names = ", ".join(step.layer for step in after)
        lines += indented(f"-        not checked after that: {names}", "")
    return "\n".join(lines)


def paragraph(step: Step) -> Iterator[str]:
    label = {Status.BROKEN: "BROKEN", Status.NOT_CHECKED: "-"}.get(step.status, str(step.status))
    yield from textwrap.wrap(
        f"{label:<8} {step.layer:<11} {step.message}",
        WIDTH,
        subsequent_indent=INDENT + " " * 8,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in step.evidence:
        yield from indented(line, INDENT)
    if step.next and step.status in (Status.BROKEN, Status.WARNING):
        yield from indented(f"next: {step.next}", INDENT)


def as_document(report: Report, exit_code: Exit) -> dict[str, Any]:
    """What `--json` prints."""
    broken = report.broken
    status = "broken" if broken else "warnings" if report.warnings else "ok"
    return {
        "status": status,
        "exit": int(exit_code),
        "layer": str(broken.layer) if broken else None,
        "message": broken.message if broken else None,
        "next": broken.next if broken else None,
        "url": report.url,
        "steps": [
            {
                "layer": str(step.layer),
                "status": str(step.status),
                "message": step.message,
                "evidence": list(step.evidence),
                "next": step.next,
                "data": dict(step.data),
            }
            for step in report.steps
        ],
    }
