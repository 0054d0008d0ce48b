"""Do what the command line asked for, and print what came of it."""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.database.urls import TITLES, kind_of
from toolkit.migration.generate import Wanted
from toolkit.migration.refusal import Refusal
from toolkit.migration.situation import choose_setup
from toolkit.project.facts import Project
from toolkit.queries.baseline import as_baseline, read_baseline, write_whole
from toolkit.queries.budget import over_budget, read_budgets, with_budgets
from toolkit.queries.capture.record import Capture
from toolkit.queries.examination import Seen, examine, with_verify
from toolkit.queries.finding import Confidence, Layer, QueryFinding
from toolkit.queries.fix import Written, indexes_of, write_revision
from toolkit.queries.patches import patches
from toolkit.queries.report.document import as_document
from toolkit.queries.report.html import as_html
from toolkit.queries.report.progress import Progress
from toolkit.queries.report.sarif import as_sarif
from toolkit.queries.report.text import as_text
from toolkit.queries.result import Excerpt, Result
from toolkit.queries.verify import asked, changes, gone
from toolkit.report.door import put_json
from toolkit.report.exits import Exit
from toolkit.report.quoting import script

NEAR = 3
"""Lines of source before and after the one that is meant."""


def optimize_and_show(
    project: Project, options: argparse.Namespace, before: Mapping[str, Any] | None
) -> Exit:
    """Raises Refusal, QueriesError or DatabaseError."""
    budgets = read_budgets(options.budget)
    known = read_baseline(options.baseline) if options.baseline else frozenset()
    if options.fix is not None and project.alembic:
        choose_setup(project)  # refused now, not after minutes of watching
    with Progress() as progress:
        seen = examine(project, options, progress.step)
        written = fix(project, options, seen, progress.step)
    routes, unseen = with_budgets(seen.routes, budgets)
    findings = with_verify(seen.findings, command_line(options))
    notes = [
        *seen.notes,
        *(f"no request to {name} was seen: its budget says nothing" for name in unseen),
    ]
    if before is not None:
        notes += gone_and_left(before, seen.everything)
    if options.only:
        findings = only(findings, options.only)
    result = Result(
        title=project.root.name,
        command=command_line(options),
        database=seen.database or name_of(seen),
        layers=tuple(seen.layers),
        findings=tuple(findings),
        routes=tuple(sorted(routes, key=lambda one: -one.database_ms)),
        measured=seen.measured,
        excerpts=excerpts(findings, project.root),
        known=known,
        over_budget=over_budget(routes),
        changes=changes(before, routes) if before is not None else (),
        notes=tuple(dict.fromkeys(notes)),
    )
    if options.write_baseline:
        write_whole(options.write_baseline, as_baseline(result.findings))
    if options.html:
        write_whole(options.html, as_html(result))
    show(result, options, project, written)
    code = seen.away or exit_of(result, options)
    return Exit.RUN_FAILED if code is Exit.OK and failed_as_a_whole(seen.capture) else code


def failed_as_a_whole(capture: Capture | None) -> bool:
    """Did the command fail, and nothing in it end well? Then "no findings" says nothing (#12)."""
    if capture is None or not capture.exit_status:
        return False
    return all(unit.error is not None for unit in capture.units if unit.kind == "test")


def exit_of(result: Result, options: argparse.Namespace) -> Exit:
    """What fails a build: a budget, then new findings that are more than suspected."""
    if result.over_budget:
        return Exit.OVER_BUDGET
    if options.write_baseline:
        return Exit.OK
    # What a server's settings hide is no fault of this application.
    sure = [
        one
        for one in result.new
        if one.confidence is not Confidence.SUSPECTED and not one.rule.startswith("setting-")
    ]
    return Exit.FINDINGS if sure or (options.only and result.findings) else Exit.OK


def show(
    result: Result, options: argparse.Namespace, project: Project, written: "Fixed | None"
) -> None:
    if options.sarif:
        put_json(as_sarif(result, project.root))
        return
    if options.json:
        document = {**as_document(result), "asked": asked(options)}
        if written:
            document["fix"] = fix_document(written)
        put_json(document)
        return
    print(as_text(result))
    if written:
        print(fix_text(written))
    for path, what in ((options.html, "The report"), (options.write_baseline, "The baseline")):
        if path:
            print(f"{what} is {path}", file=sys.stderr)


