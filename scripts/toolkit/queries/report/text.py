"""A result for a terminal: the verdict first, then what to do, the worst first.

Plain text without colours. What an agent with a limited context does not get to see, it
finds by --json; so everything that is cut says so.
"""

import textwrap
from collections.abc import Iterator, Sequence

from toolkit.queries.finding import Confidence, QueryFinding
from toolkit.queries.report.words import (
    amount,
    duration,
    most_expensive,
    one_line,
    place,
    ratio,
    shown,
    verdict,
)
from toolkit.queries.result import Change, LayerState, Result, Route
from toolkit.report.text import counted

IN_FULL = 15
"""Findings: about 3,000 tokens. The rest is a line each, and --only shows any in full."""
SUSPECTED = 20
ROUTES = 10
EVIDENCE = 8
EVIDENCE_LENGTH = 400
NARROWEST = 72


def as_text(result: Result, width: int = 100) -> str:
    """The whole report, without a newline at its end; `width` in characters."""
    width = max(width, NARROWEST)
    sections = (
        head(result, width),
        layers(result.layers, width),
        findings(result, width),
        routes(result.routes, width),
        over_budget(result.over_budget, width),
        changes(result.changes, width),
        notes(result, width),
    )
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines)


def head(result: Result, width: int) -> Iterator[str]:
    name = " on ".join(filter(None, (result.title, result.database)))
    yield from wrapped(f"{name}: {verdict(result)}", width)
    costly = [
        " ".join(filter(None, (duration(one.cost_ms), one.rule, place(one))))
        for one in most_expensive(result.new)
    ]
    if costly:
        yield from wrapped(f"Most expensive: {'; '.join(costly)}.", width)
    if result.command and any(one.confidence != Confidence.SUSPECTED for one in result.new):
        yield f"Below, ... is: {one_line(result.command)}"


def layers(states: Sequence[LayerState], width: int) -> Iterator[str]:
    if not states:
        return
    yield "Layers"
    for state in states:
        took = duration(state.seconds * 1000) if state.ran and state.seconds else ""
        lead = f"  {state.layer:<10}  {'ran' if state.ran else 'NOT RUN':<7}  {took:>7}  "
        yield lead + one_line(state.words, max(width - len(lead), 20))


def findings(result: Result, width: int) -> Iterator[str]:
    sure = [one for one in result.new if one.confidence != Confidence.SUSPECTED]
    suspected = [one for one in result.new if one.confidence == Confidence.SUSPECTED]
    command = one_line(result.command)
    blocks = [
        list(paragraph(number, one, width, command)) for number, one in enumerate(sure[:IN_FULL], 1)
    ]
    if sure[IN_FULL:]:
        rest = [
            line
            for number, one in enumerate(sure[IN_FULL:], IN_FULL + 1)
            for line in in_short(number, one, width)
        ]
        title = "Further ones; each is shown in full by ... --only and the word in brackets"
        blocks.append([title, *cut(rest, 4 * IN_FULL)])
    if suspected:
        title = "Suspected: the source looks like it, and nothing was run"
        whole = [
            line
            for one in suspected
            for line in wrapped(brief(one), width, first="  ", indent="      ")
        ]
        short = [f"  {one_line(brief(one), width - 2)}" for one in suspected]
        # Without their ends they say where, not what: a few are told whole (#12).
        blocks.append([title, *(whole if len(whole) <= SUSPECTED else cut(short, SUSPECTED))])
    for number, block in enumerate(blocks):
        yield from ["", *block] if number else block


def in_short(number: int, one: QueryFinding, width: int) -> Iterator[str]:
    """A line, and the DDL if there is some: nobody should have to ask for an index again."""
    mark = one.fingerprint[:8]
    yield one_line(f"{number}. ({mark}) {one.confidence.upper()} {brief(one)}", width)
    if one.fix and one.fix.kind == "ddl":
        yield f"       {one_line(one.fix.text.strip().splitlines()[0])}"


def cut(lines: Sequence[str], limit: int) -> Iterator[str]:
    yield from lines[:limit]
    if len(lines) > limit:
        yield f"  and {len(lines) - limit:,} more (--json)"


