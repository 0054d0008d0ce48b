"""Run the layers, each with what the ones before it saw."""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from toolkit.database.scratch import Wish
from toolkit.project.facts import Project
from toolkit.queries.capture import findings_of as findings_of_capture
from toolkit.queries.capture import routes_of, watch_command, watch_requests
from toolkit.queries.capture.record import Capture
from toolkit.queries.capture.requests import read_headers, read_requests
from toolkit.queries.catalog import read_findings
from toolkit.queries.code import findings_of as findings_of_code
from toolkit.queries.finding import Confidence, Layer, QueryFinding
from toolkit.queries.plans import measure_statements
from toolkit.queries.plans.measure import Measured
from toolkit.queries.result import LayerState, Route
from toolkit.queries.statements import slow_statements
from toolkit.queries.target import asked_for, used_most
from toolkit.report.endings import ending_of
from toolkit.report.exits import Exit
from toolkit.report.masking import mask, secrets_of
from toolkit.report.text import counted

Say = Callable[[str], None]
UNREACHABLE = (SQLAlchemyError, OSError, TimeoutError)


@dataclass
class Seen:
    """What the layers found so far."""

    project: Project
    options: argparse.Namespace
    say: Say
    findings: list[QueryFinding] = field(default_factory=list)
    layers: list[LayerState] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    routes: tuple[Route, ...] = ()
    measured: tuple[Measured, ...] = ()
    capture: Capture | None = None
    url: URL | None = None
    database: str = ""
    away: Exit | None = None
    """Why the database that the command line names could not be read."""
    everything: frozenset[str] = frozenset()
    """Fingerprints of all findings, also of suspicions that something surer stands for."""

    def told(self, layer: Layer, began: float, words: str, *, ran: bool = True) -> None:
        self.layers.append(LayerState(layer, ran, words, time.monotonic() - began))


def examine(project: Project, options: argparse.Namespace, say: Say) -> Seen:
    """Raises Refusal, QueriesError or DatabaseError for what makes the whole run pointless."""
    # First of all: what is watched may take minutes, and the name of a variable be wrong.
    seen = Seen(project, options, say, url=asked_for(options))
    steps = {
        Layer.CODE: read_code,
        Layer.CAPTURE: watch,
        Layer.STATEMENTS: read_statements,
        Layer.CATALOG: read_catalog,
        Layer.PLANS: try_plans,
    }
    for layer, step in steps.items():
        if layer in options.layers or (layer is Layer.CAPTURE and wants_capture(options)):
            step(seen)
    seen.everything = frozenset(one.fingerprint for one in seen.findings)
    seen.findings = sort(merge(seen.findings))
    return seen


def wants_capture(options: argparse.Namespace) -> bool:
    return bool(options.run or options.app)


def read_code(seen: Seen) -> None:
    began = time.monotonic()
    seen.say("reading the source")
    found = findings_of_code(seen.project)
    seen.findings += found
    number = counted(len(found), "suspicion")
    seen.told(Layer.CODE, began, f"{number} from the source; nothing was run")


def watch(seen: Seen) -> None:
    began = time.monotonic()
    options, project = seen.options, seen.project
    if options.run:
        capture = watch_command(project, options.run, timeout=options.timeout, say=seen.say)
    elif options.app:
        requests = read_requests(options.requests) if options.requests else None
        capture = watch_requests(
            project,
            options.app,
            requests,
            headers=read_headers(options.headers) if options.headers else (),
            overrides=options.overrides,
            timeout=options.timeout,
            say=seen.say,
        )
    else:
        seen.told(Layer.CAPTURE, began, 'nothing to watch: give --run "pytest" or --app', ran=False)
        return
    seen.capture = capture
    seen.routes = routes_of(capture)
    if Layer.CAPTURE in options.layers:
        seen.findings += findings_of_capture(capture, project.root)
    requests_seen = sum(unit.kind == "request" for unit in capture.units)
    words = f"{len(capture.statements)} statements of {requests_seen} requests"
    seen.notes += capture.notes
    if capture.exit_status:
        seen.notes.append(
            f"{capture.command} ended with status {capture.exit_status}:"
            f" what ran until then was looked at. {last_line(capture.output_tail)}".rstrip()
        )
    seen.told(Layer.CAPTURE, began, words)


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"Its last line: {lines[-1]}" if lines else ""


