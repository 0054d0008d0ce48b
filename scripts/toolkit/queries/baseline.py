"""`--baseline`: what was known before, so that a build server fails for what is new."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toolkit.files.writing import NotWritable, write_output
from toolkit.migration.refusal import Refusal
from toolkit.queries.finding import QueryFinding
from toolkit.report.endings import ending_of
from toolkit.report.exits import Exit
from toolkit.report.masking import MASKER

VERSION = 1


def read_baseline(path: Path) -> frozenset[str]:
    """The fingerprints in it. Raises Refusal for a file that is none."""
    document = read_json(path, "--baseline", "Make one with --write-baseline FILE.")
    try:
        if document["version"] != VERSION:
            raise KeyError
        return frozenset(one["fingerprint"] for one in document["findings"])
    except (KeyError, TypeError):
        raise Refusal(
            "baseline",
            Exit.USAGE,
            f"{path} is no baseline of this version.",
            "Make one with --write-baseline FILE.",
        ) from None


def as_baseline(findings: Iterable[QueryFinding]) -> str:
    """Also says in words what is known, for who reads it in a review. Sorted: it gets committed."""
    known = [
        {"fingerprint": one.fingerprint, "rule": one.rule, "file": one.file, "message": one.message}
        for one in findings
    ]
    known.sort(key=lambda one: (one["rule"], one["file"] or "", one["fingerprint"]))
    document = MASKER.data({"version": VERSION, "findings": known})
    return json.dumps(document, indent=2) + "\n"


def read_json(path: Path, option: str, remedy: str) -> dict[str, Any]:
    """The object in a file that an option names. Raises Refusal."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text"
        raise Refusal(
            "file", Exit.USAGE, f"{option} {path} cannot be read: {reason}.", remedy
        ) from None
    except json.JSONDecodeError as error:
        raise Refusal(
            "file", Exit.USAGE, f"{option} {path} is not JSON (line {error.lineno}).", remedy
        ) from None
    if not isinstance(document, dict):
        raise Refusal("file", Exit.USAGE, f"{option} {path} is another kind of file.", remedy)
    return document


def write_whole(path: Path, text: str) -> None:
    """In one step: who reads it, or kills the run, finds the old file or the new one."""
    try:
        write_output(path, text)
    except (OSError, NotWritable) as error:
        ending = ending_of(error) if isinstance(error, OSError) else None
        reason = getattr(error, "strerror", None) or str(error)
        raise Refusal(
            "file",
            ending.code if ending else Exit.USAGE,
            f"{path} cannot be written: {reason}.",
            "Name another file.",
        ) from None