def brief(one: QueryFinding) -> str:
    return " ".join(filter(None, (place(one), f"[{one.rule}]", one.message)))


def paragraph(number: int, one: QueryFinding, width: int, command: str) -> Iterator[str]:
    """One finding: what, where, what was seen, the fix as code, and how to check it.

    `command` is what made the report: the check is mostly that, with one word more.
    """
    where = " ".join(filter(None, (place(one), one.function)))
    parts = [f"{number}. {one.confidence.upper()} [{one.rule}] {where}".rstrip()]
    if one.unit:
        parts.append(f"in {one.unit}")
    if one.cost_ms > 0:
        parts.append(duration(one.cost_ms))
    yield from wrapped(", ".join(parts), width, indent="   ")
    yield from wrapped(one.message, width, first="   ", indent="   ")
    for line in one.evidence[:EVIDENCE]:
        text = f"- {one_line(line, EVIDENCE_LENGTH)}"
        yield from wrapped(text, width, first="     ", indent="       ")
    if one.evidence[EVIDENCE:]:
        yield f"     and {len(one.evidence) - EVIDENCE} more lines (--json)"
    if one.fix:
        yield f"   fix ({one_line(one.fix.kind)}):"
        # Not wrapped: it is there to be copied.
        yield textwrap.indent(shown(textwrap.dedent(one.fix.text)).strip("\n"), "       ")
    if one.verify:
        verify = one_line(one.verify)
        short = f"... {verify.removeprefix(command).strip()}"
        yield f"   verify: {short if command and verify.startswith(command) else verify}"


def routes(all_routes: Sequence[Route], width: int) -> Iterator[str]:
    if not all_routes:
        return
    rows = [
        (
            amount(one.statements) + (f"/{one.budget}" if one.budget is not None else ""),
            duration(one.database_ms),
            duration(one.ms),
            amount(one.rows),
            amount(one.calls),
            one.title,
        )
        for one in all_routes[:ROUTES]
    ]
    budgets = any(one.budget is not None for one in all_routes)
    yield f"Worst requests and tests ({min(ROUTES, len(all_routes))} of {len(all_routes)})"
    title = "statements/budget" if budgets else "statements"
    yield from table((title, "database", "in all", "rows", "calls", "request or test"), rows, width)


def over_budget(all_routes: Sequence[Route], width: int) -> Iterator[str]:
    if not all_routes:
        return
    yield "Over budget"
    for one in all_routes:
        allowed = f"{counted(one.statements, 'statement')}, {one.budget or 0} allowed"
        yield "  " + one_line(f"{one.name}: {allowed}", width - 2)


def changes(all_changes: Sequence[Change], width: int) -> Iterator[str]:
    if not all_changes:
        return
    yield "Before and after"
    rows = [
        (
            f"{amount(one.statements[0])} -> {amount(one.statements[1])}",
            f"{duration(one.database_ms[0])} -> {duration(one.database_ms[1])}",
            ratio(*one.database_ms),
            one.name,
        )
        for one in all_changes
    ]
    yield from table(("statements", "database", "", "request or statement"), rows, width)


def notes(result: Result, width: int) -> Iterator[str]:
    for line in result.notes:
        yield from wrapped(f"note: {line}", width)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Columns right-aligned, but for the last, which is cut to what is left of `width`."""
    widths = [max(len(row[column]) for row in (titles, *rows)) for column in range(len(titles) - 1)]
    for row in (titles, *rows):
        lead = "  ".join(cell.rjust(wide) for cell, wide in zip(row[:-1], widths, strict=True))
        yield f"  {lead}  {one_line(row[-1], max(width - len(lead) - 4, 12))}"


def wrapped(text: str, width: int, *, first: str = "", indent: str = "  ") -> list[str]:
    return textwrap.wrap(
        one_line(text),
        width,
        initial_indent=first,
        subsequent_indent=indent,
        # Words are long where they are statements or paths, which one wants to search for.
        break_long_words=False,
        break_on_hyphens=False,
    )
