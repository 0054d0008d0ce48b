"""A result in the format that code hosts read (SARIF 2.1.0)."""

from pathlib import Path
from typing import Any

from toolkit.queries.finding import Confidence, QueryFinding
from toolkit.queries.result import Result
from toolkit.report.sarif import Entry, as_run

TOOL = "optimize-queries.sh"
LEVELS = {
    Confidence.PROVED: "error",
    Confidence.MEASURED: "warning",
    Confidence.SUSPECTED: "note",
}
ROOT_FILES = ("pyproject.toml", "setup.cfg", "requirements.txt", "alembic.ini", "README.md")


def as_sarif(result: Result, root: Path) -> dict[str, Any]:
    """One run with all findings of `result`; paths are relative to `root`, the project."""
    stand_in = next((root / name for name in ROOT_FILES if (root / name).is_file()), root)
    entries = [entry(one, result, root, stand_in) for one in result.findings]
    return as_run(entries, tool=TOOL, root=root)


def entry(one: QueryFinding, result: Result, root: Path, stand_in: Path) -> Entry:
    # Without a place GitHub refuses the whole file (codeql-action#1738). What is known of the
    # database alone stands at a file of the project's root instead.
    known = one.fingerprint in result.known
    return Entry(
        rule=one.rule,
        level=LEVELS[one.confidence],
        message=one.message,
        evidence=one.evidence,
        file=str(root / one.file) if one.file else str(stand_in),
        line=one.line if one.file else None,
        fingerprint=one.fingerprint,
        # Which are new can be said only where there is a baseline.
        baseline_state=("unchanged" if known else "new") if result.known else "",
        properties={
            "confidence": str(one.confidence),
            "layer": str(one.layer),
            "unit": one.unit,
            "table": one.table,
            "fix": one.fix.text if one.fix else "",
            "verify": one.verify,
        },
    )
