"""Run Alembic commands of a project, one operating-system process each.

One process per command because projects keep pooled engines in modules: in a second
`asyncio.run` of the same process they fail. The process runs `alembic_worker.py` by its
path, under the guard that lets it reach the scratch database only.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from toolkit.database.errors import DatabaseError
from toolkit.database.scratch import Scratch, scratch_name
from toolkit.database.urls import child_environment, mask, secrets_of
from toolkit.project.facts import Problem, Project
from toolkit.report.exits import Exit

LONGEST = 12  # lines of an error's text
WORKER = Path(__file__).with_name("alembic_worker.py")


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
    variables = child_environment(environment or {})
    with tempfile.TemporaryDirectory(prefix=scratch_name() + "_") as folder:
        result = Path(folder, "result.json")
        request = {
            "action": "command",
            "args": list(args),
            "ini": str(ini.resolve()),
            "root": str(project.root.resolve()),
            "import_root": str(project.import_root.resolve()),
            "scratch": scratch.url.render_as_string(hide_password=False) if scratch else None,
            "result": str(result),
            **(extra or {}),
        }
        with (
            Path(folder, "stdout").open("w+b") as stdout,
            Path(folder, "stderr").open("w+b") as stderr,
        ):
            process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER)],
                cwd=working_folder(project, ini),
                env=variables,
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                # Ctrl-C reaches this program only, which then ends the worker itself.
                start_new_session=True,
            )
            returncode = converse(process, request, timeout)
            texts = [read(stdout), read(stderr)]
        report = json.loads(result.read_text("utf-8")) if result.exists() else None
    urls = [scratch.url] if scratch else []
    secrets = secrets_of(variables, urls) | set(request.get("secrets", ()))
    seen = (report or {}).get("seen") or {}
    if seen.get("password"):
        secrets.add(seen["password"])
    masked = [mask(text, secrets) for text in texts]
    if report is None:
        tail = "\n".join(masked[1].strip().splitlines()[-5:])
        report = {"error": {"type": "Ended", "message": tail or f"status {returncode}"}}
        returncode = returncode or 1
    error = report.get("error", {})
    message = mask(error_text(error), secrets) if error else ""
    return AlembicResult(1 if error else returncode, masked[0], masked[1], report, message)


def working_folder(project: Project, ini: Path) -> Path:
    """The folder to run Alembic in: a relative script_location counts from there."""
    own = ini.resolve().parent
    for setup in project.alembic:
        if setup.ini.resolve() == ini.resolve():
            candidates = (own, project.import_root.resolve(), project.root.resolve())
            for folder in candidates:
                if (folder / setup.configured_location).resolve() == setup.script_location:
                    return folder
    return own


def converse(process: "subprocess.Popen[bytes]", request: Mapping[str, Any], timeout: float) -> int:
    """Hand over the request, keep the lifeline open, wait for the end."""
    assert process.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        command = " ".join(["alembic", *request["args"]])
        raise DatabaseError(
            Problem(
                "timeout",
                f"`{command}` was still running after {timeout:g} s and was stopped.",
                "Something in env.py or in a model's module waits; or allow more with --timeout.",
                Exit.PROOF_FAILED,
            )
        ) from None
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with contextlib.suppress(OSError):
            process.stdin.close()


def read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def error_text(error: Mapping[str, Any]) -> str:
    """`Type: message`, without the statement and the links that SQLAlchemy appends."""
    message = str(error.get("message", ""))
    message = message.split("\n(Background on this error at:", maxsplit=1)[0].strip()
    name = str(error.get("type", ""))
    lines = message.splitlines()
    if len(lines) > LONGEST:
        message = "\n".join([*lines[:LONGEST], f"... ({len(lines) - LONGEST} more lines)"])
    return message if name in {"CommandError", "DatabaseRefused", "Ended"} else f"{name}: {message}"
