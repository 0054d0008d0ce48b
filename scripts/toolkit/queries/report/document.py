"""A result as data for `--json`: keys in a fixed order, nothing cut, no parameter's value."""

import math
from dataclasses import asdict
from typing import Any

from toolkit.queries.finding import Fix, Index, Loader, QueryFinding
from toolkit.queries.plans.measure import Measured, Node, Timing
from toolkit.queries.report.words import counts
from toolkit.queries.result import Change, Excerpt, LayerState, Result, Route
from toolkit.report.masking import MASKER


def as_document(result: Result) -> dict[str, Any]:
    """Everything in `result`; `json.dumps` takes it as it is."""
    document = {
        "title": result.title,
        "command": result.command,
        "database": result.database,
        "counts": {str(confidence): number for confidence, number in counts(result.new).items()},
        "layers": [layer(one) for one in result.layers],
        "findings": [finding(one, result) for one in result.findings],
        "routes": [route(one) for one in result.routes],
        "over_budget": [route(one) for one in result.over_budget],
        "measured": [measured(one) for one in result.measured],
        "changes": [change(one) for one in result.changes],
        "notes": list(result.notes),
    }
    masked: dict[str, Any] = MASKER.data(document)
    return masked


def layer(one: LayerState) -> dict[str, Any]:
    return {
        "layer": str(one.layer),
        "ran": one.ran,
        "words": one.words,
        "seconds": number(one.seconds),
    }


def finding(one: QueryFinding, result: Result) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "layer": str(one.layer),
        "confidence": str(one.confidence),
        "message": one.message,
        "evidence": list(one.evidence),
        "file": one.file,
        "line": one.line,
        "function": one.function,
        "unit": one.unit,
        "table": one.table,
        "shape": one.shape,
        "fix": fix(one.fix),
        "verify": one.verify,
        "cost_ms": number(one.cost_ms),
        "fingerprint": one.fingerprint,
        "known": one.fingerprint in result.known,
        "excerpt": excerpt(result.excerpts.get(one.fingerprint)),
    }


def fix(one: Fix | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "kind": one.kind,
        "text": one.text,
        "index": plain(one.index) if one.index else None,
        "loader": plain(one.loader) if one.loader else None,
    }


def plain(one: Index | Loader) -> dict[str, Any]:
    """With lists instead of tuples, as JSON gives them back."""
    values = asdict(one).items()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values}


def excerpt(one: Excerpt | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"first_line": one.first_line, "marked": one.marked, "lines": list(one.lines)}


def route(one: Route) -> dict[str, Any]:
    return {
        "name": one.name,
        "calls": one.calls,
        "statements": one.statements,
        "database_ms": number(one.database_ms),
        "ms": number(one.ms),
        "rows": one.rows,
        "budget": one.budget,
        "failed": dict(one.failed),
    }


def measured(one: Measured) -> dict[str, Any]:
    return {
        "shape": one.shape,
        "file": one.file,
        "line": one.line,
        "unit": one.unit,
        "before": timing(one.before),
        "after": timing(one.after) if one.after else None,
        "index": plain(one.index) if one.index else None,
        "ddl": one.ddl,
        "size_bytes": one.size_bytes,
        "build_ms": number(one.build_ms),
        "write_ratio": number(one.write_ratio),
        "estimated_cost": [number(cost) for cost in one.estimated_cost or ()] or None,
        "note": one.note,
    }


def timing(one: Timing) -> dict[str, Any]:
    return {"ms": number(one.ms), "buffers": one.buffers, "plan": node(one.plan)}


def node(one: Node) -> dict[str, Any]:
    return {
        "label": one.label,
        "rows": number(one.rows),
        "estimated": number(one.estimated),
        "ms": number(one.ms),
        "cost": number(one.cost),
        "buffers": one.buffers,
        "notes": list(one.notes),
        "children": [node(child) for child in one.children],
    }


def change(one: Change) -> dict[str, Any]:
    return {
        "name": one.name,
        "statements": list(one.statements),
        "database_ms": [number(ms) for ms in one.database_ms],
    }


def number(value: float | None) -> float | None:
    """Rounded to what a clock can tell; JSON has neither infinity nor NaN."""
    return round(value, 4) if value is not None and math.isfinite(value) else None
