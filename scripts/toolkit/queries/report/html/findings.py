"""Findings as cards: where, what was seen, the lines, the fix, and how to check it."""

from collections.abc import Mapping, Sequence

from toolkit.queries.finding import Confidence, Layer, QueryFinding
from toolkit.queries.plans.measure import Measured
from toolkit.queries.report.html.parts import (
    badge,
    code,
    copyable,
    listed,
    section,
    sentence,
    symbol,
    unseen,
)
from toolkit.queries.report.html.plans import measured
from toolkit.queries.report.html.tags import Html, tag, together
from toolkit.queries.report.words import FIXES, MEANINGS, duration, place
from toolkit.queries.result import Excerpt, Result
from toolkit.report.text import counted

Measures = Mapping[int, Sequence[Measured]]


def findings(result: Result, anchors: dict[int, str], measures: Measures) -> Html:
    """What to act on as cards, then what is suspected, folded."""
    new = result.new
    sure = [one for one in new if one.confidence != Confidence.SUSPECTED]
    suspected = [one for one in new if one.confidence == Confidence.SUSPECTED]
    cards = [card(one, result, anchors[id(one)], measures.get(id(one), ())) for one in sure]
    folded = [fold(one, result, anchors[id(one)], measures.get(id(one), ())) for one in suspected]
    return together(
        [
            section(
                "Findings",
                "findings",
                filters(new) if len(new) > 1 else None,
                *(cards or [tag("p", "None that was proved or measured.", class_="lead")]),
            ),
            section(
                "Suspected",
                "suspected",
                *folded,
                lead=f"{MEANINGS[Confidence.SUSPECTED].capitalize()}, and nothing was run. "
                "Look before you change anything.",
            )
            if folded
            else None,
        ]
    )


def filters(new: Sequence[QueryFinding]) -> Html:
    """Check boxes that the style sheet acts on: they work without a script."""
    by_confidence = [
        (str(kind), together([symbol(kind), str(kind)]), [f for f in new if f.confidence == kind])
        for kind in Confidence
    ]
    by_layer = [
        (str(kind), together([str(kind)]), [f for f in new if f.layer == kind]) for kind in Layer
    ]
    return tag(
        "form",
        choices("Confidence", by_confidence),
        choices("Layer", by_layer),
        tag("p", class_="shown", role="status", hidden=True),
        class_="filters",
        aria_label="Show findings",
    )


def choices(title: str, groups: list[tuple[str, Html, list[QueryFinding]]]) -> Html | None:
    there = [(name, label, found) for name, label, found in groups if found]
    return tag(
        "fieldset",
        tag("legend", title),
        *(
            tag(
                "label",
                tag("input", type="checkbox", id=f"show-{name}", checked=True, autocomplete="off"),
                tag("span", label, " ", tag("b", str(len(found)))),
            )
            for name, label, found in there
        ),
    )


def card(one: QueryFinding, result: Result, anchor: str, measures: Sequence[Measured] = ()) -> Html:
    return tag(
        "article",
        labels(one, costs=one.cost_ms > 0),
        tag("h3", one.message),
        *body(one, result, measures),
        id=anchor,
        class_=f"finding card {classes(one)}",
    )


def fold(one: QueryFinding, result: Result, anchor: str, measures: Sequence[Measured] = ()) -> Html:
    """The same, of which only the sentence is seen until somebody opens it."""
    return tag(
        "details",
        tag(
            "summary",
            tag("h3", one.message),
            tag("code", place(one) or one.rule, class_="where"),
        ),
        labels(one),
        *body(one, result, measures),
        id=anchor,
        class_=f"finding card {classes(one)}",
    )


def labels(one: QueryFinding, *, costs: bool = False) -> Html:
    cost = tag("span", "costs ", tag("b", duration(one.cost_ms)), class_="cost") if costs else None
    return tag(
        "p",
        badge(one.confidence),
        tag("span", str(one.layer), class_="layer"),
        tag("code", one.rule, class_="rule"),
        cost,
        class_="labels",
    )


def classes(one: QueryFinding) -> str:
    """By which the filters find it."""
    return f"{one.confidence} layer-{one.layer}"


def body(one: QueryFinding, result: Result, measures: Sequence[Measured]) -> list[Html | None]:
    lines = result.excerpts.get(one.fingerprint)
    return [
        tag("p", where(one), class_="place") if one.file or one.table or one.unit else None,
        excerpt(lines, one) if lines else None,
        listed([tag("span", line) for line in one.evidence], class_="evidence"),
        tag("details", tag("summary", "Statement"), code(one.shape, "Statement"))
        if one.shape
        else None,
        *(measured(each) for each in measures),
        fix(one),
        check(one),
    ]


def where(one: QueryFinding) -> Html:
    file = tag("code", place(one)) if one.file else None
    function = together(["in ", tag("code", one.function)]) if one.function else None
    return sentence(
        together([file or "", " " if file and function else "", function or ""]),
        together(["table ", tag("code", one.table)]) if one.table else None,
        together(["seen in ", tag("code", one.unit)]) if one.unit else None,
    )


def excerpt(lines: Excerpt, one: QueryFinding) -> Html:
    """The project's lines, numbered, the one that is meant marked by more than a colour."""
    indent = min(
        (len(line) - len(line.lstrip()) for line in lines.lines if line.strip()), default=0
    )
    rows = [
        source_line(number, line[indent:], marked=number == lines.marked)
        for number, line in enumerate(lines.lines, lines.first_line)
    ]
    label = f"{place(one)}, line {lines.marked} marked"
    return tag(
        "pre",
        tag("code", *rows),
        class_="excerpt",
        tabindex=0,
        role="region",
        aria_label=label,
    )


def source_line(number: int, text: str, *, marked: bool) -> Html:
    shown = text.replace("\n", "") or " "
    return tag(
        "span",
        tag("span", str(number), class_="line-number"),
        unseen("this line: ") if marked else None,
        tag("mark", shown) if marked else shown,
        "\n",
        class_="line marked" if marked else "line",
    )


def fix(one: QueryFinding) -> Html | None:
    if not one.fix:
        return None
    title = FIXES.get(one.fix.kind, "Fix")
    return copyable(title, one.fix.text, "fix")


def check(one: QueryFinding) -> Html | None:
    if not one.verify:
        return None
    return copyable("Check it", one.verify, "check")


def known(result: Result) -> Html | None:
    """What the baseline has, folded, a line each."""
    old = [one for one in result.findings if one.fingerprint in result.known]
    if not old:
        return None
    rows = [
        sentence(badge(one.confidence), tag("code", place(one) or one.rule), one.message)
        for one in old
    ]
    return section(
        "Known",
        "known",
        tag("details", tag("summary", counted(len(old), "known finding")), listed(rows)),
        lead="In the baseline: not counted, and no reason to fail.",
    )