def name_of(seen: Seen) -> str:
    kind = kind_of(seen.url.drivername) if seen.url is not None else None
    return TITLES[kind] if kind else ""


def command_line(options: argparse.Namespace) -> str:
    """As a person would type it again, from where they are."""
    words: list[str] = []
    if options.project != Path():
        words += ["--project", str(options.project)]
    for name in (
        "run",
        "app",
        "requests",
        "headers",
        "overrides",
        "url",
        "url_env",
        "base",
        "url_from",
        "scratch_on",
    ):
        if value := getattr(options, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    if options.layers != tuple(Layer):
        words += ["--layers", ",".join(options.layers)]
    return script("optimize-queries.sh", *words)


def only(findings: Sequence[QueryFinding], fingerprint: str) -> list[QueryFinding]:
    """Raises Refusal for a word that no fingerprint begins with by its form."""
    if len(fingerprint) < 4 or set(fingerprint) - set("0123456789abcdef"):
        raise Refusal(
            "options", Exit.USAGE, f"--only {fingerprint} is no fingerprint.", "--json prints them."
        )
    return [one for one in findings if one.fingerprint.startswith(fingerprint)]


def gone_and_left(before: Mapping[str, Any], there: Iterable[str]) -> list[str]:
    away = gone(before, there)
    words = [f"{len(away)} of {len(before['findings'])} findings of the report are gone"]
    words += [f"gone: [{one['rule']}] {one['message']}" for one in away]
    words.append("times are of one run each and vary; numbers of statements do not")
    return words


def excerpts(findings: Sequence[QueryFinding], root: Path) -> dict[str, Excerpt]:
    made: dict[str, Excerpt] = {}
    for one in findings:
        path = root / one.file if one.file else None
        if path is None or one.line is None or not path.is_file():
            continue
        lines = path.read_text("utf-8", errors="replace").splitlines()
        first = max(1, one.line - NEAR)
        made[one.fingerprint] = Excerpt(first, tuple(lines[first - 1 : one.line + NEAR]), one.line)
    return made


@dataclass(frozen=True)
class Fixed:
    """What --fix wrote, and what it leaves to a person as a patch."""

    revision: Written | None
    patch: str
    left: Sequence[str]


def fix(project: Project, options: argparse.Namespace, seen: Seen, say: Any) -> Fixed | None:  # noqa: ANN401
    if options.fix is None:
        return None
    sure = [one for one in seen.findings if one.confidence is not Confidence.SUSPECTED]
    indexes = indexes_of(sure)
    revision = None
    if indexes and project.alembic:
        wanted = Wanted(options.fix, follow_links=options.follow_links)
        revision = write_revision(project, indexes, wanted, say)
    elif indexes:
        seen.notes.append(
            "no revision was written: there is no Alembic; run setup-alembic.sh first"
        )
    patch, left = patches(sure, project)
    return Fixed(revision, patch, left)


def fix_document(fixed: Fixed) -> dict[str, Any]:
    revision = fixed.revision
    return {
        "revisions": [str(step.path) for step in revision.steps] if revision else [],
        "next": list(revision.commands) if revision else [],
        "notes": list(revision.notes) if revision else [],
        "patch": fixed.patch,
        "by_hand": list(fixed.left),
    }


def fix_text(fixed: Fixed) -> str:
    lines: list[str] = ["", "Fix"]
    revision = fixed.revision
    if revision and revision.steps:
        lines += [f"  written and proved: {step.path}" for step in revision.steps]
        lines += [f"  {number}. {line}" for number, line in enumerate(revision.commands, 1)]
    elif not fixed.patch:
        lines.append("  nothing that can be written: no finding has an index or a loader option")
    if revision:
        lines += [f"  {line}" for line in revision.notes]
    lines += [f"  by hand: {line}" for line in fixed.left]
    if fixed.patch:
        lines += [
            "",
            "The patch of the code, for `git apply`. The models need theirs: without it the next",
            "autogenerate would drop the new indexes.",
            "",
            fixed.patch.rstrip("\n"),
        ]
    return "\n".join(lines)
