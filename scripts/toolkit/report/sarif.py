"""Findings in the format that code hosts read: SARIF 2.1.0 (OASIS)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from toolkit.report.finding import Finding, Verdict

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ERRORS = (Verdict.DATA_LOSS, Verdict.FAILS, Verdict.BLOCKS, Verdict.BREAKS_OLD_CODE)
WARNINGS = (Verdict.IRREVERSIBLE, Verdict.DRIFT)


def as_sarif(findings: Sequence[Finding], *, tool: str, root: Path) -> dict[str, Any]:
    """One run of `tool`; paths are relative to `root`, as an upload needs them."""
    rules = sorted({one.rule for one in findings})
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": tool, "rules": [{"id": rule} for rule in rules]}},
                "originalUriBaseIds": {"ROOT": {"uri": root.resolve().as_uri() + "/"}},
                "results": [result(one, rules, root) for one in findings],
            }
        ],
    }


def result(one: Finding, rules: Sequence[str], root: Path) -> dict[str, Any]:
    made: dict[str, Any] = {
        "ruleId": one.rule,
        "ruleIndex": rules.index(one.rule),
        "level": level(one.verdict),
        "message": {"text": " ".join([one.message, *(f"Seen: {line}." for line in one.evidence)])},
        "properties": {"verdict": str(one.verdict), "rewrite": one.rewrite},
    }
    if one.file:
        path = Path(one.file).resolve()
        inside = path.is_relative_to(root.resolve())
        shown = path.relative_to(root.resolve()) if inside else path
        artifact = {"uri": quote(shown.as_posix())}
        made["locations"] = [
            {
                "physicalLocation": {
                    "artifactLocation": artifact | ({"uriBaseId": "ROOT"} if inside else {}),
                    "region": {"startLine": one.line or 1},
                }
            }
        ]
    return made


def level(verdict: Verdict) -> str:
    if verdict in ERRORS:
        return "error"
    return "warning" if verdict in WARNINGS else "note"
