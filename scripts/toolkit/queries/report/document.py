"""A result as data for `--json`: keys in a fixed order, nothing cut, no parameter's value."""

import math
from dataclasses import is_dataclass
from enum import StrEnum
from typing import Any

from toolkit.queries.finding import QueryFinding
from toolkit.queries.report.words import counts
from toolkit.queries.result import Result, Route
from toolkit.report.masking import MASKER


def as_document(result: Result) -> dict[str, Any]:
    """Everything in `result`; `json.dumps` takes it as it is."""
    document = {
        "title": result.title,
        "command": result.command,
        "database": result.database,
        "counts": {str(confidence): number for confidence, number in counts(result.new).items()},
        "layers": plain(result.layers),
        "findings": [finding(one, result) for one in result.findings],
        "routes": [route(one) for one in result.routes],
        "over_budget": [route(one) for one in result.over_budget],
        "measured": plain(result.measured),
        "changes": plain(result.changes),
        "notes": list(result.notes),
    }
    masked: dict[str, Any] = MASKER.data(document)
    return masked


def finding(one: QueryFinding, result: Result) -> dict[str, Any]:
    return {
        **values(one),
        "fingerprint": one.fingerprint,
        "known": one.fingerprint in result.known,
        "excerpt": plain(result.excerpts.get(one.fingerprint)),
    }


def route(one: Route) -> dict[str, Any]:
    return values(one) | {"failed": dict(one.failed)}


def values(one: object) -> dict[str, object]:
    """Of a dataclass, in the order of its fields."""
    return {name: plain(value) for name, value in vars(one).items()}


def plain(value: object) -> object:
    """As JSON has it. Numbers are rounded to what a clock can tell; there is no infinity."""
    if is_dataclass(value):
        return values(value)
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return str(value) if isinstance(value, StrEnum) else value
