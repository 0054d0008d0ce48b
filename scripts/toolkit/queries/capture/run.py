"""Runs the project's own command, or requests against its application, under the watch.

Both happen in a process of their own, which gets the worker through PYTHONPATH: nothing of
the project is changed, and nothing of this toolkit can be imported there.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.database.folders import own_folder, sweep_folders
from toolkit.project.facts import Project
from toolkit.queries.capture.read import Records, away_in, unit_errors
from toolkit.queries.capture.record import Capture
from toolkit.queries.capture.requests import Request, with_headers
from toolkit.queries.errors import QueriesError, database_away, nothing_seen, run_failed
from toolkit.report.exits import Exit
from toolkit.report.masking import Masker, mask

Say = Callable[[str], None]

WORKER = Path(__file__).with_name("worker")
TAIL = 4_000
"""Characters of the command's output that are kept."""
GRACE = 0.8
"""Seconds between asking a process group to end and ending it."""
# Waits for the number of a process group, then for a word; ends the group if none comes, which
# is when this program was killed and could not do it itself (#11).
WATCH = 'read -r group && { read -r _ || kill -s KILL -- "-$group"; }'
DRIVERS = re.compile(r"sqlalchemy|asyncpg|psycopg|pymysql|aiomysql|MySQLdb|asyncmy|pg8000")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_SHELL = {"|", "||", "&", "&&", ";", "<", ">", ">>", "2>&1"}


def silent(_words: str) -> None:
    """Says nothing."""


def watch_command(
    project: Project, command: str, *, timeout: float = 1800.0, say: Say = silent
) -> Capture:
    """Run `command` (such as `pytest -q`) in the project's root, and see its statements.

    `timeout` is in seconds; what was seen until then is reported. `say` is called now and
    then with how far it is. Raises QueriesError where it cannot start or shows no statement.
    """
    words, variables = _words(command)
    with _workplace(project.root) as place:
        environment = place.environment | variables
        program = shutil.which(words[0], path=environment["PATH"])
        if program is None or (os.sep in words[0] and not (project.root / words[0]).exists()):
            raise run_failed(
                f"`{words[0]}` is neither in {Path(sys.executable).parent} nor on the PATH.",
                "Install it into the project's environment, or give --run another command.",
            )
        status, seconds, late = place.run([program, *words[1:]], environment, timeout, say)
        return place.capture(command, status, seconds, late, timeout)


def watch_requests(
    project: Project,
    app: str,
    requests: Sequence[Request] | None,
    *,
    headers: Sequence[tuple[str, str]] = (),
    overrides: str | None = None,
    timeout: float = 600.0,
    say: Say = silent,
) -> Capture:
    """Send `requests` to the application `app` (`module:attribute`, or a function that makes
    it), one after the other, and see their statements. Without requests, each GET of its
    OpenAPI document that needs no value. The rest is as for watch_command.
    """
    with _workplace(project.root) as place:
        answers = place.folder / "answers.jsonl"
        answers.touch(0o600)
        job = {
            "app": app,
            "paths": list(dict.fromkeys([str(project.import_root), str(project.root)])),
            "requests": None
            if requests is None
            else [
                [one.method, one.target, [list(pair) for pair in one.headers], one.body]
                for one in (with_headers(one, headers) for one in requests)
            ],
            "answers": str(answers),
            "headers": [list(pair) for pair in headers],
            "overrides": overrides,
        }
        file = place.private("job.json", json.dumps(job))
        many = "all plain GET" if requests is None else str(len(requests))
        command = f"{many} requests to {app}"
        # How many that are is known where the application is, and not here.
        what = "plain GET requests" if requests is None else f"of {many} requests"

        def say_answers(_seen: str) -> None:
            done = len(answers.read_text(encoding="utf-8").splitlines())
            say(f"{done} {what}")

        status, seconds, late = place.run(
            [sys.executable, "-P", str(place.folder / "worker" / "replay.py"), str(file)],
            place.environment,
            timeout,
            say_answers,
        )
        got = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
        secrets = {value for one in requests or () for _, value in one.headers}
        secrets |= {value for _, value in headers if value}
        if not got and status == 0 and not late:
            raise nothing_seen(
                f"{app} has no route that a plain GET request would reach, so none was sent.",
                "Name requests of other methods, or with values, in a file for --requests.",
            )
        if not got:
            raise place.cannot_start(f"{app} did not start", late, timeout, secrets)
        return place.capture(
            command, status, seconds, late, timeout, notes=_of_answers(got), secrets=secrets
        )


