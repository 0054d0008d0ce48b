"""Verdicts: what the trace of a migration means for a service that is running.

`findings_of(trace)` is the way in. Facts come from the trace (`toolkit/database/trace`),
one module a dialect judges them, `operations.py` adds what only the file says, `squawk.py`
a second opinion where squawk is installed, and `allow.py` takes away what a comment in the
file allows with a reason.
"""

import importlib
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.migration.review.allow import apply_comments
from toolkit.migration.review.findings import unique
from toolkit.migration.review.one_transaction import findings_of_set
from toolkit.migration.review.operations import findings_of_file
from toolkit.migration.review.squawk import Squawk, find_squawk, second_opinion
from toolkit.report.finding import Finding


@dataclass(frozen=True)
class Review:
    """What a trace comes to."""

    findings: list[Finding]
    """The worst first, then by revision and line."""
    notes: list[str] = field(default_factory=list)
    """What was not looked at, in words: one line each."""


def findings_of(
    trace: Mapping[str, Any],
    sources: Mapping[str, str] | None = None,
    *,
    squawk: Squawk | None = None,
    extra: Sequence[Finding] = (),
    before: Sequence[Mapping[str, Any]] = (),
) -> list[Finding]:
    """Findings about every revision of a trace.

    `sources` holds the text of revision files by path, for those that lie elsewhere by
    now; others are read. `extra` are findings of others (round trip, catalog), so that the
    comments in the files count for them, too. `before` is what a trace says of the revisions
    that come before these.
    """
    texts = dict(sources or {})
    for revision in trace["revisions"]:
        path = Path(revision["file"])
        if revision["file"] not in texts and path.is_file():
            with tokenize.open(path) as file:  # minds a `coding:` comment, as Python does
                texts[revision["file"]] = file.read()
    judge = importlib.import_module(f"toolkit.migration.review.{trace['dialect']}")
    found: list[Finding] = []
    for revision in trace["revisions"]:
        found += judge.findings_of_revision(revision)
        found += findings_of_file(revision, texts.get(revision["file"], ""))
    found += judge.findings_of_run(trace)
    if trace["dialect"] == "postgresql":
        found += findings_of_set(trace, before)
    if squawk is not None and trace["dialect"] == "postgresql":
        found = second_opinion(trace, found, squawk)
    found = apply_comments(unique([*found, *extra]), texts)
    return sorted(found, key=lambda one: one.verdict.rank)


def review(
    trace: Mapping[str, Any],
    sources: Mapping[str, str] | None = None,
    extra: Sequence[Finding] = (),
    before: Sequence[Mapping[str, Any]] = (),
) -> Review:
    """`findings_of`, with squawk where it is installed and one line where it is not."""
    if trace["dialect"] != "postgresql":
        return Review(findings_of(trace, sources, extra=extra))
    squawk, note = find_squawk()
    found = findings_of(trace, sources, squawk=squawk, extra=extra, before=before)
    return Review(found, [note] if note else [])
