"""Run one server for exactly as long as the test process lives.

    python keeper.py DIRECTORY USER STOP_SIGNAL COMMAND...

Standard input is a pipe that the test process holds. A line `restart` on it
restarts the server; its end, for whatever reason (a normal end, Ctrl-C, SIGKILL),
stops the server and removes DIRECTORY. A fixture's teardown alone could not
promise that: it does not run when the test process is killed.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

STOP_SECONDS = 20


def start(directory: Path, user: str, command: list[str]) -> "subprocess.Popen[bytes]":
    switch = {"user": user, "group": group_of(user), "extra_groups": []} if user else {}
    with (directory / "server.log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **switch
        )


def group_of(user: str) -> int:
    import pwd  # POSIX only, and only needed where a user is switched

    return pwd.getpwnam(user).pw_gid


def stop(server: "subprocess.Popen[bytes]", stop_signal: int) -> None:
    server.send_signal(stop_signal)
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def main() -> None:
    directory, user, stop_signal = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    command = sys.argv[4:]
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    server = start(directory, user, command)
    try:
        for line in sys.stdin:
            if line.strip() == "restart":
                stop(server, stop_signal)
                server = start(directory, user, command)
    finally:
        stop(server, stop_signal)
        with contextlib.suppress(OSError):
            os.chdir("/")
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
