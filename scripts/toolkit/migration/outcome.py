"""Do what the command line asked for, and print what came of it."""

import argparse
import contextlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from toolkit.database.sizes import TableSize, table_sizes
from toolkit.database.urls import STATS_VARIABLE
from toolkit.migration.by_revision import by_revision
from toolkit.migration.generate import Outcome, Wanted, generate
from toolkit.migration.refusal import Refusal
from toolkit.migration.renaming import read_renames
from toolkit.migration.reviewing import (
    NOT_MIGRATED,
    Reviewed,
    add_size,
    review_existing,
    with_sizes,
)
from toolkit.migration.situation import shown
from toolkit.project.facts import Project
from toolkit.report.door import put_json
from toolkit.report.endings import ending_of
from toolkit.report.exits import Exit
from toolkit.report.finding import Finding, Verdict
from toolkit.report.masking import in_a_line, mask, secrets_of
from toolkit.report.quoting import script
from toolkit.report.sarif import as_sarif
from toolkit.report.text import as_data, as_text, indented

Say = Callable[[str], None]
TOOL = "generate-migration.sh"
MOST_WORDS = 20
"""Operations that are told one by one: an agent reads every line (#16). `--json` has them all."""


def generate_and_show(
    project: Project, message: str, options: argparse.Namespace, say: Say
) -> Exit:
    from toolkit.migration.deploying import read_answers  # noqa: PLC0415  (the review needs none)

    sizes = sizes_of_tables()
    answers = read_answers(options)
    wanted = replace(
        wanted_by(options, message),
        apply=options.apply,
        using=answers.using,
        back=answers.back,
        dialects=options.dialects,
    )
    outcome = generate(project, wanted, say)
    findings = [add_size(one, sizes) for one in outcome.findings]
    if not put_data(options, project, findings, as_document(outcome, findings)):
        show(outcome, findings)
    return Exit.OK


def expand_and_show(project: Project, message: str, options: argparse.Namespace, say: Say) -> Exit:
    # Only here: what writes revisions for a deploy is a tenth of the start.
    from toolkit.migration.deploying import (  # noqa: PLC0415
        read_answers,
        steps_as_document,
        steps_as_text,
    )
    from toolkit.migration.expanding import expand  # noqa: PLC0415

    sizes = sizes_of_tables()
    expanded = expand(project, wanted_by(options, message), read_answers(options), say)
    findings = [add_size(one, sizes) for one in expanded.findings]
    if not put_data(options, project, findings, steps_as_document(expanded, findings)):
        print(steps_as_text(expanded))
        show_findings(findings)
        show_notes(expanded.warnings, "warning: ")
    return Exit.OK


def wanted_by(options: argparse.Namespace, message: str) -> Wanted:
    return Wanted(
        message,
        dialect=options.dialect,
        timeout=options.timeout,
        renames=read_renames(options.rename),
        no_rename=options.no_rename,
        follow_links=options.follow_links,
    )


def put_data(
    options: argparse.Namespace,
    project: Project,
    findings: Sequence[Finding],
    document: Mapping[str, Any],
) -> bool:
    """Print SARIF or JSON; False if neither was asked for."""
    if options.sarif:
        document = as_sarif(findings, tool=TOOL, root=project.root)
    elif not options.json:
        return False
    put_json(document)
    return True


def as_document(outcome: Outcome, findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "status": "created",
        "exit": 0,
        "file": str(outcome.path),
        "revision": outcome.revision,
        "down_revision": outcome.parent,
        "operations": [dict(operation) for operation in outcome.operations],
        "words": list(outcome.words),
        "data_loss": list(outcome.data_losses),
        "findings": [as_data(one) for one in findings],
        "warnings": list(outcome.warnings),
        "scratch": outcome.scratch,
        "also_proved_on": list(outcome.also),
        "next": list(outcome.next),
    }


