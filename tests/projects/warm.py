"""Python programs in processes of their own that need not import SQLAlchemy and Alembic again.

That import is most of what an `alembic` command costs, and the tests run about a thousand.
A server, started once for each test process, has them imported and forks for each program.
What runs is the same, but for environment variables that Python reads at its start.

`run` and `completed` start a program; `python`, `door` and `environment` have what others start
by the names of `PROGRAMS` be such programs, through `stand_in.py`. What is about starting itself
(imports, environments) is started cold.
"""

import atexit
import compileall
import contextlib
import fcntl
import functools
import gc
import importlib
import marshal
import os
import pkgutil
import platform
import runpy
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
STAND_IN = Path(__file__).with_name("stand_in.py")
PRACTICE = Path(__file__).with_name("practice.py")
_servers: "list[subprocess.Popen[bytes]]" = []
MOST_DESCRIPTORS = 64
# What each door asks first; a fork for that costs as much as a refusal does (#10).
ANSWER = f"""\
[ "$#-$1-$2" != "3--I--c" ] || case $3 in "import os, platform; print(platform.python_version(), "*)
    echo {platform.python_version()} {os.name}; exit ;;
esac
"""
PROGRAMS = ("python", "python3", "alembic", "pytest", "uvicorn")


def run(
    arguments: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    stderr: IO[bytes] | None = None,
    timeout: float = 600,
    warnings: str = "error",
) -> tuple[int, str]:
    """`python -W <warnings> <arguments>` in `cwd`: its exit status and output.

    `arguments` is `-m MODULE ...`, `-c CODE` or `FILE ...`. Errors go to `stderr`, else
    with the rest. A program that is still running after `timeout` seconds is ended.
    """
    order = {
        "arguments": [str(argument) for argument in arguments],
        "cwd": str(cwd),
        "environment": dict(environment),
        "timeout": timeout,
        "warnings": warnings,
    }
    text = marshal.dumps(order)
    with (
        tempfile.TemporaryFile() as output,
        Path(os.devnull).open() as nothing,
        socket.socket(socket.AF_UNIX) as server,
    ):
        out = output.fileno()
        server.connect(str(_folder() / "socket"))
        errors = stderr.fileno() if stderr else out
        socket.send_fds(server, [b"%12d" % len(text)], [nothing.fileno(), out, errors])
        server.sendall(text)
        status = int(server.makefile().readline())
        output.seek(0)
        return status, output.read().decode("utf-8", errors="replace")


def completed(
    *arguments: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 600,
    warnings: str = "error",
) -> "subprocess.CompletedProcess[str]":
    """What `subprocess.run([sys.executable, "-W", "error", *arguments])` would say."""
    with tempfile.TemporaryFile() as errors:
        status, output = run(
            arguments,
            cwd=cwd or Path.cwd(),
            environment=os.environ if environment is None else environment,
            stderr=errors,
            timeout=timeout,
            warnings=warnings,
        )
        errors.seek(0)
        said = errors.read().decode("utf-8", errors="replace")
    return subprocess.CompletedProcess(arguments, status, output, said)


