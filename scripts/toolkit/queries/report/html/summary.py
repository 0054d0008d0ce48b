"""The page's head: what was found, what it costs most, and what was looked at."""

from toolkit.queries.finding import QueryFinding
from toolkit.queries.report.html.parts import section, symbol
from toolkit.queries.report.html.tags import Html, tag, together
from toolkit.queries.report.words import (
    MEANINGS,
    STRENGTHS,
    counts,
    duration,
    most_expensive,
    place,
    verdict,
)
from toolkit.queries.result import LayerState, Result


def summary(result: Result, anchors: dict[int, str]) -> Html:
    """`anchors` has the id of each finding's element, by the finding's `id()`."""
    return together([title(result), tiles(result), costly(result, anchors)])


def title(result: Result) -> Html:
    return tag(
        "header",
        tag("p", "What the queries cost", class_="eyebrow"),
        tag("h1", result.title),
        tag(
            "dl",
            fact("Database", result.database or "none was reached"),
            fact("Command", tag("code", result.command)),
            class_="facts",
        ),
        tag("p", verdict(result), class_="verdict"),
    )


def fact(name: str, value: str | Html) -> Html:
    return tag("div", tag("dt", name), tag("dd", value))


def tiles(result: Result) -> Html:
    return tag(
        "ul",
        *(
            tag(
                "li",
                tag("span", str(number), class_="number"),
                tag("span", symbol(confidence), str(confidence), class_="name"),
                tag("span", MEANINGS[confidence], class_="meaning"),
                class_=f"tile {confidence}",
            )
            for confidence, number in counts(result.new).items()
        ),
        class_="tiles",
        aria_label="New findings by confidence",
    )


def costly(result: Result, anchors: dict[int, str]) -> Html | None:
    worst = most_expensive(result.new)
    if not worst:
        return None
    return section(
        "The most expensive",
        "expensive",
        tag("ol", *(row(one, anchors[id(one)]) for one in worst), class_="costly"),
    )


def row(one: QueryFinding, anchor: str) -> Html:
    where = place(one)
    return tag(
        "li",
        tag("span", duration(one.cost_ms), class_="cost"),
        tag(
            "span",
            tag("a", one.message, href=f"#{anchor}"),
            tag("span", where, class_="where") if where else None,
        ),
    )


def layers(result: Result) -> Html | None:
    if not result.layers:
        return None
    return section(
        "What was looked at",
        "layers",
        tag("ol", *(layer(state) for state in result.layers), class_="layers"),
        lead="Each layer has a strength of its own; one that did not run says why.",
    )


def layer(state: LayerState) -> Html:
    took = duration(state.seconds * 1000) if state.ran and state.seconds else ""
    return tag(
        "li",
        tag("span", state.layer.capitalize(), class_="name"),
        tag("span", "ran" if state.ran else "did not run", class_="state"),
        tag("span", took, class_="took"),
        tag("span", state.words, class_="words"),
        tag("span", STRENGTHS[state.layer], class_="strength") if state.ran else None,
        class_="ran" if state.ran else "left-out",
    )
