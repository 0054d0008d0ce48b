"""Run Alembic commands of a project, one operating-system process each.

One process per command because projects keep pooled engines in modules: in a second
`asyncio.run` of the same process they fail. `alembic_worker.py`, run by its path, forks
them under the guard that lets them reach the scratch database only.
"""

import atexit
import contextlib
import json
import os
import runpy
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from toolkit.database.errors import DatabaseError
from toolkit.database.folders import own_folder
from toolkit.database.scratch import Scratch
from toolkit.database.urls import child_environment
from toolkit.fence.environment import Child, fenced
from toolkit.fence.kernel import die_with_parent
from toolkit.project.facts import AlembicSetup, Problem, Project
from toolkit.report import door
from toolkit.report.exits import Exit
from toolkit.report.masking import mask, secrets_of

SAID_ALREADY = frozenset({
    "CommandError", "DatabaseRefused", "Ended",
    "ConnectionIsRefused", "ProgramIsRefused", "WritingIsRefused", "RefusedTooOften",
})  # fmt: skip
LONGEST = 12  # lines of an error's text
WORKER = Path(__file__).with_name("alembic_worker.py")
SCRIPTS = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class AlembicResult:
    """How one command ended; texts are masked."""

    returncode: int
    """0, or 1 when the command failed (`error` says how)."""
    stdout: str
    stderr: str
    report: dict[str, Any] = field(default_factory=dict)
    """What the worker found, unmasked: it may hold the project's own address."""
    message: str = ""
    """The error in one paragraph, masked; empty on success."""

    @property
    def error(self) -> dict[str, Any]:
        """The worker's account of the failure; empty on success."""
        found: dict[str, Any] = self.report.get("error", {})
        return found


def run_alembic(
    project: Project,
    args: Sequence[str],
    scratch: Scratch | None,
    *,
    ini: Path,
    extra: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 120.0,
) -> AlembicResult:
    """Run `alembic <args>` with every connection sent to `scratch`.

    `extra` extends the worker's request (`action`, `version_location`, ...);
    `environment` adds variables, for settings that demand a URL. Without a scratch
    only actions that never connect are allowed. Raises DatabaseError when `timeout`
    seconds pass.
    """
    if scratch is None and (extra or {}).get("action") not in {"probe", "hooks"}:
        raise ValueError("only a probe or the hooks can do without a scratch database")
    setup = setup_at(project, ini)
    section = setup.name_option if setup else []
    with own_folder() as folder:
        stdout, stderr, result = (folder / name for name in ("stdout", "stderr", "result"))
        child = child_of(project, folder, scratch, environment or {}, extra or {})
        stdout.touch()
        stderr.touch()
        request = {
            "action": "command",
            "args": [*section, *args],
            "ini": str(ini.resolve()),
            "root": str(project.root.resolve()),
            "import_root": str(project.import_root.resolve()),
            "on_demand": scratch.on_demand if scratch else (),
            "scratch": scratch.url.render_as_string(hide_password=False) if scratch else None,
            "cwd": str(working_folder(project, ini)),
            "environment": child.environment,
            "fence": child.order,
            "migrations": migrations_of(project, ini),
            "result": str(result),
            "stdout": str(stdout),
            "stderr": str(stderr),
            "libraries": worker().libraries,
            **(extra or {}),
        }
        returncode = worker().run(request, timeout)
        texts = [file.read_text("utf-8", "replace") for file in (stdout, stderr)]
        report = json.loads(result.read_text("utf-8")) if result.exists() else None
    worker().libraries = (report or {}).pop("libraries", [])
    variables = child_environment(environment or {})
    urls = [scratch.url] if scratch else []
    secrets = secrets_of(variables, urls) | set(request.get("secrets", ()))
    seen = (report or {}).get("seen") or {}
    if seen.get("password"):
        seen["password"] = child.passwords.get(seen["password"], seen["password"])
        secrets.add(seen["password"])
    masked = [mask(text, secrets) for text in texts]
    if report is None:
        tail = "\n".join(masked[1].strip().splitlines()[-5:])
        report = {"error": {"type": "Ended", "message": tail or f"status {returncode}"}}
        returncode = returncode or 1
    error = report.get("error", {})
    message = mask(error_text(error), secrets) if error else ""
    return AlembicResult(1 if error else returncode, masked[0], masked[1], report, message)


def child_of(
    project: Project,
    folder: Path,
    scratch: Scratch | None,
    environment: Mapping[str, str],
    extra: Mapping[str, Any],
) -> Child:
    """The fence of one command."""
    root, look = project.root, extra.get("action") == "probe"
    own = [Path(extra["version_location"])] if extra.get("version_location") else []
    if scratch is None:
        return fenced(root, folder, environment, look=look)
    if scratch.kind == "sqlite":
        file = Path(str(scratch.url.database))
        return fenced(root, folder, environment, sqlite=file, writable=own)
    host, socket = first(scratch.url.query.get("host")), first(scratch.url.query.get("unix_socket"))
    port = scratch.url.port or int(first(scratch.url.query.get("port")) or 0)
    if host and host.startswith("/"):
        socket = f"{host}/.s.PGSQL.{port or 5432}"
    if socket:
        return fenced(root, folder, environment, socket=socket, writable=own)
    port = port or {"postgresql": 5432, "mysql": 3306}[scratch.kind]
    return fenced(root, folder, environment, port=port, writable=own)


def first(value: str | Sequence[str] | None) -> str | None:
    return value if isinstance(value, str | None) else value[0]


def migrations_of(project: Project, ini: Path) -> list[str]:
    """The folders of env.py and of the revisions."""
    setup = setup_at(project, ini)
    folders = (setup.env.parent, *setup.versions) if setup else ()
    return [str(path.resolve()) for path in folders]


