"""Run one server for exactly as long as the test process lives.

    python keeper.py DIRECTORY USER STOP_SIGNAL COMMAND...

Standard input is a pipe that the test process holds. A line `restart` on it restarts the
server, `stop` and `start` do half of it, `start` nothing while one runs; a signal's number
after the first two stops it by that one. The end of the pipe, for whatever reason (a normal
end, Ctrl-C, SIGKILL), stops the server and removes DIRECTORY. A fixture's teardown alone could
not promise that: it does not run when the test process is killed.
The file `pid` in DIRECTORY has the server's process; it is gone while none runs.
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
        server = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **switch
        )
    (directory / "pid").write_text(str(server.pid))
    return server


def group_of(user: str) -> int:
    import pwd  # POSIX only, and only needed where a user is switched

    return pwd.getpwnam(user).pw_gid


def stop(directory: Path, server: "subprocess.Popen[bytes]", stop_signal: int) -> None:
    server.send_signal(stop_signal)
    server.send_signal(signal.SIGCONT)  # a frozen one would not hear
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    (directory / "pid").unlink(missing_ok=True)


def main() -> None:
    directory, user, stop_signal = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    command = sys.argv[4:]
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    server = start(directory, user, command)
    try:
        for line in sys.stdin:
            word, _, number = line.strip().partition(" ")
            if word in ("restart", "stop"):
                stop(directory, server, int(number or stop_signal))
            if word in ("restart", "start") and server.poll() is not None:
                server = start(directory, user, command)
    finally:
        stop(directory, server, stop_signal)
        with contextlib.suppress(OSError):
            os.chdir("/")
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
