"""The command line of generate-migration.sh."""

import argparse
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from toolkit.database.errors import DatabaseError
from toolkit.database.urls import KINDS, SCRATCH_VARIABLE, STATS_VARIABLE, WHERE
from toolkit.migration.message import clean_message
from toolkit.migration.refusal import Refusal
from toolkit.project import read_project
from toolkit.project.databases import kinds
from toolkit.project.dependencies import install_line, missing_packages
from toolkit.project.errors import ProjectError, chosen
from toolkit.project.facts import Problem, Project
from toolkit.project.old_sqlalchemy import require_new_sqlalchemy
from toolkit.report.command_line import holds_password, is_login
from toolkit.report.door import put_json, say
from toolkit.report.exits import Exit, exit_code_table
from toolkit.report.masking import in_a_line
from toolkit.setup.apply import BusyError, NotRestored, recover

DESCRIPTION = """\
Write an Alembic migration for what changed in the models, or review those that are there.

It is generated on a scratch database that the existing migrations built, run there
(upgrade, downgrade, upgrade) and only then put into the project. What it did there is
read and judged: locks, rewrites and scans of tables, lost data, what cannot be undone,
what autogenerate did not see. Your own database is neither needed nor touched. A run that
fails leaves no file.
"""

EPILOG = f"""\
{WHERE}{SCRATCH_VARIABLE} stands for --scratch-url (the variable, not the option, where the URL
has a password), {STATS_VARIABLE} for --stats-url.
A finding that is meant is allowed in the revision's file, with the reason:
  # migration-review: allow[rule] why it is right here

exit codes:
{exit_code_table()}
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    options = parser().parse_args(arguments)
    try:
        code = run(options, say)
    except (Refusal, ProjectError, DatabaseError) as error:
        details = error.details if isinstance(error, Refusal) else ()
        # Also hooks may have done harm, which are run when it was written.
        silent = options.message is None or error.problem.code == "harmed"
        lead = "" if silent else "No migration was written. "
        return report_problem(error.problem, details, lead, as_json=options.json)
    return int(code)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="generate-migration.sh",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("message", nargs="?", help='what changes, in a few words: "add users"')
    made.add_argument(
        "--rename",
        metavar="TABLE.OLD:NEW",
        action="append",
        default=[],
        help="a drop and an add that are one column (OLD:NEW: one table; TYPE.OLD:NEW: one"
        " value of an enum) under a new name",
    )
    made.add_argument(
        "--no-rename", action="store_true", help="drop and add what looks like a rename"
    )
    made.add_argument(
        "--apply", action="store_true", help="also write what autogenerate does not see"
    )
    made.add_argument(
        "--follow-links",
        action="store_true",
        help="also write where a link in the project leads out of it",
    )
    made.add_argument(
        "--expand-contract",
        action="store_true",
        help="write it as the revisions of a deploy during which the service never stops",
    )
    for option, words in (
        (
            "--fill",
            "with --expand-contract: what rows get that have no value; other columns of a row:"
            " {row}name",
        ),
        ("--using", "the new value of a column that changes its type; the old one: {}"),
        ("--back", "the old value again, for the downgrade"),
    ):
        made.add_argument(
            option,
            metavar="TABLE.COLUMN=SQL",
            action="append",
            default=[],
            help=words,
        )
    made.add_argument(
        "--review",
        metavar="REVISION|FILE",
        nargs="?",
        const="head",
        help="write nothing: run and judge a revision that exists (default: the head)",
    )
    made.add_argument("--all", action="store_true", help="review every revision")
    made.add_argument(
        "--check",
        action="store_true",
        help="for a build server: one head, its round trip and review, no drift",
    )
    made.add_argument(
        "--stats-url",
        metavar="URL",
        help="read the sizes of the tables there, without password; reads only",
    )
    made.add_argument("--project", metavar="DIR", type=Path, default=Path(), help="default: here")
    made.add_argument("--base", metavar="MODULE:NAME", help="the declarative base that is meant")
    made.add_argument("--app", metavar="MODULE:NAME", help="the FastAPI application")
    made.add_argument("--url-from", metavar="SOURCE", help="where the database's URL comes from")
    made.add_argument("--ini", metavar="FILE", help="the Alembic set-up that is meant")
    made.add_argument("--name", metavar="SECTION", help="its section, as in `alembic -n SECTION`")
    made.add_argument(
        "--dialect",
        choices=sorted(set(KINDS)),
        help="the kind of database, for a project whose URL is not set",
    )
    made.add_argument(
        "--dialects",
        metavar="KIND,...",
        type=kinds,
        default=(),
        help="the project's databases, such as sqlite,postgresql: a revision is written for and"
        " proved on each; remembered in env.py",
    )
    made.add_argument(
        "--scratch-url", metavar="URL", help="server for the scratch database, without password"
    )
    made.add_argument(
        "--scratch-on",
        metavar="HOST:PORT",
        help="allow it on the project's own server, which has to be this one",
    )
    made.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=120.0,
        help="for each Alembic command, and for another run to end (default: 120)",
    )
    shown = made.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print the result as JSON")
    shown.add_argument("--sarif", action="store_true", help="print the findings as SARIF 2.1.0")
    return made


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 86400:
        raise argparse.ArgumentTypeError("must be between 0 and 86400")
    return value


def run(options: argparse.Namespace, say: Any) -> Exit:  # noqa: ANN401
    reviews = options.review is not None or options.all or options.check
    refuse_combinations(options, reviews=reviews)
    message = "" if reviews else clean_message(options.message)
    take_url(options.scratch_url, "--scratch-url", SCRATCH_VARIABLE)
    take_url(options.stats_url, "--stats-url", STATS_VARIABLE)
    directory = options.project.resolve()
    if not directory.is_dir():
        raise Refusal("project", Exit.USAGE, f"{directory} is not a folder.", "See --project.")
    require_new_sqlalchemy(directory)
    if not reviews:
        restore(directory, say)
    project = read_project(
        directory,
        base=options.base,
        app=options.app,
        url_from=options.url_from,
        ini=options.ini,
        name=options.name,
        scratch_on=options.scratch_on,
    )
    for line in (*project.passed_over, *chosen(project, "project", "alembic", "base")):
        say(line)
    for line in project.unreadable:
        say(f"not read, since it cannot be: {line}")
    require_packages(project)
    # Not at the top: it imports SQLAlchemy, which may be what is missing.
    from toolkit.migration.outcome import (  # noqa: PLC0415
        expand_and_show,
        generate_and_show,
        review_and_show,
    )

    if reviews:
        return review_and_show(project, options, say)
    if options.expand_contract:
        return expand_and_show(project, message, options, say)
    return generate_and_show(project, message, options, say)


def restore(directory: Path, say: Any) -> None:  # noqa: ANN401
    """Put back what a killed setup-alembic.sh left unproved: no revision is to build on it."""
    try:
        for line in recover(directory):
            say(line)
    except BusyError as error:
        raise Refusal("busy", Exit.BUSY, f"{error}.", "Run this again when it has ended.") from None
    except NotRestored as error:
        raise Refusal(
            "not-restored",
            Exit.NOT_RESTORED,
            "What an earlier setup-alembic.sh wrote could not all be put back.",
            "Make room, or whatever else the lines above want, and run this again.",
            error.lines,
        ) from None


def refuse_combinations(options: argparse.Namespace, *, reviews: bool) -> None:
    """Raise Refusal for options that do not go together."""
    chosen = [
        name
        for name, given in (
            ("a message", options.message is not None),
            ("--review", options.review is not None),
            ("--all", options.all and options.review is None),
            ("--check", options.check),
        )
        if given
    ]
    if len(chosen) > 1:
        raise Refusal(
            "options",
            Exit.USAGE,
            f"{' and '.join(chosen)} are different things to do.",
            "Run it once for each.",
        )
    if not chosen:
        raise Refusal(
            "options",
            Exit.USAGE,
            "There is nothing to do.",
            'Say what changes ("add users"), or --review, --all or --check.',
        )
    writing = [
        name
        for name, given in (
            ("--rename", options.rename),
            ("--no-rename", options.no_rename),
            ("--apply", options.apply),
            ("--expand-contract", options.expand_contract),
        )
        if given
    ]
    if reviews and writing:
        raise Refusal(
            "options",
            Exit.USAGE,
            f"{chosen[0]} writes nothing, so there is no use for {', '.join(writing)}.",
            "Leave one of the two out.",
        )
    answers = options.fill if not reviews else [*options.fill, *options.using, *options.back]
    if answers and not options.expand_contract:
        raise Refusal(
            "options",
            Exit.USAGE,
            f"Nothing asks for {answers[0]} here.",
            "--fill goes with --expand-contract, --using and --back with a message. Leave it out.",
        )
    if options.apply and options.expand_contract:
        raise Refusal(
            "options",
            Exit.USAGE,
            "--apply writes into one revision, --expand-contract writes several.",
            "Run --expand-contract first, then --apply for what it lists as drift.",
        )


def take_url(url: str | None, option: str, variable: str) -> None:
    """Put an option's URL where its variable would be. Raises Refusal if it has a password."""
    if not url:
        return
    if holds_password(url) or is_login(url):
        raise Refusal(
            option.removeprefix("--"),
            Exit.USAGE,
            f"{option} holds a password, which every user of this machine can read.",
            f"Put the URL into the environment variable {variable}.",
        )
    os.environ[variable] = url


