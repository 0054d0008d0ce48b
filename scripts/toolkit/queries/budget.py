"""`--budget`: how many statements a route may issue."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from toolkit.migration.refusal import Refusal
from toolkit.queries.result import Route
from toolkit.report.exits import Exit


def read_budgets(words: Iterable[str]) -> dict[str, int]:
    """`GET /posts=3`, or `@FILE` with one a line; `*` stands for every other route.

    Raises Refusal.
    """
    budgets: dict[str, int] = {}
    for word in words:
        for line, place in lines_of(word):
            route, equals, number = line.rpartition("=")
            if not equals or not route.strip() or not number.strip().isdecimal():
                raise Refusal(
                    "budget",
                    Exit.USAGE,
                    f"{place}: {line!r} is no budget.",
                    'Write --budget "GET /posts/{post_id}=3", with the route as the report has it.',
                )
            budgets[route.strip()] = int(number)
    return budgets


def lines_of(word: str) -> list[tuple[str, str]]:
    if not word.startswith("@"):
        return [(word, "--budget")]
    path = Path(word[1:])
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise Refusal(
            "budget", Exit.USAGE, f"--budget {word}: the file cannot be read.", "See --help."
        ) from None
    lines = ((line.strip(), f"{path}:{number}") for number, line in enumerate(text.split("\n"), 1))
    return [(line, place) for line, place in lines if line and not line.startswith("#")]


def with_budgets(
    routes: Iterable[Route], budgets: Mapping[str, int]
) -> tuple[tuple[Route, ...], tuple[str, ...]]:
    """The routes with what they may issue, and the budgets that no route was seen for."""
    made = tuple(
        replace(route, budget=budgets.get(route.name, budgets.get("*"))) for route in routes
    )
    seen = {route.name for route in made} | {"*"}
    return made, tuple(name for name in budgets if name not in seen)


def over_budget(routes: Iterable[Route]) -> tuple[Route, ...]:
    return tuple(
        route for route in routes if route.budget is not None and route.statements > route.budget
    )