def working_folder(project: Project, ini: Path) -> Path:
    """The folder to run Alembic in: a relative script_location counts from there."""
    setup = setup_at(project, ini)
    return setup.started_in.resolve() if setup else ini.resolve().parent


def setup_at(project: Project, ini: Path) -> AlembicSetup | None:
    wanted = ini.resolve()
    return next((setup for setup in project.alembic if setup.ini.resolve() == wanted), None)


class Worker:
    """The process that forks for each command.

    To start Python and import Alembic takes longer than most commands do, and a run has
    seven of them. It is a fork of this program, which has SQLAlchemy imported already.
    """

    def __init__(self) -> None:
        self.libraries: list[str] = []
        """What the last command had imported of well-known libraries; the next will, too."""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed by close)
        theirs, self._requests = os.pipe()
        self._answers, ours = os.pipe()
        # What is still in their buffers would be written twice.
        sys.stdout.flush()
        sys.stderr.flush()
        # The kernel counts from the thread that forks: one that ends would take the worker along.
        in_main = threading.current_thread() is threading.main_thread()
        self._pid = os.fork()
        if self._pid == 0:
            be_worker(theirs, ours, self._stderr.fileno(), dies=in_main)
        os.close(theirs)
        os.close(ours)

    @property
    def is_alive(self) -> bool:
        if self._pid and os.waitpid(self._pid, os.WNOHANG)[0]:
            self._pid = 0
        return self._pid != 0

    def run(self, request: Mapping[str, Any], timeout: float) -> int:
        """Hand over the request and wait for its end; the status of its process."""
        deadline = time.monotonic() + timeout
        child: int | None = None
        status: int | None = None
        try:
            with os.fdopen(os.dup(self._requests), "wb") as requests:
                requests.write(json.dumps(request).encode() + b"\n")
            child = self._number(deadline)
            status = self._number(deadline)
        except BrokenPipeError:
            raise self._ended() from None
        except TimeoutError:
            command = " ".join(["alembic", *request["args"]])
            raise DatabaseError(
                Problem(
                    "timeout",
                    f"`{command}` was still running after {timeout:g} s and was stopped.",
                    "Something in env.py or in a model's module waits; or allow more with"
                    " --timeout.",
                    Exit.PROOF_FAILED,
                )
            ) from None
        finally:
            if status is None:
                self.close(child)
        return status

    def _number(self, deadline: float) -> int:
        """The next line of the worker. Raises TimeoutError; DatabaseError if it has ended."""
        line = b""
        while not line.endswith(b"\n"):
            remaining = max(0.0, deadline - time.monotonic())
            if not select.select([self._answers], [], [], remaining)[0]:
                raise TimeoutError
            byte = os.read(self._answers, 1)
            if not byte:
                raise self._ended()
            line += byte
        return int(line)

    def _ended(self) -> DatabaseError:
        self._stderr.seek(0)
        said = mask(self._stderr.read().decode("utf-8", "replace"), secrets_of(os.environ))
        last = (said.strip().splitlines() or ["it said nothing"])[-1]
        return DatabaseError(
            Problem(
                "worker",
                f"The process that runs Alembic ended: {last}",
                "If that does not say why, run it again; Alembic itself may not import.",
                Exit.PROOF_FAILED,
            )
        )

    def close(self, child: int | None = None) -> None:
        """End it, with the command that is under way."""
        for group in (child, self._pid):
            if group and self.is_alive:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)
        if self._pid:
            os.waitpid(self._pid, 0)
            self._pid = 0
        for pipe in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                os.close(pipe)
        self._stderr.close()


def be_worker(requests: int, answers: int, errors: int, *, dies: bool) -> NoReturn:
    """Turn this process, a fork, into one that knows nothing of this toolkit."""
    status = 1
    try:
        # Ctrl-C reaches the program only, which then ends the worker itself.
        os.setsid()
        if dies:
            die_with_parent()
        for number, descriptor in enumerate((requests, answers, errors)):
            os.dup2(descriptor, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        variables = child_environment({})
        os.environ.clear()
        os.environ.update(variables)
        sys.dont_write_bytecode = True
        door.leave()
        # What they were may be anything, as in a test or a notebook; a project prints to 1 and 2.
        for number, name in ((1, "stdout"), (2, "stderr")):
            setattr(sys, name, os.fdopen(number, "w", buffering=1, closefd=False))
        forget_toolkit()
        runpy.run_path(str(WORKER), run_name="__main__")
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


_forgotten: list[object] = []


def forget_toolkit() -> None:
    """A project may have packages of the same names.

    The modules are kept where nobody finds them: to take them down takes longer than a command.
    """
    sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != SCRIPTS]
    for name in list(sys.modules):
        if name.partition(".")[0] == "toolkit":
            _forgotten.append(sys.modules.pop(name))


_workers: list[Worker] = []


def worker() -> Worker:
    """This program's worker, started at its first use and after its death."""
    if not _workers or not _workers[-1].is_alive:
        _workers.append(Worker())
        atexit.register(_workers[-1].close)
    return _workers[-1]


def error_text(error: Mapping[str, Any]) -> str:
    """`Type: message`, without the statement and the links that SQLAlchemy appends."""
    message = str(error.get("message", ""))
    message = message.split("\n(Background on this error at:", maxsplit=1)[0].strip()
    name = str(error.get("type", ""))
    lines = message.splitlines()
    if len(lines) > LONGEST:
        message = "\n".join([*lines[:LONGEST], f"... ({len(lines) - LONGEST} more lines)"])
    return message if name in SAID_ALREADY else f"{name}: {message}"
