"""The command line of test-connection.sh."""

import argparse
import ast
import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from toolkit.connection.address import Target, check_driver, check_url
from toolkit.connection.engine_settings import EngineSettings, read_engine
from toolkit.connection.expected import Expected
from toolkit.connection.source import USUAL, Given, from_project, from_stdin, from_variable
from toolkit.connection.steps import Broken, Layer, Report, Status, Step, not_checked, ok
from toolkit.connection.text import as_document, as_text
from toolkit.project import read_project
from toolkit.project.errors import ProjectError, chosen
from toolkit.project.facts import Project
from toolkit.project.old_sqlalchemy import require_new_sqlalchemy
from toolkit.project.root import dependency_file
from toolkit.report.door import put_json, say
from toolkit.report.exits import Exit, exit_code_table
from toolkit.report.interrupt import begin
from toolkit.report.masking import MASKER

DESCRIPTION = """\
Find the layer at which an application cannot reach its database.

Goes down from the URL to the migrations' revision and stops at the first layer that is
broken: the cause, what was seen, one next command. It reads only, creates nothing, is
done after --timeout seconds, and opens no more than half of the connections that are
free. No password is printed, and none belongs on a command line: name a variable.
"""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LAYERS = "\n".join(f"  {layer:<11} {layer.code.value:>3}  {layer.about}" for layer in Layer)
EPILOG = f"""\
layers, with the exit code of each:
{LAYERS}

What stops it and what is a warning:
  A URL that create_async_engine refuses is broken where the project hands it over as it
  is, and a warning where nobody can tell; database_url.py translates such URLs.
  A certificate that has expired, or does not verify, is broken for a client that demands
  TLS (sslmode=require and more).
  The time zone has to be UTC unless --time-zone says another one; a replica or a
  read-only database is broken unless --read-only says that it is meant.
  A transaction-mode pooler is no fault; a driver that is not set for it is one, and shown
  by load: 20 tasks of 5 statements with the project's own settings.
  Head-room is broken where services x hosts x workers x (pool_size + max_overflow) exceeds
  the limit, and a warning where it exceeds what is free now, or where --rate and --hold need
  more than all pools have. The arithmetic is in references/capacity.md.
  A database behind the heads is broken; one ahead of this code is a warning.
  SQLite: the file, its folder, its lock; nothing is created, not even -wal or -shm.

exit codes:
{exit_code_table()}
"""


class Parser(argparse.ArgumentParser):
    """Does not repeat arguments in its errors: one may be a URL."""

    def error(self, message: str) -> NoReturn:
        if "://" in message:
            message = "an argument holds a URL; name a variable that has it with --url-env"
        super().error(message)


