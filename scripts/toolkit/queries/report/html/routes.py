"""The worst requests as a table with bars, and what --verify compared."""

from collections.abc import Sequence

from toolkit.queries.report.html.parts import meter, section
from toolkit.queries.report.html.tags import Child, Html, tag, together
from toolkit.queries.report.words import amount, duration, ratio
from toolkit.queries.result import Change, Result, Route
from toolkit.report.text import counted

AT_ONCE = 10
TITLES = ("Request or test", "Statements", "In the database", "In all", "Rows", "Calls")


def routes(result: Result) -> Html | None:
    if not result.routes:
        return None
    rest = result.routes[AT_ONCE:]
    over = {id(one) for one in result.routes if too_many(one)}
    return section(
        "Worst requests",
        "requests",
        table(result.routes[:AT_ONCE], result.routes),
        tag(
            "details",
            tag("summary", f"{counted(len(rest), 'more request')}"),
            table(rest, result.routes),
        )
        if rest
        else None,
        lead="The worst call of each. "
        + (f"{counted(len(over), 'route')} over budget: the line on a bar." if over else ""),
    )


def too_many(one: Route) -> bool:
    return one.budget is not None and one.statements > one.budget


def table(some: Sequence[Route], every: Sequence[Route]) -> Html:
    # Roles are said again: as blocks, on a phone, rows and cells would lose them.
    head = tag("tr", *(tag("th", one, scope="col", role="columnheader") for one in TITLES))
    most = max(one.statements for one in every)
    slowest = max(one.database_ms for one in every)
    return tag(
        "table",
        tag("thead", head, role="rowgroup"),
        tag("tbody", *(row(one, most, slowest) for one in some), role="rowgroup"),
        role="table",
        class_="routes",
    )


def row(one: Route, most: int, slowest: float) -> Html:
    over = too_many(one)
    limit = one.budget / most if one.budget is not None and most else None
    statements = together(
        [
            tag("span", amount(one.statements), class_="value"),
            meter(one.statements / most if most else 0, "over" if over else "", mark=limit),
            tag("span", f"{one.budget} allowed", class_="over-budget") if over else None,
        ]
    )
    database = together(
        [
            tag("span", duration(one.database_ms), class_="value"),
            meter(one.database_ms / slowest if slowest > 0 else 0),
        ]
    )
    name = tag("th", one.title, scope="row", role="rowheader")
    values = (statements, database, duration(one.ms), amount(one.rows), amount(one.calls))
    cells = (cell(title, value) for title, value in zip(TITLES[1:], values, strict=True))
    return tag("tr", name, *cells, role="row")


def cell(title: str, value: Child) -> Html:
    return tag("td", value, role="cell", data_title=title)


def changes(result: Result) -> Html | None:
    if not result.changes:
        return None
    return section(
        "Before and after",
        "changes",
        tag("ul", *(change(one) for one in result.changes), class_="changes"),
        lead="The same capture, before and after the fixes.",
    )


def change(one: Change) -> Html:
    before, after = one.statements
    return tag(
        "li",
        tag("h3", one.name),
        tag(
            "div",
            comparison("Statements", before, after, amount(before), amount(after)),
            comparison(
                "Database",
                *one.database_ms,
                duration(one.database_ms[0]),
                duration(one.database_ms[1]),
            ),
            class_="comparisons",
        ),
    )


def comparison(title: str, before: float, after: float, *shown: str) -> Html:
    """Two bars on one scale, with their values (`shown`) and what the ratio is."""
    most = max(before, after)
    words = ratio(before, after)
    pairs = zip(("before", "after"), (before, after), shown, strict=True)
    return tag(
        "div",
        tag("h4", title, " ", tag("span", words, class_=f"ratio {words.rpartition(' ')[2]}")),
        *(
            tag(
                "div",
                tag("span", kind, class_="kind"),
                meter(value / most if most > 0 else 0, kind),
                tag("span", number, class_="value"),
                class_="pair",
            )
            for kind, value, number in pairs
        ),
        class_="comparison",
    )
