"""Findings in the format that code hosts read: SARIF 2.1.0 (OASIS)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from toolkit.report.finding import Finding, Verdict
from toolkit.report.masking import MASKER

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ERRORS = (Verdict.DATA_LOSS, Verdict.FAILS, Verdict.BLOCKS, Verdict.BREAKS_OLD_CODE)
WARNINGS = (Verdict.IRREVERSIBLE, Verdict.DRIFT)


@dataclass(frozen=True)
class Entry:
    """One result, of whichever tool."""

    rule: str
    level: str
    """`error`, `warning` or `note`."""
    message: str
    evidence: Sequence[str] = ()
    file: str | None = None
    """Absolute, or relative to the working directory."""
    line: int | None = None
    fingerprint: str = ""
    """The same in the next run, also after lines moved."""
    baseline_state: str = ""
    """`new` or `unchanged`, where there is something to compare with."""
    properties: Mapping[str, Any] = field(default_factory=dict)


def as_sarif(findings: Sequence[Finding], *, tool: str, root: Path) -> dict[str, Any]:
    """One run of `tool`; paths are relative to `root`, as an upload needs them."""
    entries = [
        Entry(
            rule=one.rule,
            level=level(one.verdict),
            message=one.message,
            evidence=one.evidence,
            file=one.file,
            line=one.line,
            properties={"verdict": str(one.verdict), "rewrite": one.rewrite},
        )
        for one in findings
    ]
    return as_run(entries, tool=tool, root=root)


def as_run(entries: Sequence[Entry], *, tool: str, root: Path) -> dict[str, Any]:
    """The whole document."""
    rules = sorted({one.rule for one in entries})
    document = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": tool, "rules": [{"id": rule} for rule in rules]}},
                "originalUriBaseIds": {"ROOT": {"uri": root.resolve().as_uri() + "/"}},
                "results": [result(one, rules, root) for one in entries],
            }
        ],
    }
    masked: dict[str, Any] = MASKER.data(document)
    return masked


def result(one: Entry, rules: Sequence[str], root: Path) -> dict[str, Any]:
    text = " ".join([one.message, *(f"Seen: {line}." for line in one.evidence)])
    made: dict[str, Any] = {
        "ruleId": one.rule,
        "ruleIndex": rules.index(one.rule),
        "level": one.level,
        # `[words](target)` would be a link, and what was seen may hold a stranger's.
        "message": {"text": text.replace("](", "] (")},
        "properties": dict(one.properties),
    }
    if one.fingerprint:
        made["partialFingerprints"] = {"finding/v1": one.fingerprint}
    if one.baseline_state:
        made["baselineState"] = one.baseline_state
    if one.file:
        made["locations"] = [
            {
                "physicalLocation": {
                    "artifactLocation": artifact(Path(one.file), root),
                    "region": {"startLine": one.line or 1},
                }
            }
        ]
    return made


def artifact(file: Path, root: Path) -> dict[str, str]:
    path, root = file.resolve(), root.resolve()
    if not path.is_relative_to(root):
        return {"uri": path.as_uri()}
    return {"uri": quote(path.relative_to(root).as_posix()), "uriBaseId": "ROOT"}


def level(verdict: Verdict) -> str:
    if verdict in ERRORS:
        return "error"
    return "warning" if verdict in WARNINGS else "note"
