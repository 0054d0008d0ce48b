"""The command line of generate-migration.sh."""

import argparse
import json
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.database.errors import DatabaseError
from toolkit.database.urls import KINDS, SCRATCH_VARIABLE
from toolkit.migration.message import clean_message
from toolkit.migration.refusal import Refusal
from toolkit.project import read_project
from toolkit.project.dependencies import install_line, missing_packages
from toolkit.project.errors import ProjectError
from toolkit.project.facts import Problem, Project
from toolkit.report.exits import Exit, exit_code_table

if TYPE_CHECKING:
    from toolkit.migration.generate import Outcome

DESCRIPTION = """\
Write an Alembic migration for what changed in the models.

It is generated on a scratch database that the existing migrations built, run there
(upgrade, downgrade, upgrade) and only then put into the project. Your own database is
neither needed nor touched. A run that fails leaves no file.
"""

EPILOG = f"""\
The scratch database is made on the project's own server if its role may create
databases, else on a private server from programs on this machine; for SQLite it is a
file. {SCRATCH_VARIABLE} names another server (the variable, not the option, where
the URL has a password).

exit codes:
{exit_code_table()}
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    options = parser().parse_args(arguments)

    def say(line: str) -> None:
        print(f"... {line}", file=sys.stderr, flush=True)

    try:
        outcome = run(options, say)
    except Refusal as refusal:
        return report_problem(refusal.problem, refusal.details, as_json=options.json)
    except (ProjectError, DatabaseError) as error:
        return report_problem(error.problem, (), as_json=options.json)
    report_outcome(outcome, as_json=options.json)
    return int(Exit.OK)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="generate-migration.sh",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("message", help='what changes, in a few words: "add users"')
    made.add_argument("--project", metavar="DIR", type=Path, default=Path(), help="default: here")
    made.add_argument("--base", metavar="MODULE:NAME", help="the declarative base that is meant")
    made.add_argument("--app", metavar="MODULE:NAME", help="the FastAPI application")
    made.add_argument("--url-from", metavar="SOURCE", help="where the database's URL comes from")
    made.add_argument("--ini", metavar="FILE", help="the Alembic set-up that is meant")
    made.add_argument(
        "--dialect",
        choices=sorted(set(KINDS)),
        help="the kind of database, for a project whose URL is not set",
    )
    made.add_argument(
        "--scratch-url", metavar="URL", help="server for the scratch database, without password"
    )
    made.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=120.0,
        help="for each Alembic command, and for another run to end (default: 120)",
    )
    made.add_argument("--json", action="store_true", help="print the result as JSON")
    return made


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 86400:
        raise argparse.ArgumentTypeError("must be between 0 and 86400")
    return value


def run(options: argparse.Namespace, say: Any) -> "Outcome":  # noqa: ANN401
    message = clean_message(options.message)
    if options.scratch_url:
        if re.search(r"://[^/@]*:[^/]*@", options.scratch_url):
            raise Refusal(
                "scratch-url",
                Exit.USAGE,
                "--scratch-url holds a password, which every user of this machine can read.",
                f"Put the URL into the environment variable {SCRATCH_VARIABLE}.",
            )
        os.environ[SCRATCH_VARIABLE] = options.scratch_url
    directory = options.project.resolve()
    if not directory.is_dir():
        raise Refusal("project", Exit.USAGE, f"{directory} is not a folder.", "See --project.")
    project = read_project(
        directory,
        base=options.base,
        app=options.app,
        url_from=options.url_from,
        ini=options.ini,
    )
    require_packages(project)
    # Not at the top: it imports SQLAlchemy, which may be what is missing.
    from toolkit.migration.generate import generate  # noqa: PLC0415

    return generate(
        project,
        message,
        dialect=options.dialect,
        timeout=options.timeout,
        say=say,
    )


def require_packages(project: Project) -> None:
    """Raise Refusal without what every run needs; which driver, the scratch database decides."""
    needed = {"sqlalchemy[asyncio]", "alembic"}
    missing = [package for package in missing_packages(project) if package in needed]
    if missing:
        raise Refusal(
            "missing-dependency",
            Exit.MISSING_DEPENDENCY,
            f"Not installed in this environment: {', '.join(missing)}.",
            f"Install with: {install_line(project, missing)}",
            [f"Python: {sys.executable}"],
        )


def report_problem(problem: Problem, details: Sequence[str], *, as_json: bool) -> int:
    if as_json:
        document = {
            "status": "refused",
            "exit": int(problem.exit_code),
            "code": problem.code,
            "message": problem.message,
            "remedy": problem.remedy,
            "details": list(details),
        }
        print(json.dumps(document, indent=2))
    else:
        print(f"No migration was written. {problem.message}", file=sys.stderr)
        for line in details:
            print(f"  {line}", file=sys.stderr)
        print(problem.remedy, file=sys.stderr)
    return int(problem.exit_code)


def report_outcome(outcome: "Outcome", *, as_json: bool) -> None:
    if as_json:
        document = {
            "status": "created",
            "exit": 0,
            "file": str(outcome.path),
            "revision": outcome.revision,
            "down_revision": outcome.parent,
            "operations": [dict(operation) for operation in outcome.operations],
            "words": list(outcome.words),
            "data_loss": list(outcome.data_losses),
            "warnings": list(outcome.warnings),
            "scratch": outcome.scratch,
            "next": list(outcome.next),
        }
        print(json.dumps(document, indent=2))
        return
    print(f"Created {outcome.path}")
    print(f"revision {outcome.revision}, after {outcome.parent or 'nothing (the first one)'}\n")
    for line in outcome.words:
        print(f"  {line}")
    print(f"\nProved on {outcome.scratch}: upgrade, downgrade, upgrade.")
    if outcome.data_losses:
        print("\nDATA LOSS when it runs on a database with rows:")
        for line in outcome.data_losses:
            print(f"  {line}")
    for line in outcome.warnings:
        print(textwrap.fill(f"warning: {line}", 100, subsequent_indent="  "))
    print("\nNext:")
    for number, line in enumerate(outcome.next, 1):
        print(f"  {number}. {line}")