def door(
    script: Path, *arguments: str, cwd: Path, environment: Mapping[str, str], timeout: float = 900
) -> "subprocess.CompletedProcess[str]":
    """What `bash <script> <arguments>` would say: the bash is real, the Python a warm one.

    Started cold where the environment says something to Python itself or names an
    interpreter other than this one. Tests that send signals start it themselves.
    """
    cold = environment.get("VIRTUAL_ENV") not in (None, sys.prefix)
    stand_in = str(_folder())
    ended = subprocess.run(
        ["bash", str(script), *arguments],
        cwd=cwd,
        env={**environment} if cold else {**environment, "VIRTUAL_ENV": stand_in},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    ended.stderr = ended.stderr.replace(stand_in, sys.prefix)
    return ended


def python() -> str:
    """Stands for `sys.executable`: what it is told to run is a warm program."""
    return str(_folder() / "bin" / "python")


def environment() -> dict[str, str]:
    """VIRTUAL_ENV and PATH with which the programs that a shell starts are warm ones."""
    folder = _folder()
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    return {"VIRTUAL_ENV": str(folder), "PATH": path}


@functools.cache
def _folder() -> Path:
    """A virtualenv of stand-ins, and the socket of the server behind them."""
    folder = Path(tempfile.mkdtemp(prefix="asp-warm-"))
    atexit.register(shutil.rmtree, folder)
    (folder / "bin").mkdir()
    real, stand_in, address = (
        shlex.quote(str(word)) for word in (sys.executable, STAND_IN, folder / "socket")
    )
    for name in PROGRAMS:
        program = folder / "bin" / name
        behind = real if name.startswith("python") else shlex.quote(f"{sys.prefix}/bin/{name}")
        program.write_text(
            f"#!/bin/sh\n{ANSWER}exec {real} -S -E {stand_in} {address} {behind} " + '"$@"\n'
        )
        program.chmod(0o755)
    for program in Path(sys.prefix, "bin").iterdir():
        if program.name not in PROGRAMS:
            (folder / "bin" / program.name).symlink_to(program)
    server = subprocess.Popen(
        [sys.executable, "-P", "-W", "error", __file__, str(folder / "socket")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert server.stdout is not None
    _servers.append(server)
    atexit.register(end)
    server.stdout.readline()
    return folder


def end() -> None:
    """End the server, if there is one: what it and its programs cost is known only then."""
    for server in _servers:
        assert server.stdin is not None and server.stdout is not None
        server.stdin.close()  # which ends it
        server.wait()
        server.stdout.close()
    _servers.clear()


def _import() -> None:
    # Imported here: the tests' own processes want only what is above.
    import alembic.command
    import alembic.config  # noqa: F401
    import anyio
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
    import sqlglot  # noqa: F401
    import uvicorn  # noqa: F401

    # pytest would warn that it comes too late to rewrite the asserts of this plugin.
    anyio.__doc__ = "PYTEST_DONT_REWRITE"
    for dialect in ("sqlite+aiosqlite", "postgresql+asyncpg", "mysql+aiomysql"):
        sqlalchemy.make_url(f"{dialect}://").get_dialect().import_dbapi()

    sys.path.insert(0, str(SCRIPTS))
    import toolkit

    # What is loaded by its path is compiled, too.
    compileall.compile_dir(SCRIPTS, quiet=2)
    # All of them: what a command imports only when it is needed would else be compiled anew by
    # each program (#10).
    for found in pkgutil.walk_packages(toolkit.__path__, "toolkit."):
        if (
            not found.name.rpartition(".")[2].endswith("worker")
            and "_query_capture" not in found.name
        ):
            importlib.import_module(found.name)


class _Server:
    """Forks a program for each order; in the program, `serve` returns its order."""

    def __init__(self, address: str) -> None:
        self.running: dict[int, socket.socket] = {}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(address)
        self.listener.listen(64)
        self.woken, self.wake = socket.socketpair()
        for end in (self.woken, self.wake):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake.fileno(), warn_on_full_buffer=False)
        self.selector = selectors.DefaultSelector()
        for ready in (self.listener, self.woken, sys.stdin):
            self.selector.register(ready, selectors.EVENT_READ)

    def serve(self) -> tuple[dict[str, Any], list[int]] | None:
        gc.freeze()
        print("ready", flush=True)
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is sys.stdin:  # the tests are over, or dead
                    for pid in self.running:
                        os.kill(pid, signal.SIGKILL)
                    self.forget()
                    return None
                if key.fileobj is self.listener:
                    if order := self.accept():
                        return order
                elif key.fileobj is self.woken:
                    self.reap()
                else:
                    self.forward(key.fileobj, key.data)  # type: ignore[arg-type]

    def accept(self) -> tuple[dict[str, Any], list[int]] | None:
        """Fork; the order in the child, None in the server."""
        connection, _ = self.listener.accept()
        header, descriptors, _, _ = socket.recv_fds(connection, 12, MOST_DESCRIPTORS)
        with connection.makefile("rb") as stream:
            order = marshal.loads(stream.read(int(header)))
        child = os.fork()
        if child == 0:
            self.forget()
            connection.close()
            return order, descriptors
        for descriptor in descriptors:
            os.close(descriptor)
        self.running[child] = connection
        self.selector.register(connection, selectors.EVENT_READ, child)
        return None

    def forget(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.selector.close()
        for one in (self.listener, self.woken, self.wake, *self.running.values()):
            one.close()

    def reap(self) -> None:
        self.woken.recv(4096)
        while self.running:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                break
            connection = self.running.pop(child)
            if connection in self.selector.get_map():
                self.selector.unregister(connection)
                with contextlib.suppress(OSError):  # it may have gone this moment
                    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
            connection.close()

    def forward(self, connection: socket.socket, child: int) -> None:
        """A signal that the stand-in got; or its death, which the program shares."""
        numbers = connection.recv(16)
        if not numbers:
            self.selector.unregister(connection)
        for number in numbers or [signal.SIGKILL]:
            os.kill(child, number)


def _become(request: dict[str, Any], descriptors: list[int]) -> None:
    # First out of the way: one may have the number that another is to get.
    high = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 1000) for one in descriptors]
    for one in descriptors:
        os.close(one)
    for number, descriptor in zip(request.get("descriptors", (0, 1, 2)), high, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    if "asp-warm-" in os.environ.get("VIRTUAL_ENV", ""):
        os.environ["VIRTUAL_ENV"] = sys.prefix
    os.chdir(request["cwd"])
    if "timeout" in request:
        signal.setitimer(signal.ITIMER_REAL, request["timeout"])
    time.tzset()
    sys.dont_write_bytecode = True
    if "PYTHONUNBUFFERED" in os.environ:
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    warnings.simplefilter(request["warnings"])
    sys.executable = request["executable"]
    first, *rest = request["arguments"]
    safe_path = "safe_path" in request
    if safe_path or not Path(first).is_relative_to(SCRIPTS):
        # Only the scripts have it: a project may have a package of this name.
        from toolkit.database.alembic_process import forget_toolkit

        forget_toolkit()
    if capture := os.environ.get("PYTHONPATH"):
        # What Python does at its start. What is imported here already, it takes up as well.
        sys.path.insert(0, capture)
        sys.modules.pop("sitecustomize", None)
        with contextlib.suppress(ModuleNotFoundError):  # a person's own PYTHONPATH may hold none
            importlib.import_module("sitecustomize")
    if first == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.path.insert(0, request["cwd"])
        sys.argv = list(rest)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        if not safe_path:
            sys.path.insert(0, str(Path(first).parent.resolve()))
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


def _status(ended: SystemExit) -> int:
    if ended.code is None or isinstance(ended.code, int):
        return (ended.code or 0) & 0xFF
    print(ended.code, file=sys.stderr)
    return 1


def _end(status: int) -> None:
    """The program's end, but for the modules that it shares with the server: to take those down
    takes five times as long as all else in a short program.
    """
    threading._shutdown()
    atexit._run_exitfuncs()
    gc.collect()  # what was not closed says so
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def main(address: str) -> None:
    _import()
    runpy.run_path(str(PRACTICE))["practise"]()
    # In the program, what the server was is gone before it begins.
    found = _Server(address).serve()
    if found is not None:
        order, descriptors = found
        # What it starts in turn is warm as well.
        python = str(Path(address).parent / "bin" / "python")
        status = 0
        try:
            _become({"executable": python, **order}, descriptors)
        except SystemExit as ended:
            status = _status(ended)
        _end(status)


if __name__ == "__main__":
    main(sys.argv[1])
