"""HTML that is safe by construction: a plain string is always escaped."""

import html
from collections.abc import Iterable

from toolkit.queries.report.words import shown

VOID = {"meta", "link", "input"}


class Html(str):
    """Markup. Joining or formatting it gives a plain string, which would be escaped again."""

    __slots__ = ()


Child = Html | str | None


def tag(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Html:
    """`tag("a", "words", href="#x", class_="link")`; attributes that are None or False are
    left out, `_` in a name is `-`.
    """
    shown = "".join(
        attribute(key.rstrip("_").replace("_", "-"), value)
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Html(f"<{name}{shown}>")
    return Html(f"<{name}{shown}>{together(children)}</{name}>")


def attribute(name: str, value: str | int) -> str:
    return f" {name}" if value is True else f' {name}="{escaped(str(value))}"'


def together(children: Iterable[Child]) -> Html:
    return Html(
        "".join(
            one if isinstance(one, Html) else escaped(one) for one in children if one is not None
        )
    )


def escaped(text: str) -> str:
    return html.escape(shown(text), quote=True)


def verbatim(name: str, text: str) -> Html:
    """A style or script of ours, which the page's policy knows by its exact text."""
    return Html(f"<{name}>{text}</{name}>")
