"""The command line of optimize-queries.sh."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from toolkit.database.errors import DatabaseError
from toolkit.database.urls import WHERE
from toolkit.migration.command import report_problem, require_packages, seconds
from toolkit.migration.refusal import Refusal
from toolkit.project import read_project
from toolkit.project.errors import ProjectError, chosen
from toolkit.project.old_sqlalchemy import require_new_sqlalchemy
from toolkit.queries.errors import QueriesError
from toolkit.queries.finding import Layer
from toolkit.report.door import say
from toolkit.report.exits import Exit, exit_code_table

DESCRIPTION = """\
Find slow queries: who issues them, what they cost, and what cures them.

Five layers, each as sure as it says. Without options only the source is read, which gives
no more than suspicions. --run or --app watch the application at work; --url-env has its
database looked at, and plans tried on a copy.

  code        suspected  rules over the source; nothing is run
  capture     proved     what --run or --app really sent, with the line that sent it
  statements  measured   what the server counted, joined to those lines
  catalog     proved     indexes that lack, repeat or rot; settings that hide problems
  plans       measured   EXPLAIN of the worst; indexes built on a scratch copy, and timed
"""

EPILOG = f"""\
The database is read in read-only transactions with time limits, and no statement of the
application is run there again: that happens on a scratch copy of the tables that matter.
Values of parameters are used for it, and are not printed. What calls a function or reads a
view that somebody wrote, or another database, is neither planned nor run, and named. What
--run and --app start is the application itself: a POST that you have it send writes where
the application writes.

{WHERE}

An application that wants to know who asks answers 401 or 403. A file for --headers has a
line such as `Authorization: Bearer ...`. Or a module for --overrides has what its tests have:
  from app.auth import current_user
  from app.users import User
  dependency_overrides = {{current_user: lambda: User(id=1)}}

A file for --requests has a request a line, which are sent in this order:
  GET /posts?limit=20
  Authorization: Bearer ...          (a header, for all that follow)
  POST /posts {{"title": "A title"}}

exit codes:
{exit_code_table()}
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    options = parser().parse_args(arguments)
    try:
        return int(run(options))
    except (Refusal, ProjectError, DatabaseError, QueriesError) as error:
        details = error.details if isinstance(error, Refusal) else ()
        return report_problem(error.problem, details, "", as_json=options.json)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="optimize-queries.sh",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    watch = made.add_mutually_exclusive_group()
    for flag, shown, kind, words in OPTIONS:
        group = watch if flag in {"--run", "--app"} else made
        group.add_argument(flag, metavar=shown, type=kind, help=words, **MORE.get(flag, {}))
    made.add_argument(
        "--follow-links",
        action="store_true",
        help="with --fix: also write where a link in the project leads out of it",
    )
    printed = made.add_mutually_exclusive_group()
    printed.add_argument("--json", action="store_true", help="print the result as JSON")
    printed.add_argument("--sarif", action="store_true", help="print the findings as SARIF 2.1.0")
    return made


def layers(text: str) -> tuple[Layer, ...]:
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in list(Layer)]
    if unknown:
        raise argparse.ArgumentTypeError(f"no layer {unknown[0]!r}; there is {', '.join(Layer)}")
    return tuple(layer for layer in Layer if layer in names)


# What takes a value: the flag, the value's name, how it is read, and what it says.
OPTIONS: tuple[tuple[str, str, Callable[[str], object], str], ...] = (
    ("--run", "COMMAND", str, 'a command to watch: "pytest -q"'),
    ("--app", "MODULE:NAME", str, "the application that gets the requests"),
    ("--requests", "FILE", Path, "what to send (default: GET on every route without parameters)"),
    ("--headers", "FILE", Path, "headers for all requests: what signs in"),
    ("--overrides", "MODULE[:NAME]", str,
     "replace dependencies by this module's dependency_overrides, a dictionary"),
    ("--url-env", "NAME", str, "the environment variable with the URL of the database to look at"),
    ("--url", "URL", str, "that URL itself, without password"),
    ("--layers", "NAMES", layers,
     "only these, with commas (default: all that there is something for)"),
    ("--fix", "MESSAGE", str,
     "write the revision for the indexes, reviewed, and print patches of the code"),
    ("--verify", "FILE", Path, "do again what made this --json FILE, and show before and after"),
    ("--only", "FINGERPRINT", str, "report this finding only: is it gone?"),
    ("--baseline", "FILE", Path, "findings that are known do not fail the run"),
    ("--write-baseline", "FILE", Path, "write the findings there as known"),
    ("--budget", "ROUTE=N", str,
     'statements that a route may issue: "GET /posts=3"; @FILE has one a line'),
    ("--project", "DIR", Path, "default: here"),
    ("--base", "MODULE:NAME", str, "the declarative base that is meant"),
    ("--url-from", "SOURCE", str, "where the database's URL comes from"),
    ("--scratch-on", "HOST:PORT", str,
     "allow the scratch copy on the server of the database that is looked at"),
    ("--timeout", "SECONDS", seconds, "for what is watched (default: 900)"),
    ("--html", "FILE", Path, "also write it as one page that needs no network"),
)  # fmt: skip
MORE: dict[str, dict[str, Any]] = {
    "--layers": {"default": tuple(Layer)},
    "--fix": {"nargs": "?", "const": "indexes that queries want"},
    "--budget": {"action": "append", "default": []},
    "--timeout": {"default": 900.0},
}


def run(options: argparse.Namespace) -> Exit:
    from toolkit.queries.verify import options_of, read_report  # noqa: PLC0415

    before = None
    if options.verify is not None:
        before = read_report(options.verify)
        options = options_of(before, options)
    options.project = options.project or Path()
    refuse_combinations(options)
    directory = options.project.resolve()
    if not directory.is_dir():
        raise Refusal("project", Exit.USAGE, f"{directory} is not a folder.", "See --project.")
    require_new_sqlalchemy(directory)
    project = read_project(
        directory,
        base=options.base,
        app=options.app,
        url_from=options.url_from,
        scratch_on=options.scratch_on,
        one_alembic=options.fix is not None,
    )
    for line in (*project.passed_over, *chosen(project, "project")):
        say(line)
    for line in project.unreadable:
        say(f"not read, since it cannot be: {line}")
    if not project.versions["sqlalchemy"]:  # no layer needs greenlet but with its own driver (#12)
        require_packages(project, {"sqlalchemy[asyncio]", "sqlalchemy"})
    # Not at the top: it imports SQLAlchemy, which may be what is missing.
    from toolkit.queries.outcome import optimize_and_show  # noqa: PLC0415

    return optimize_and_show(project, options, before)


def refuse_combinations(options: argparse.Namespace) -> None:
    """Raise Refusal for options that do not go together."""
    problem = None
    if options.html is not None and not options.html.parent.is_dir():
        raise Refusal(
            "options",
            Exit.USAGE,
            f"There is no folder {options.html.parent} for --html.",
            "Make it first, or name another file.",
        )
    if options.requests is not None and options.run is not None:
        problem = "--requests are sent to an application, --run starts a command of its own."
    elif options.app is None and (options.headers is not None or options.overrides is not None):
        problem = "--headers and --overrides are for the application of --app."
    elif options.url is not None and options.url_env is not None:
        problem = "--url and --url-env both name a database."
    elif options.only is not None and options.fix is not None:
        problem = "--only asks whether a finding is gone, --fix writes."
    elif options.baseline is not None and options.write_baseline is not None:
        problem = "--baseline reads what --write-baseline writes."
    if problem:
        raise Refusal("options", Exit.USAGE, problem, "Leave one of the two out; see --help.")
