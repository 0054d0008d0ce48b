"""The findings of a whole history: a table on top, then revision by revision, the worst first."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from toolkit.report.finding import Finding
from toolkit.report.masking import in_a_line
from toolkit.report.quoting import command
from toolkit.report.text import paragraph

SCREEN = 24
"""Lines for a revision. All of it has `--review` of that revision, and `--json`."""


def by_revision(findings: Sequence[Finding], order: Sequence[str]) -> str:
    """`order`: the history. What belongs to no revision comes last."""
    groups: dict[str | None, list[Finding]] = {}
    for one in findings:
        groups.setdefault(one.revision, []).append(one)
    place = {name: number for number, name in enumerate(order)}
    names = sorted(
        groups,
        key=lambda name: (name is None, worst(groups[name]), place.get(name or "", len(place))),
    )
    parts = [table(names, groups)] if len(names) > 1 else []
    parts += ["\n".join(of_one(name, groups[name])) for name in names]
    return "\n\n".join(parts)


def worst(findings: Sequence[Finding]) -> int:
    return min(one.verdict.rank for one in findings)


def table(names: Sequence[str | None], groups: dict[str | None, list[Finding]]) -> str:
    rows = [("revision", "findings", "worst")]
    for name in names:
        ranked = sorted(groups[name], key=lambda one: one.verdict.rank)
        words = f"{ranked[0].verdict} [{ranked[0].rule}]"
        rows.append((name or "(all)", str(len(ranked)), words))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(
        in_a_line(f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]}") for row in rows
    )


def of_one(name: str | None, findings: Sequence[Finding]) -> Iterator[str]:
    """At most a screen: without the forms if they do not fit, then without the last findings."""
    full = [list(paragraph(one)) for one in findings]
    if lines_of(full) <= SCREEN or name is None:
        yield "\n\n".join("\n".join(lines) for lines in full)
        return
    short = [list(paragraph(replace(one, rewrite=""))) for one in findings]
    shown = list(short)
    while len(shown) > 1 and lines_of(shown) > SCREEN - 2:
        shown.pop()
    yield "\n\n".join("\n".join(lines) for lines in shown)
    more = len(short) - len(shown)
    what = f"{more} more findings, and the forms" if more else "the forms"
    if any(one.rewrite for one in findings) or more:
        yield f"\n  ({what}: {command(['--review', name])})"


def lines_of(paragraphs: Sequence[Sequence[str]]) -> int:
    return sum(text.count("\n") + 1 for lines in paragraphs for text in lines) + len(paragraphs) - 1