def database(seen: Seen, layer: Layer) -> URL | None:
    """What the lower layers look at; told once for each of them where there is none."""
    if seen.url is None and seen.capture:
        seen.url = used_most(seen.capture)
    if seen.url is None:
        seen.told(layer, time.monotonic(), "no database to look at: give --url-env", ran=False)
    return seen.url


def read_statements(seen: Seen) -> None:
    began = time.monotonic()
    if (url := database(seen, Layer.STATEMENTS)) is None:
        return
    seen.say("reading what the server counted")
    captured = seen.capture.statements if seen.capture else ()
    try:
        report = slow_statements(url, captured)
    except UNREACHABLE as error:
        seen.told(Layer.STATEMENTS, began, unreachable(seen, url, error), ran=False)
        return
    seen.findings += report.findings
    seen.notes += report.notes
    if report.skipped:
        seen.told(Layer.STATEMENTS, began, report.skipped, ran=False)
    else:
        seen.told(Layer.STATEMENTS, began, f"{len(report.findings)} slow statements")


def read_catalog(seen: Seen) -> None:
    began = time.monotonic()
    if (url := database(seen, Layer.CATALOG)) is None:
        return
    seen.say("reading the catalog")
    try:
        report = read_findings(url, project=seen.project)
    except UNREACHABLE as error:
        seen.told(Layer.CATALOG, began, unreachable(seen, url, error), ran=False)
        return
    seen.database = report.database
    seen.findings += report.findings
    seen.notes += report.notes
    seen.told(Layer.CATALOG, began, f"indexes, keys and settings of {report.database}")


def try_plans(seen: Seen) -> None:
    began = time.monotonic()
    if (url := database(seen, Layer.PLANS)) is None:
        return
    if seen.capture is None:
        words = 'no statements to explain: give --run "pytest" or --app'
        seen.told(Layer.PLANS, began, words, ran=False)
        return
    try:
        units = {unit.number: unit.name for unit in seen.capture.units}
        project = seen.project
        wish = Wish(project.scratch_on, project.scratch_remembered, project.root)
        report = measure_statements(
            url, seen.capture.statements, units=units, say=seen.say, wish=wish
        )
    except UNREACHABLE as error:
        seen.told(Layer.PLANS, began, unreachable(seen, url, error), ran=False)
        return
    seen.findings += report.findings
    seen.notes += report.notes
    seen.measured = report.measured
    words = f"{len(report.measured)} measurements on a scratch copy"
    seen.told(Layer.PLANS, began, "; ".join(filter(None, (words, report.skipped))))


def unreachable(seen: Seen, url: URL, error: BaseException) -> str:
    """One line; test-connection.sh has the rest."""
    lines = str(error).splitlines() or [type(error).__name__]
    reason = mask(lines[0], secrets_of({}, [url]))
    if seen.options.url or seen.options.url_env:
        ending = ending_of(error)
        seen.away = seen.away or (ending.code if ending else Exit.DATABASE)
    return f"the database cannot be read ({reason}); see test-connection.sh"


def merge(findings: Sequence[QueryFinding]) -> list[QueryFinding]:
    """One finding a cause: a suspicion goes where something surer is about the same line."""
    sure = {(one.file, one.line) for one in findings if one.confidence is not Confidence.SUSPECTED}
    kept = [
        one
        for one in findings
        if one.confidence is not Confidence.SUSPECTED
        or one.file is None
        or (one.file, one.line) not in sure
    ]
    return list({one.fingerprint: one for one in reversed(kept)}.values())[::-1]


def sort(findings: Sequence[QueryFinding]) -> list[QueryFinding]:
    """What is sure before what is suspected, then the most expensive."""
    suspected = Confidence.SUSPECTED
    return sorted(
        findings,
        key=lambda one: (
            one.confidence is suspected, -one.cost_ms, one.file or "~", one.line or 0, one.rule
        ),
    )  # fmt: skip


def with_verify(findings: Sequence[QueryFinding], command: str) -> list[QueryFinding]:
    """Each with the command that says whether it is gone."""
    return [
        one if one.verify else replace(one, verify=f"{command} --only {one.fingerprint}")
        for one in findings
    ]
