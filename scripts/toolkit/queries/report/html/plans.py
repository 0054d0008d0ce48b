"""Plans as trees, with each node's part of the time, before and after a change."""

from collections.abc import Sequence

from toolkit.database.sizes import in_units
from toolkit.queries.finding import QueryFinding
from toolkit.queries.plans.measure import Measured, Node, Timing
from toolkit.queries.report.html.parts import code, listed, meter, section, sentence
from toolkit.queries.report.html.routes import comparison
from toolkit.queries.report.html.tags import Html, tag
from toolkit.queries.report.words import amount, duration, ratio
from toolkit.queries.result import Result

HOT = 0.4
"""A node with so much of the time before the change is pointed out."""
WRONG = 10
"""Rows estimated so many times too high or too low are said."""


def pair(result: Result) -> tuple[dict[int, list[Measured]], list[Measured]]:
    """What was measured, by the `id()` of the finding that it belongs to; and the rest."""
    of: dict[int, list[Measured]] = {}
    rest = []
    for one in result.measured:
        found = owner(one, result.findings)
        if found:
            of.setdefault(id(found), []).append(one)
        else:
            rest.append(one)
    return of, rest


def owner(one: Measured, findings: Sequence[QueryFinding]) -> QueryFinding | None:
    """The finding whose index was measured, else the first about the same statement."""
    same = [found for found in findings if found.shape == one.shape]
    by_index = [found for found in same if found.fix and found.fix.index == one.index]
    return next(iter(by_index if one.index else same), None)


def others(rest: Sequence[Measured]) -> Html | None:
    """What was measured and led to no finding."""
    if not rest:
        return None
    return section(
        "Other plans",
        "plans",
        *(
            tag(
                "article",
                tag("h3", origin(one)),
                code(one.shape, "Statement"),
                measured(one),
                class_="card",
            )
            for one in rest
        ),
        lead="Measured as well; nothing that helps was found.",
    )


def origin(one: Measured) -> str:
    where = f"{one.file}:{one.line}" if one.file and one.line else one.file
    return " in ".join(filter(None, (where, one.unit))) or "Statement"


def measured(one: Measured) -> Html:
    """Bars of before and after, what the change costs, and both plans, folded."""
    after, worst = one.after, HOT * own_total(one.before.plan)
    return tag(
        "div",
        bars(one.before, after) if after else tag("p", facts_of(one.before), class_="note"),
        tag("p", price(one), class_="note") if price(one) else None,
        tag("p", one.note, class_="note") if one.note else None,
        tag(
            "details",
            tag("summary", "Plan before and after" if after else "Plan"),
            tag(
                "div",
                plan("Before" if after else "Plan", one.before, worst),
                plan("After", after, worst) if after else None,
                class_="plans",
            ),
            class_="plan",
        ),
    )


def bars(before: Timing, after: Timing) -> Html:
    pages = before.buffers is not None and after.buffers is not None
    return tag(
        "div",
        comparison("Time", before.ms, after.ms, duration(before.ms), duration(after.ms)),
        comparison(
            "Pages read",
            before.buffers or 0,
            after.buffers or 0,
            amount(before.buffers),
            amount(after.buffers),
        )
        if pages
        else None,
        class_="comparisons",
    )


def facts_of(timing: Timing) -> str:
    pages = f", {amount(timing.buffers)} pages" if timing.buffers is not None else ""
    return f"{duration(timing.ms)}{pages}"


def price(one: Measured) -> Html:
    """What the index takes: space, time to build, slower writes."""
    writes = one.write_ratio
    return sentence(
        f"{in_units(one.size_bytes)} on disk" if one.size_bytes is not None else None,
        f"built in {duration(one.build_ms)}" if one.build_ms is not None else None,
        f"an INSERT takes {writes:.2f} times as long" if writes is not None else None,
        f"the planner's estimate: cost {amount(one.estimated_cost[0])} before, "
        f"{amount(one.estimated_cost[1])} after"
        if one.estimated_cost
        else None,
    )


def plan(title: str, timing: Timing, worst: float) -> Html:
    """Nodes of at least `worst` ms are pointed out."""
    total = own_total(timing.plan)
    return tag(
        "figure",
        tag("figcaption", tag("strong", title), " ", facts_of(timing)),
        tag(
            "div",
            tag("ul", branch(timing.plan, total, worst), class_="tree"),
            class_="scroll",
            tabindex=0,
            role="region",
            aria_label=f"Plan: {title.lower()}",
        ),
    )


def every(node: Node) -> list[Node]:
    return [node, *(one for child in node.children for one in every(child))]


def own_total(plan: Node) -> float:
    return sum(own(node) for node in every(plan))


def own(node: Node) -> float:
    # A parallel node's own time can come out below zero.
    return max(node.ms or 0.0, 0.0)


def branch(node: Node, total: float, worst: float) -> Html:
    share = own(node) / total if total > 0 and node.ms is not None else None
    hot = share is not None and own(node) >= worst
    return tag(
        "li",
        tag(
            "div",
            tag("div", node.label, class_="label"),
            tag("div", timed(node, share, hot=hot), class_="share") if share is not None else None,
            tag("div", numbers(node), class_="numbers"),
            listed([tag("span", note) for note in node.notes], class_="notes"),
            class_="node hot" if hot else "node",
        ),
        tag("ul", *(branch(child, total, worst) for child in node.children), class_="branches")
        if node.children
        else None,
    )


def timed(node: Node, share: float, *, hot: bool) -> Html:
    return tag(
        "span",
        meter(share, "hot" if hot else ""),
        tag("span", "<1%" if 0 < share < 0.005 else f"{share:.0%}", class_="percent"),
        tag("span", duration(own(node)), class_="value"),
    )


def numbers(node: Node) -> Html:
    return sentence(
        rows(node),
        f"{amount(node.buffers)} pages" if node.buffers is not None else None,
        f"cost {amount(node.cost)}" if node.cost is not None else None,
    )


def rows(node: Node) -> str | None:
    if node.rows is None:
        return None if node.estimated is None else f"{amount(node.estimated)} rows estimated"
    words = f"{amount(node.rows)} row{'' if node.rows == 1 else 's'}"
    if node.estimated is None:
        return words
    high, low = max(node.rows, node.estimated), max(min(node.rows, node.estimated), 1)
    if high / low < WRONG:
        return words
    off = ratio(node.rows, node.estimated) or "none"
    return f"{words}, {amount(node.estimated)} estimated ({off})"