def show(outcome: Outcome, findings: Sequence[Finding]) -> None:
    print(f"Created {in_a_line(str(outcome.path))}")
    print(f"revision {outcome.revision}, after {outcome.parent or 'nothing (the first one)'}\n")
    for line in outcome.words[:MOST_WORDS]:
        print(f"  {in_a_line(line)}")
    if more := len(outcome.words[MOST_WORDS:]):
        print(f"  ... and {more} more; the file has them all")
    places = " and ".join((outcome.scratch, *outcome.also))
    print(f"\nProved on {places}: upgrade, downgrade, upgrade.")
    if outcome.data_losses:
        print("\nDATA LOSS when it runs on a database with rows:")
        for line in outcome.data_losses:
            print(f"  {in_a_line(line)}")
    show_findings(findings)
    show_notes(outcome.warnings, "warning: ")
    print("\nNext:")
    for number, line in enumerate(outcome.next, 1):
        print(f"  {number}. {in_a_line(line)}")


def review_and_show(project: Project, options: argparse.Namespace, say: Say) -> Exit:
    sizes = sizes_of_tables()
    reviewed = review_existing(
        project,
        None if options.all else options.review or "head",
        dialect=options.dialect,
        timeout=options.timeout,
        say=say,
        check=options.check,
        dialects=options.dialects,
    )
    reviewed = with_sizes(reviewed, sizes)
    if not put_data(options, project, reviewed.findings, review_document(reviewed)):
        show_review(reviewed)
    return reviewed.exit_code


def review_document(reviewed: Reviewed) -> dict[str, Any]:
    return {
        "status": "reviewed",
        "exit": int(reviewed.exit_code),
        "revisions": list(reviewed.revisions),
        "findings": [as_data(one) for one in reviewed.findings],
        "warnings": list(reviewed.notes),
        "scratch": reviewed.scratch,
    }


def show_review(reviewed: Reviewed) -> None:
    changes = [one for one in reviewed.findings if one.rule == NOT_MIGRATED]
    if found := near([one for one in reviewed.findings if one.rule != NOT_MIGRATED]):
        several = len(reviewed.revisions) > 1
        print((by_revision(found, reviewed.revisions) if several else as_text(found)) + "\n")
    if changes:
        show_not_migrated(changes)
    number = len(reviewed.revisions)
    of = f"{number} revision{'s' * (number != 1)}"
    print(f"Reviewed {of} on {reviewed.scratch}: {counted(reviewed.findings)}.")
    show_notes(reviewed.notes, "note: ")


def show_not_migrated(changes: Sequence[Finding]) -> None:
    """One cause and one cure, so once for all of them."""
    print(f"{Verdict.DRIFT.upper()} [{NOT_MIGRATED}]")
    for one in changes[:MOST_WORDS]:
        print("\n".join(indented(one.message, "  ")))
    if more := len(changes[MOST_WORDS:]):
        print(f"  ... and {more} more; --json has them all")
    print(f"\nWrite it: {script(TOOL, 'what changed')}\n")


def near(findings: Sequence[Finding]) -> list[Finding]:
    """With files as one would type them here."""
    return [replace(one, file=one.file and shown(one.file, Path.cwd())) for one in findings]


def counted(findings: Sequence[Finding]) -> str:
    """`2 data-loss, 1 style`, the worst first."""
    numbers = Counter(one.verdict for one in findings)
    return ", ".join(f"{numbers[v]} {v}" for v in Verdict if numbers[v]) or "nothing"


def show_findings(findings: Sequence[Finding]) -> None:
    if findings:
        print(f"\nThe review found {counted(findings)}:\n\n{as_text(near(findings))}")


def show_notes(notes: Sequence[str], label: str) -> None:
    for line in notes:
        print("\n".join(indented(f"{label}{line}", "")))


def sizes_of_tables() -> Mapping[str, TableSize]:
    """From the database that was named for it. Raises Refusal when it cannot be read."""
    given = os.environ.get(STATS_VARIABLE)
    if not given:
        return {}
    try:
        return table_sizes(make_url(given))
    except (SQLAlchemyError, OSError, TimeoutError, ValueError, ImportError) as error:
        url = None
        with contextlib.suppress(SQLAlchemyError, ValueError):
            url = make_url(given)
        reason = mask(str(error), secrets_of(os.environ, [url] if url else [])).splitlines()
        ending = ending_of(error)
        raise Refusal(
            "stats-url",
            ending.code if ending else Exit.USAGE,
            f"The statistics of the tables cannot be read: {reason[0] if reason else error}",
            f"Repair {STATS_VARIABLE} or --stats-url, or leave them out.",
        ) from None
