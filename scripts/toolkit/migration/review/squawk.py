"""A second opinion by squawk (PyPI: squawk-cli), where it is installed.

squawk reads the SQL; the trace has seen what it did. So squawk never overrules the trace:
where both find the same, its name is put to our finding and the verdict is ours; what it
fears of a statement that the trace has proved harmless is dropped. Rules about what no
trace shows (types, names) come through as `style`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.database.folders import own_folder
from toolkit.migration.review.allow import SQUAWK_NAMES
from toolkit.migration.review.findings import Statement, make
from toolkit.report.finding import Finding, Verdict

VERSION = "2.70.0"
SECONDS = 30
# Style that Alembic's own output goes against, and what our frame around it provides.
EXCLUDED = (
    "prefer-bigint-over-int", "prefer-bigint-over-smallint", "prefer-text-field",
    "prefer-robust-stmts", "prefer-identity", "require-timeout-settings", "transaction-nesting",
    "syntax-error", "ban-uncommitted-transaction",
)  # fmt: skip
STYLE = {
    "ban-char-field": "char(n) pads with blanks: use text or varchar.",
    "prefer-timestamp-tz": "timestamp without time zone forgets the zone: use timestamptz.",
    "identifier-too-long": "PostgreSQL cuts names off after 63 bytes.",
    "ban-create-domain-with-constraint": "A domain's constraint can't be changed without a scan.",
}


@dataclass(frozen=True)
class Squawk:
    path: str
    version: str


class SquawkFailed(RuntimeError):
    """squawk ended without an answer; its last line."""


def find_squawk() -> tuple[Squawk | None, str]:
    """squawk in this environment or on PATH, and a line to print when all is not as it should."""
    beside = Path(sys.executable).with_name("squawk.exe" if os.name == "nt" else "squawk")
    path = str(beside) if beside.is_file() else shutil.which("squawk")
    missing = f"squawk is not installed: its second opinion is left out (squawk-cli=={VERSION})"
    if path is None:
        return None, missing
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"squawk does not run: its second opinion is left out ({error})"
    found = re.search(r"\d+\.\d+\.\d+", said)
    version = found.group() if found else said.strip()
    note = "" if version == VERSION else f"squawk is {version}, these rules know {VERSION}"
    return Squawk(path, version), note


def second_opinion(
    trace: Mapping[str, Any], findings: Sequence[Finding], squawk: Squawk
) -> list[Finding]:
    """`findings`, with squawk's agreement as evidence, and what it adds."""
    result = list(findings)
    upgrades = [one for one in trace["revisions"] if one["direction"] == "upgrade"]
    try:
        said = opinions(upgrades, squawk)
    except (SquawkFailed, OSError, subprocess.SubprocessError, ValueError) as error:
        words = f"squawk {squawk.version} gave no second opinion: {error}"
        return [*result, Finding("squawk-failed", Verdict.STYLE, words, source="squawk")]
    for index, rule, statement in said:
        revision = upgrades[index]
        ours = SQUAWK_NAMES.get(rule, {rule})
        same = [
            number
            for number, one in enumerate(result)
            if one.revision == revision["revision"]
            and one.line == statement["line"]
            and one.rule in ours
        ]
        if same:
            one = result[same[0]]
            words = f"squawk {squawk.version} agrees: {rule}"
            if words not in one.evidence:
                result[same[0]] = replace(one, evidence=(*one.evidence, words))
        elif rule in STYLE:
            result.append(
                make(rule, Verdict.STYLE, STYLE[rule], revision, statement, source="squawk")
            )
    return result


def opinions(
    revisions: Sequence[Mapping[str, Any]], squawk: Squawk
) -> list[tuple[int, str, Statement]]:
    """(index of the revision, squawk's rule, the statement); one run for all revisions."""
    with own_folder() as folder:
        starts: list[list[tuple[int, Statement]]] = []
        names = []
        for number, revision in enumerate(revisions):
            text, lines = script_of(revision)
            path = Path(folder, f"{number}.sql")
            path.write_text(text, encoding="utf-8")
            names.append(str(path))
            starts.append(lines)
        if not names:
            return []
        # Rules are left out below: --exclude ends squawk where it does not know one of them.
        ended = subprocess.run(
            [squawk.path, "--reporter", "json", *names],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,  # 1 means that it found something
        )
        if ended.returncode not in (0, 1):
            raise SquawkFailed((ended.stderr.strip().splitlines() or ["no reason given"])[-1])
        found = json.loads(ended.stdout or "[]")
    result = []
    for one in found:
        number = int(Path(one["file"]).stem)
        line = int(one["line"])  # from 0 in this format
        before = [statement for start, statement in starts[number] if start <= line]
        if before and one["rule_name"] not in EXCLUDED:
            result.append((number, str(one["rule_name"]), before[-1]))
    return result


def script_of(revision: Mapping[str, Any]) -> tuple[str, list[tuple[int, Statement]]]:
    """The revision's SQL as one transaction, and the line (from 0) where each statement begins.

    One frame around all: without it squawk does not see CONCURRENTLY in a transaction, and
    Alembic's own COMMIT and BEGIN around autocommit blocks confuse it.
    """
    lines = ["BEGIN;", "SET LOCAL lock_timeout = '4s';", "SET LOCAL statement_timeout = '60s';"]
    starts: list[tuple[int, Statement]] = []
    inside = True
    for statement in revision["statements"]:
        if statement["in_transaction"] != inside:
            inside = statement["in_transaction"]
            lines.append("BEGIN;" if inside else "COMMIT;")
        starts.append((len(lines), statement))
        lines += (statement["sql"].rstrip().rstrip(";") + ";").split("\n")
    if inside:
        lines.append("COMMIT;")
    return "\n".join(lines) + "\n", starts