NOT_SIGNED_IN = frozenset({401, 403})
SIGN_IN = (
    "to sign in, give --headers FILE with a line such as `Authorization: Bearer ...`, or"
    " --overrides MODULE, whose `dependency_overrides` replace what checks who it is"
)


def _words(command: str) -> tuple[list[str], dict[str, str]]:
    """The command's words, and the variables that are set before them."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise run_failed(f"--run: {error}.", "Close the quotation marks.") from None
    variables: dict[str, str] = {}
    while words and (found := _ASSIGNMENT.fullmatch(words[0])):
        variables[found[1]] = found[2]
        words.pop(0)
    if not words:
        raise run_failed("--run: there is no command.", 'Give one, such as --run "pytest -q".')
    if _SHELL.intersection(words):
        raise run_failed(
            "--run: the command is run without a shell.", "Write `bash -c '...'` around it."
        )
    return words, variables


def _of_answers(got: list[list[Any]]) -> list[str]:
    """Notes about requests that were not answered well: they show other code than was meant."""
    notes = []
    bad = [status for status, _ in got if status is not None and status >= 400]
    raised = sorted({error for _, error in got if error})
    if bad:
        counted = ", ".join(f"{bad.count(one)} with {one}" for one in sorted(set(bad)))
        notes.append(f"of {len(got)} requests, {counted}")
        if NOT_SIGNED_IN.intersection(bad):
            notes.append(SIGN_IN)
    if raised:
        notes.append(f"exceptions came out of the application: {', '.join(raised)}")
    return notes


@contextmanager
def _workplace(root: Path) -> Iterator["_Workplace"]:
    """A private folder with a copy of the worker, gone afterwards.

    It holds requests and values of parameters: what killed runs left is removed first (#11).
    """
    sweep_folders()
    with own_folder() as folder:
        yield _Workplace(folder, root)


class _Workplace:
    """Where the worker is found, and where it writes."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.root = root.resolve()
        self.records = folder / "records"
        self.output = folder / "output"
        # A copy, so that neither a compiled file nor a name of ours gets near the project.
        shutil.copytree(WORKER, folder / "worker", ignore=shutil.ignore_patterns("__pycache__"))
        self.records.mkdir(0o700)
        settings = {"root": str(self.root), "records": str(self.records)}
        self.private("settings.json", json.dumps(settings))
        self.environment = _environment(folder / "worker")

    def private(self, name: str, text: str) -> Path:
        """A file that nobody else can read."""
        file = self.folder / name
        file.touch(0o600)
        file.write_text(text, encoding="utf-8")
        return file

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], timeout: float, say: Say
    ) -> tuple[int, float, bool]:
        """Exit status, seconds, and was it stopped for taking longer than `timeout`?"""
        began = time.monotonic()
        with self.private("output", "").open("wb") as output, _watched() as watch:
            try:
                process = subprocess.Popen(
                    arguments,
                    cwd=self.root,
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise run_failed(
                    f"`{Path(arguments[0]).name}` cannot be started: {error.strerror}.",
                    "Give --run a command that runs in a terminal.",
                ) from None
            try:
                watch(process.pid)
                late = not self._wait(process, began + timeout, say)
            finally:
                if process.returncode is None:
                    _end_group(process)
        return process.returncode, time.monotonic() - began, late

    def _wait(self, process: "subprocess.Popen[bytes]", deadline: float, say: Say) -> bool:
        """Has it ended before the deadline?"""
        seen = _Seen(self.records)
        pause, said = 0.02, ""
        while time.monotonic() < deadline:
            try:
                process.wait(min(pause, max(0.0, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                pause = min(pause * 2, 0.5)
                if (words := seen.words()) != said:
                    said = words
                    say(words)
            else:
                return True
        return process.poll() is not None

    def capture(
        self,
        command: str,
        status: int,
        seconds: float,
        late: bool,
        timeout: float,
        *,
        notes: Sequence[str] = (),
        secrets: Set[str] = frozenset(),
    ) -> Capture:
        """What was written. Raises QueriesError where there is no statement."""
        records = Records(self.root)
        records.read(self.records)
        if not records.statements:
            if away := records.away or self.away():
                raise database_away(command, away, self.root)
            if status != 0:
                raise self.cannot_start(f"`{command}` ended with {status}", late, timeout, secrets)
            answered = "".join(f" {note[0].upper()}{note[1:]}." for note in notes)
            raise nothing_seen(
                f"`{command}` ran, and SQLAlchemy sent not one statement.{answered}",
                _why_nothing(self.records),
            )
        said = list(notes)
        failed = unit_errors(records.units)
        if failed:
            tests = sum(one.kind == "test" for one in records.units)
            said.append(f"{failed} of {tests} tests failed; what they did until then counts")
        if late:
            said.append(f"stopped after {timeout:g} s; what was seen until then counts")
        if records.away:
            said.append("the database did not answer all the time; what was seen until then counts")
        said += [f"not everything was seen: {trouble}" for trouble in records.troubles]
        secrets = secrets | _texts([one.parameters for one in records.statements])
        return Capture(
            command=command,
            exit_status=status,
            seconds=seconds,
            engines=tuple(records.engines),
            units=tuple(records.units),
            statements=tuple(records.statements),
            events=tuple(records.events),
            output_tail=self.tail(secrets, [one.url for one in records.engines]),
            notes=tuple(said),
        )

    def cannot_start(
        self, what: str, late: bool, timeout: float, secrets: Set[str]
    ) -> QueriesError:
        if late:
            what = f"{what.partition(' ended')[0]} was still at it after {timeout:g} s"
        lines = [line for line in self.tail(secrets, ()).splitlines() if line.strip()]
        last = f", saying: {lines[-1].strip()}" if lines else " and said nothing"
        return run_failed(
            f"{what}{last}.", f"Run it by hand in {self.root} first: it has to work there."
        )

    def tail(self, secrets: Set[str], urls: Sequence[str]) -> str:
        """The end of the output without passwords and parameters."""
        text = self.output_text()
        masker = Masker()
        masker.learn_environment(os.environ)
        masker.learn_folder(self.root)
        for url in urls:
            masker.learn(url)
        text = masker(mask(text))
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text[-TAIL:]

    def away(self) -> Exit | None:
        """How the database was not there, by what a driver of one has the command print."""
        said = self.output_text()
        return away_in(said) if DRIVERS.search(said) else None

    def output_text(self) -> str:
        """The end of it as it is: with all that is secret."""
        with self.output.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 4 * TAIL))
            return stream.read().decode("utf-8", "replace")


class _Seen:
    """Counts what has been written so far, reading each line once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read: dict[Path, int] = {}
        self.ended = self.statements = 0

    def words(self) -> str:
        for file in self.folder.glob("*.jsonl"):
            with contextlib.suppress(OSError), file.open("rb") as stream:
                stream.seek(self.read.get(file, 0))
                for line in stream:
                    self.ended += line.startswith(b'["end"')
                    self.statements += line.startswith(b'["statement"')
                self.read[file] = stream.tell()
        if not self.statements:
            return "waiting for its first statement"
        return f"{self.ended} requests and tests, {self.statements} statements"


def _environment(worker: Path) -> dict[str, str]:
    """This process's, with the worker and the project's interpreter in front."""
    environment = dict(os.environ)
    programs = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join(filter(None, [programs, environment.get("PATH", "")]))
    if sys.prefix != sys.base_prefix:
        environment["VIRTUAL_ENV"] = sys.prefix
    paths = [str(worker), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


@contextmanager
def _watched() -> Iterator[Callable[[int], None]]:
    """Give the number of a process group to what this yields: it ends when this program does."""
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", WATCH],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        text=True,
    )
    assert watcher.stdin is not None

    def write(word: object) -> None:
        assert watcher.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            watcher.stdin.write(f"{word}\n")
            watcher.stdin.flush()

    try:
        yield write
    finally:
        write("done")
        watcher.stdin.close()
        watcher.wait()


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End the command with everything that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    process.wait()


def _why_nothing(records: Path) -> str:
    if not any(records.iterdir()):
        return (
            "The Python that it starts does not read PYTHONPATH (-I, -E, tox and containers"
            " do that): name the inner command, such as `pytest`."
        )
    return "Choose tests or requests that reach the database through SQLAlchemy."


def _texts(parameters: Sequence[Any]) -> set[str]:
    """Texts among parameters that are long enough to be told from ordinary words."""
    found: set[str] = set()
    waiting: list[Any] = list(parameters)
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and len(value) >= 6:
            found.add(value)
    return found