def main(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    made = parser()
    options = made.parse_args(arguments)
    if (options.rate is None) is not (options.hold is None):
        made.error("--rate and --hold belong together")
    # Libraries log what they also raise.
    logged = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        report = run(options)
    except ProjectError as error:
        return report_problem(options, error)
    finally:
        logging.disable(logged)
    code = exit_code(report, strict=options.strict)
    if options.json:
        put_json(as_document(report, code))
    else:
        print(as_text(report))
    return int(code)


def parser() -> argparse.ArgumentParser:
    made = Parser(
        prog="test-connection.sh",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    source = made.add_mutually_exclusive_group()
    source.add_argument("--url-env", metavar="NAME", help="the environment variable with the URL")
    source.add_argument(
        "--url-stdin", action="store_true", help="paste the URL (not shown), or pipe it"
    )
    source.add_argument("--url", metavar="URL", help="a URL without a password")
    source.add_argument("--url-from", metavar="SOURCE", help="env:NAME or module:expression")
    made.add_argument(
        "--project",
        metavar="DIR",
        type=Path,
        help="whose settings, engine and migrations count (default: here, if there is one)",
    )
    made.add_argument("--ini", metavar="FILE", help="the Alembic set-up that is meant")
    made.add_argument("--name", metavar="SECTION", help="its section, as in `alembic -n SECTION`")
    made.add_argument("--base", metavar="MODULE:NAME", help="the declarative base that is meant")
    made.add_argument("--workers", metavar="N", type=positive, default=None, help="default: 1")
    made.add_argument("--hosts", metavar="N", type=positive, default=1, help="default: 1")
    made.add_argument(
        "--services",
        metavar="N",
        type=positive,
        default=1,
        help="applications like this one on the same server (default: 1)",
    )
    made.add_argument(
        "--rate",
        metavar="N",
        type=positive,
        help="transactions a second on all hosts, for Little's law; with --hold",
    )
    made.add_argument(
        "--hold", metavar="MS", type=positive, help="milliseconds that one holds its connection"
    )
    made.add_argument(
        "--pool-size", metavar="N", type=natural, help="default: the project's, else 5"
    )
    made.add_argument(
        "--max-overflow", metavar="N", type=natural, help="default: the project's, else 10"
    )
    made.add_argument(
        "--connect-arg",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an entry of the application's connect_args, such as statement_cache_size=0",
    )
    made.add_argument(
        "--load",
        metavar="N",
        type=bounded_load,
        default=20,
        help="tasks that use the pool at once (default: 20, at most 100)",
    )
    made.add_argument(
        "--time-zone", metavar="NAME", default="UTC", help="of the session (default: UTC)"
    )
    made.add_argument("--read-only", action="store_true", help="a replica is meant")
    made.add_argument("--strict", action="store_true", help="a warning is a failure too")
    made.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=30.0,
        help="for all questions to the database, and before for importing settings (default: 30)",
    )
    made.add_argument("--json", action="store_true", help="print the result as JSON")
    return made


def positive(text: str) -> int:
    value = natural(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def natural(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 10_000:
        raise argparse.ArgumentTypeError("must be between 0 and 10000")
    return value


def bounded_load(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100:
        raise argparse.ArgumentTypeError("must be between 1 and 100")
    return value


def seconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 600:
        raise argparse.ArgumentTypeError("must be between 1 and 600")
    return value


@dataclass
class Found:
    """The steps of a run as they come."""

    steps: list[Step]
    url: str | None = None
    layers: tuple[Layer, ...] = tuple(Layer)

    def add(self, step: Step) -> None:
        self.steps.append(step)

    def report(self) -> Report:
        done = {step.layer: step for step in self.steps}
        broken = next((step for step in self.steps if step.status is Status.BROKEN), None)
        why = f"{broken.layer} is broken" if broken else "there is nothing to look at"
        return Report(
            tuple(
                done.get(layer) or not_checked(layer, why)
                for layer in self.layers
                if broken or layer in done
            ),
            self.url,
        )


def run(options: argparse.Namespace) -> Report:
    """Raises ProjectError; KeyboardInterrupt after the connections are closed."""
    require_new_sqlalchemy(options.project or Path())
    found = Found([])
    try:
        project = find_project(options)
        given = find_url(options, project)
        settings = settings_for(options, project, given.text)
        # Reading the source and importing the settings is not the database's time (#12).
        deadline = time.monotonic() + options.timeout
        MASKER.learn(given.text)
        found.add(ok(Layer.SOURCE, given.origin, given.evidence))
        scheme, step = check_driver(given.text, settings, project)
        found.add(step)
        target, step = check_url(given.text, scheme, settings)
        learn(target)
        found.url = target.url.render_as_string(hide_password=True)
        found.add(step)
        expected = Expected(
            settings,
            workers=options.workers or 1,
            hosts=options.hosts,
            services=options.services,
            rate=options.rate,
            hold=options.hold,
            load=options.load,
            time_zone=options.time_zone,
            read_only=options.read_only,
            project=project,
            folder=project.root if project else Path.cwd(),
            deadline=deadline,
        )
        go_down(target, expected, found)
    except Broken as broken:
        found.add(broken.step)
    return found.report()


def learn(target: Target) -> None:
    if target.url.password:
        url = target.url
        MASKER.learn_password(str(url.password), (url.username, url.host, url.database))


def find_project(options: argparse.Namespace) -> Project | None:
    """The project that is named; without a name, the one here if it can be read."""
    named = options.project is not None or options.url_from is not None
    from_elsewhere = bool(options.url_env or options.url_stdin or options.url)
    here = Path.cwd()
    if (
        from_elsewhere
        and not named
        and not (dependency_file(here) or (here / "alembic.ini").exists())
    ):
        return None
    try:
        project = read_project(
            (options.project or Path()).resolve(),
            base=options.base,
            url_from=options.url_from,
            ini=options.ini,
            name=options.name,
            name_broken=False,
        )
        gc.freeze()  # a large project's trees are no garbage; `collect` looks for open sockets
        for line in chosen(project, "project", "alembic"):
            say(line)
        return project
    except ProjectError as error:
        if not named and error.problem.exit_code == Exit.NO_PROJECT and os.environ.get(USUAL):
            options.url_env = USUAL
            return None
        if named or not from_elsewhere:
            raise
        return None


def settings_for(options: argparse.Namespace, project: Project | None, url: str) -> EngineSettings:
    synchronous = project is not None and project.is_sync
    made = read_engine(project, url, options.timeout)
    settings = replace(made, synchronous=synchronous)
    said = {
        name: value
        for name, value in (
            ("pool_size", options.pool_size),
            ("max_overflow", options.max_overflow),
        )
        if value is not None
    }
    if said:
        settings = replace(settings, **said, origin=f"the command line; {settings.origin}")
    if options.workers is None:
        settings = replace(settings, notes=(*settings.notes, "1 worker, as --workers is not given"))
    given = dict(read_argument(entry) for entry in options.connect_arg)
    return replace(settings, connect_args={**settings.connect_args, **given})


def read_argument(entry: str) -> tuple[str, Any]:
    name, _, value = entry.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def find_url(options: argparse.Namespace, project: Project | None) -> Given:
    """Raises Broken."""
    if options.url_env:
        return from_variable(options.url_env, project)
    if options.url_stdin:
        return from_stdin()
    if options.url:
        return Given(options.url, "the command line")
    assert project is not None
    return from_project(project, options.url_from, options.timeout)


def go_down(target: Target, expected: Expected, found: Found) -> None:
    """Run the asynchronous part; Ctrl-C closes its connections first."""
    # Only now: SQLAlchemy may be what is missing.
    from toolkit.connection import connecting, ladder, sqlite_ladder  # noqa: PLC0415

    descend = sqlite_ladder.descend if target.kind == "sqlite" else ladder.descend
    if target.kind == "sqlite":
        found.layers = sqlite_ladder.LAYERS
    interrupted = False

    async def all_of_it() -> None:
        nonlocal interrupted
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()

        def interrupt(*_: object) -> None:
            nonlocal interrupted
            first, interrupted = not interrupted, True
            begin()
            if first and not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)

        # Not the loop's own way: that leaves the system's handlers behind when the loop ends,
        # and a second signal at that moment would end the program (#11).
        for number in SIGNALS:
            signal.signal(number, interrupt)
        try:
            async with asyncio.timeout(max(0.05, expected.deadline - time.monotonic())):
                await descend(target, expected, found.add)
        except TimeoutError:
            out_of_time(found)

    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        asyncio.run(all_of_it())
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        connecting.collect()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def out_of_time(found: Found) -> NoReturn:
    done = {step.layer for step in found.steps}
    under_way = next(layer for layer in found.layers if layer not in done)
    raise Broken(
        Step(
            under_way,
            Status.BROKEN,
            "The time for all together (--timeout) was over here.",
            next="Run it again with a larger --timeout.",
            # Which layer was the last says nothing of what is wrong with it (#12).
            code=Exit.NETWORK,
        )
    )


def exit_code(report: Report, *, strict: bool) -> Exit:
    if report.broken:
        return report.broken.exit_code
    if strict and report.warnings:
        return report.warnings[0].exit_code
    return Exit.OK


def report_problem(options: argparse.Namespace, error: ProjectError) -> int:
    problem = error.problem
    if options.json:
        put_json(
            {
                "status": "refused",
                "exit": int(problem.exit_code),
                "code": problem.code,
                "message": problem.message,
                "remedy": problem.remedy,
            }
        )
    else:
        print(f"{problem.message}\n{problem.remedy}", file=sys.stderr)
    return int(problem.exit_code)
