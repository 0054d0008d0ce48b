"""Python programs in processes of their own that need not import SQLAlchemy and Alembic again.

That import is most of what an `alembic` command costs, and the tests run about a thousand.
A server, started once for each test process, has them imported and forks for each program.
What runs is the same, but for environment variables that Python reads at its start.
"""

import atexit
import functools
import gc
import json
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def run(
    arguments: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    stderr: IO[bytes] | None = None,
    timeout: float = 120,
    warnings: str = "error",
) -> tuple[int, str]:
    """`python -W <warnings> <arguments>` in `cwd`: its exit status and output.

    `arguments` is `-m MODULE ...`, `-c CODE` or `FILE ...`. Errors go to `stderr`, else
    with the rest. A program that is still running after `timeout` seconds is ended.
    """
    with tempfile.NamedTemporaryFile() as output:
        request = {
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "environment": dict(environment),
            "output": output.name,
            "stderr": stderr.name if stderr else None,
            "timeout": timeout,
            "warnings": warnings,
        }
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return status, Path(output.name).read_text(encoding="utf-8", errors="replace")


def completed(
    *arguments: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 120,
    warnings: str = "error",
) -> "subprocess.CompletedProcess[str]":
    """What `subprocess.run([sys.executable, "-W", "error", *arguments])` would say."""
    with tempfile.NamedTemporaryFile() as errors:
        status, output = run(
            arguments,
            cwd=cwd or Path.cwd(),
            environment=os.environ if environment is None else environment,
            stderr=errors,
            timeout=timeout,
            warnings=warnings,
        )
        said = Path(errors.name).read_text(encoding="utf-8", errors="replace")
    return subprocess.CompletedProcess(arguments, status, output, said)


def door(
    script: Path, *arguments: str, cwd: Path, environment: Mapping[str, str], timeout: float = 240
) -> "subprocess.CompletedProcess[str]":
    """What `bash <script> <arguments>` would say: the bash is real, the Python a warm one.

    Started cold where the environment says something to Python itself or names an
    interpreter other than this one. Tests that send signals start it themselves.
    """
    own = environment.get("VIRTUAL_ENV") in (None, sys.prefix)
    if not own or any(name in environment for name in ("PYTHONPATH", "PYTHONSAFEPATH")):
        return _bash(script, arguments, cwd, environment, timeout)
    stand_in = _stand_in()
    with tempfile.NamedTemporaryFile() as handed_over:
        variables = {
            **environment,
            "VIRTUAL_ENV": str(stand_in),
            "HANDED_OVER": handed_over.name,
        }
        found = _bash(script, arguments, cwd, variables, timeout)
        wanted = json.loads(Path(handed_over.name).read_text() or "null")
    said = found.stderr.replace(str(stand_in), sys.prefix)
    if wanted is None:
        return subprocess.CompletedProcess(arguments, found.returncode, found.stdout, said)
    ended = completed(
        *wanted["arguments"],
        cwd=Path(wanted["cwd"]),
        environment={
            name: value for name, value in wanted["environment"].items() if name != "HANDED_OVER"
        }
        | {"VIRTUAL_ENV": sys.prefix},
        timeout=timeout,
        warnings="default",
    )
    return subprocess.CompletedProcess(
        arguments, ended.returncode, found.stdout + ended.stdout, said + ended.stderr
    )


def _bash(
    script: Path,
    arguments: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    timeout: float,
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", str(script), *arguments],
        cwd=cwd,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@functools.cache
def _stand_in() -> Path:
    """A virtualenv whose Python writes down what it was asked to run."""
    folder = Path(tempfile.mkdtemp(prefix="asp-stand-in-"))
    atexit.register(shutil.rmtree, folder)
    python = folder / "bin" / "python"
    python.parent.mkdir()
    real = shlex.quote(sys.executable)
    python.write_text(
        "#!/bin/sh\n"
        f'case "$1" in -*) exec {real} "$@" ;; esac\n'
        f'exec {real} -S -E {shlex.quote(str(Path(__file__).with_name("hand_over.py")))} "$@"\n'
    )
    python.chmod(0o755)
    return folder


@functools.cache
def _server() -> "subprocess.Popen[str]":
    server = subprocess.Popen(
        [sys.executable, "-P", "-W", "error", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    atexit.register(server.stdout.close)
    atexit.register(server.wait)
    atexit.register(server.stdin.close)
    return server


def _serve() -> None:
    # Imported here: the tests' own processes want only what is above.
    import alembic.command  # noqa: F401
    import fastapi  # noqa: F401
    import httpx  # noqa: F401
    import mako.template  # noqa: F401
    import pydantic_settings  # noqa: F401
    import pytest  # noqa: F401
    import sqlalchemy.dialects.mysql.aiomysql
    import sqlalchemy.dialects.postgresql.asyncpg
    import sqlalchemy.dialects.sqlite.aiosqlite
    import sqlalchemy.ext.asyncio
    import sqlalchemy.orm

    for dialect in ("sqlite+aiosqlite", "postgresql+asyncpg", "mysql+aiomysql"):
        sqlalchemy.make_url(f"{dialect}://").get_dialect().import_dbapi()

    sys.path.insert(0, str(SCRIPTS))
    import toolkit.migration.outcome
    import toolkit.setup.command  # noqa: F401

    with os.fdopen(os.dup(0)) as requests, os.fdopen(os.dup(1), "w") as answers:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        gc.freeze()
        for line in requests:
            child = os.fork()
            if child == 0:
                request = json.loads(line)
                break
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
        else:
            return
    _become(request)


def _become(request: dict[str, Any]) -> None:
    output = os.open(request["output"], os.O_WRONLY | os.O_APPEND)
    errors = os.open(request["stderr"], os.O_WRONLY | os.O_APPEND) if request["stderr"] else output
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    signal.setitimer(signal.ITIMER_REAL, request["timeout"])
    sys.dont_write_bytecode = True
    warnings.simplefilter(request["warnings"])
    first, *rest = request["arguments"]
    if not Path(first).is_relative_to(SCRIPTS):
        # Only the scripts have it: a project may have a package of this name.
        from toolkit.database.alembic_process import forget_toolkit

        forget_toolkit()
    if first == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.path.insert(0, request["cwd"])
        sys.argv = list(rest)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(first).parent.resolve()))
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    _serve()
