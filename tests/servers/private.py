"""What private PostgreSQL and MySQL servers have in common."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

KEEPER = Path(__file__).with_name("keeper.py")
READY_SECONDS = 120.0

# Every character that has a meaning in a URL: code under test that forgets to
# quote or to mask a password fails here and not at a user's.
PASSWORD = "s3cr:t p@ss/w%rd#?"


class NoServer(Exception):
    """No server given and no binaries found. The text says what to install."""


def server_user(*preferred: str) -> str:
    """The account for a server that refuses root; empty when we are not root."""
    if os.geteuid() != 0:
        return ""
    accounts = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in (*preferred, "nobody") if name in accounts)


MEMORY = Path("/dev/shm")
ENOUGH_MEMORY = 2 * 1024**3


def make_directory(prefix: str, user: str) -> Path:
    """A fresh directory owned by `user`, with a short name: a socket path may hold 107 bytes.

    In memory where there is plenty of it: the tests make a database each, and on a disk most
    of that time is waiting for it.
    """
    plenty = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ENOUGH_MEMORY
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY if plenty else "/tmp"))
    return own(directory, user)


def make_folder(path: Path, user: str) -> Path:
    path.mkdir()
    return own(path, user)


def own(path: Path, user: str) -> Path:
    if user:
        account = pwd.getpwnam(user)
        os.chown(path, account.pw_uid, account.pw_gid)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_as(user: str, command: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    switch: dict[str, Any] = {}
    if user:
        switch = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, **switch, **options
    )


def executable_by(user: str, program: Path) -> bool:
    try:
        run_as(user, [str(program), "--version"], cwd="/")
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def run_async(job: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine in a thread of its own: callers may be inside a running loop."""
    outcome: list[Any] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            outcome.append(asyncio.run(job()))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


class Keeper:
    """A server process that ends with this process, however this process ends."""

    def __init__(
        self, directory: Path, user: str, stop_signal: signal.Signals, command: list[str]
    ) -> None:
        self.directory = directory
        self._process = subprocess.Popen(
            [sys.executable, str(KEEPER), str(directory), user, str(int(stop_signal)), *command],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C goes to the tests; they end the server
        )

    def restart(self, stop_signal: signal.Signals | None = None) -> None:
        """Stop it, by the usual signal or this one, and start it; waits for neither."""
        self._say("restart", stop_signal)

    def stop(self, stop_signal: signal.Signals | None = None) -> None:
        """Stop it, and wait until it is gone."""
        self._say("stop", stop_signal)
        deadline = time.monotonic() + READY_SECONDS
        while (self.directory / "pid").exists():
            assert time.monotonic() < deadline, "the server does not stop"
            time.sleep(0.01)

    def start(self) -> None:
        """After `stop`; does not wait until it is ready."""
        self._say("start", None)

    def _say(self, word: str, number: signal.Signals | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word} {int(number)}\n" if number else f"{word}\n")
        self._process.stdin.flush()

    def processes(self) -> list[int]:
        """The server's process and its children, by their ids."""
        parent = int((self.directory / "pid").read_text())
        listed = ["pgrep", "-P", str(parent)]
        found = subprocess.run(listed, capture_output=True, text=True, timeout=60, check=False)
        return [parent, *map(int, found.stdout.split())]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server stands still for the block: it takes connections and says nothing."""
        stopped = self.processes()
        for process in stopped:
            send(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in {*stopped, *self.processes()}:
                send(process, signal.SIGCONT)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log_tail(self) -> str:
        log = self.directory / "server.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""


def send(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # a child that has ended meanwhile
        os.kill(process, number)


def wait_ready(connect: Callable[[], Any], keeper: Keeper) -> Any:
    """Call `connect` until it returns; its value. Raises with the log when it never does."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            return connect()
        except Exception as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"server did not start: {error}\n{keeper.log_tail()}") from error
            time.sleep(0.02)
