"""Small pieces that several sections of the page share."""

import textwrap

from toolkit.queries.finding import Confidence
from toolkit.queries.report.html.tags import Child, Html, tag, together
from toolkit.queries.report.words import shown

# A filled, a half and an empty circle: told apart without colours.
SHAPES = {
    Confidence.PROVED: '<circle cx="6" cy="6" r="5" fill="currentColor"/>',
    Confidence.MEASURED: '<path d="M6 1a5 5 0 0 1 0 10z" fill="currentColor"/>',
    Confidence.SUSPECTED: "",
}


def badge(confidence: Confidence) -> Html:
    return tag("span", symbol(confidence), confidence.capitalize(), class_=f"badge {confidence}")


def symbol(confidence: Confidence) -> Html:
    ring = '<circle cx="6" cy="6" r="5" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    return Html(
        f'<svg class="symbol" viewBox="0 0 12 12" aria-hidden="true">{ring}'
        f"{SHAPES[confidence]}</svg>"
    )


def meter(share: float, kind: str = "", *, mark: float | None = None) -> Html:
    """A bar of which `share` (0 to 1) is filled; `mark` is a limit on it.

    SVG and not a styled box: the page's policy forbids styles at elements, and browsers
    print it.
    """
    share = min(max(share, 0.0), 1.0)
    # What is there at all is to be seen.
    filled = max(share * 100, 0.6) if share > 0 else 0
    children = [
        tag("rect", class_="track", width="100%", height="100%"),
        tag("rect", class_=f"fill {kind}".rstrip(), width=f"{filled:.2f}%", height="100%"),
    ]
    if mark is not None and 0 <= mark <= 1:
        children.append(
            tag("rect", class_="limit", x=f"{mark * 100:.2f}%", width="2", height="100%")
        )
    return tag("svg", *children, class_="meter", aria_hidden="true", focusable="false")


def code(text: str, label: str) -> Html:
    """A block in a box that scrolls by itself, by the keyboard too; `label` says what it is."""
    text = shown(textwrap.dedent(text).strip("\n"))
    return tag("pre", tag("code", text), tabindex=0, role="region", aria_label=label)


def copyable(title: str, text: str, kind: str) -> Html:
    """The same under a heading, with a button that copies it."""
    # Hidden until the script that makes it work has run.
    button = tag("button", "Copy", type="button", class_="copy", hidden=True)
    return tag("div", tag("h4", title), code(text, title), button, class_=f"copyable {kind}")


def section(title: str, name: str, *children: Child, lead: Child = None) -> Html:
    """A part of the page, which the navigation leads to by `name`."""
    return tag(
        "section",
        tag("h2", title, id=name),
        tag("p", lead, class_="lead") if lead else None,
        *children,
        aria_labelledby=name,
    )


def unseen(text: str) -> Html:
    """For who hears the page instead of seeing it."""
    return tag("span", text, class_="unseen")


def listed(items: list[Html], **attributes: str) -> Html | None:
    return tag("ul", *(tag("li", one) for one in items), **attributes) if items else None


def sentence(*parts: Child) -> Html:
    """The parts that are there, with a middle dot between them."""
    there = [one for one in parts if one]
    dot = tag("span", " · ", class_="dot")
    return together(
        piece for number, one in enumerate(there) for piece in ((dot, one) if number else (one,))
    )