def require_packages(
    project: Project, needed: Collection[str] = ("sqlalchemy[asyncio]", "sqlalchemy", "alembic")
) -> None:
    """Raise Refusal without what every run needs; which driver, the scratch database decides."""
    missing = [package for package in missing_packages(project) if package in needed]
    # A synchronous env.py needs no greenlet, whatever the application does (#12).
    sync = project.alembic and not any(setup.is_async for setup in project.alembic)
    if sync and project.versions["sqlalchemy"] and "sqlalchemy[asyncio]" in missing:
        missing.remove("sqlalchemy[asyncio]")
    if missing:
        raise Refusal(
            "missing-dependency",
            Exit.MISSING_DEPENDENCY,
            f"Not installed in this environment: {', '.join(missing)}.",
            f"Install with: {install_line(project, missing)}",
            [f"Python: {sys.executable}"],
        )


def report_problem(problem: Problem, details: Sequence[str], lead: str, *, as_json: bool) -> int:
    if as_json:
        document = {
            "status": "refused",
            "exit": int(problem.exit_code),
            "code": problem.code,
            "message": problem.message,
            "remedy": problem.remedy,
            "details": list(details),
        }
        put_json(document)
    else:
        print(f"{lead}{problem.message}", file=sys.stderr)
        for line in details:
            print(f"  {in_a_line(line)}", file=sys.stderr)
        print(problem.remedy, file=sys.stderr)
    return int(problem.exit_code)
