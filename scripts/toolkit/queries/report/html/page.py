"""The page: its policy, its style, its sections in the order in which they are read."""

import base64
import hashlib
from pathlib import Path

from toolkit.queries.report.html.findings import findings, known
from toolkit.queries.report.html.parts import listed, section
from toolkit.queries.report.html.plans import others, pair
from toolkit.queries.report.html.routes import changes, routes
from toolkit.queries.report.html.summary import layers, summary
from toolkit.queries.report.html.tags import Html, tag, verbatim
from toolkit.queries.result import Result

HERE = Path(__file__).parent


def as_html(result: Result) -> str:
    """A whole document for one file in UTF-8."""
    style = (HERE / "style.css").read_text(encoding="utf-8")
    script = (HERE / "script.js").read_text(encoding="utf-8")
    page = tag("html", head(result, style, script), body(result, script), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def head(result: Result, style: str, script: str) -> Html:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"Query report: {result.title}"),
        # Or a browser asks a server for one.
        tag("link", rel="icon", href="data:,"),
        verbatim("style", style),
    )


def policy(style: str, script: str) -> str:
    """Nothing is loaded, and nothing runs but our own text, whatever a statement holds."""
    return "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            f"style-src '{digest(style)}'",
            f"script-src '{digest(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def body(result: Result, script: str) -> Html:
    anchors = {id(one): f"finding-{number}" for number, one in enumerate(result.findings, 1)}
    measures, rest = pair(result)
    parts = {
        "changes": changes(result),
        "requests": routes(result),
        "findings": findings(result, anchors, measures),
        "plans": others(rest),
        "known": known(result),
        "layers": layers(result),
        "notes": notes(result),
    }
    return tag(
        "body",
        tag(
            "main",
            summary(result, anchors),
            navigation([name for name, part in parts.items() if part]),
            *parts.values(),
        ),
        verbatim("script", script),
    )


def navigation(names: list[str]) -> Html:
    titles = {"changes": "Before and after", "plans": "Other plans"}
    links = [tag("a", titles.get(one, one.capitalize()), href=f"#{one}") for one in names]
    return tag("nav", listed(links), aria_label="Sections")


def notes(result: Result) -> Html | None:
    if not result.notes:
        return None
    return section("Notes", "notes", listed([tag("span", one) for one in result.notes]))
