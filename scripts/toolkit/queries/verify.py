"""`--verify`: the same run again, beside what an earlier report said."""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from toolkit.migration.refusal import Refusal
from toolkit.queries.baseline import read_json
from toolkit.queries.finding import Layer
from toolkit.queries.result import Change, Route
from toolkit.report.exits import Exit
from toolkit.report.masking import HIDDEN

REMEDY = "Name a file that --json wrote."
# What says which run it is; the rest may differ between the two.
REPEATED = (
    "run",
    "app",
    "requests",
    "headers",
    "overrides",
    "url_env",
    "url",
    "base",
    "url_from",
    "layers",
)


def asked(options: argparse.Namespace) -> dict[str, Any]:
    """What a report keeps of its command line, to be done again."""
    made = {name: getattr(options, name) for name in REPEATED}
    made["layers"] = [str(layer) for layer in options.layers]
    # Paths in full: the other run may be started elsewhere.
    for name in ("requests", "headers"):
        given = getattr(options, name)
        made[name] = str(given.resolve()) if given else None
    made["project"] = str(options.project.resolve())
    return made


def read_report(path: Path) -> dict[str, Any]:
    """An earlier report. Raises Refusal for another file."""
    document = read_json(path, "--verify", REMEDY)
    if not isinstance(document.get("asked"), dict) or "findings" not in document:
        raise Refusal("verify", Exit.USAGE, f"{path} is no report of this program.", REMEDY)
    return document


def options_of(before: Mapping[str, Any], options: argparse.Namespace) -> argparse.Namespace:
    """The command line of the report, with the outputs of this one."""
    given = [name for name in ("run", "app", "requests") if getattr(options, name) is not None]
    if given:
        raise Refusal(
            "options",
            Exit.USAGE,
            f"--verify repeats what the report did, so there is no use for --{given[0]}.",
            "Leave one of the two out.",
        )
    if any(HIDDEN in str(before["asked"].get(name)) for name in REPEATED):
        raise Refusal(
            "options",
            Exit.USAGE,
            "The report's command held a secret, which no report keeps: it cannot be repeated.",
            "Run it again with the secret in a variable of the shell, and --json.",
        )
    made = argparse.Namespace(**vars(options))
    kept = before["asked"]
    for name in REPEATED:
        setattr(made, name, kept.get(name))
    made.layers = tuple(layer for layer in Layer if layer in (kept.get("layers") or list(Layer)))
    made.requests = Path(kept["requests"]) if kept.get("requests") else None
    made.headers = Path(kept["headers"]) if kept.get("headers") else None
    if options.project is None and kept.get("project"):
        made.project = Path(kept["project"])
    return made


def changes(before: Mapping[str, Any], routes: Iterable[Route]) -> tuple[Change, ...]:
    """Routes that both runs have, those first that got better most."""
    old = {one["name"]: one for one in before.get("routes", ())}
    made = [
        Change(
            route.name,
            (int(old[route.name]["statements"]), route.statements),
            (float(old[route.name]["database_ms"]), route.database_ms),
        )
        for route in routes
        if route.name in old
    ]
    made.sort(key=lambda one: one.statements[1] - one.statements[0])
    return tuple(made)


def gone(before: Mapping[str, Any], now: Iterable[str]) -> list[Mapping[str, Any]]:
    """Findings of the report that this run does not have; `now` are its fingerprints."""
    there = set(now)
    return [one for one in before["findings"] if one["fingerprint"] not in there]
