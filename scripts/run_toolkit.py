"""The one Python file that the bash entry points run: `python -I run_toolkit.py COMMAND ...`."""

import contextlib
import gc
import os
import site
import sys
import traceback
from pathlib import Path

# -I leaves this folder out, too.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from toolkit.report import door, interrupt
from toolkit.report.command_line import refused
from toolkit.report.endings import Ending, broken_temporary_folder, ending_of
from toolkit.report.exits import Exit

PACKAGES = {"site-packages", "dist-packages"}
RECURSION = 10_000
"""Calls in one another: reading an expression takes some for each of its levels (#11)."""
DOORS = {
    "setup": "setup-alembic.sh",
    "connection": "test-connection.sh",
    "queries": "optimize-queries.sh",
    "migration": "generate-migration.sh",
}


def main(arguments: list[str]) -> int:
    """Run one command line behind the door; its exit code."""
    command, *rest = arguments
    name = DOORS.get(command, DOORS["migration"])
    # Trees of syntax make millions of objects and no garbage: else half the time goes there (#12).
    gc.set_threshold(200_000, 20, 50)
    interrupt.listen()
    sys.setrecursionlimit(RECURSION)
    if closed := without_streams():
        return closed
    try:
        with door.opened(rest):
            return guarded(name, command, rest)
    except door.OutputClosed as error:
        # What was left in the buffer cannot be written at the interpreter's end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return told(ending_of(error), name)


def guarded(name: str, command: str, rest: list[str]) -> int:
    """The command's own code; one line and a code for each thing that is no bug."""
    try:
        if line := refused(name, rest):
            print(line, file=sys.stderr)
            return int(Exit.USAGE)
        if missing := broken_temporary_folder():
            return told(missing, name)
        take_environment()
        return interrupt.status_of(run(command, rest))
    except KeyboardInterrupt:
        return interrupt.finish()
    except door.OutputClosed:
        raise
    except SystemExit as ended:  # argparse's
        return int(ended.code or 0)
    except Exception as error:
        if interrupt.was_asked():  # what was closed in the middle of its work may say so
            return interrupt.finish()
        if ending := ending_of(error):
            return told(ending, name)
        print(traceback.format_exc(), file=sys.stderr, end="")
        print("internal error: please report it with the lines above", file=sys.stderr)
        return int(Exit.INTERNAL)


def take_environment() -> None:
    """What -I ignores and is no danger: packages installed for PYTHONPATH or with --user.

    They come behind the standard library: a `signal.py` in a folder of PYTHONPATH, which
    often is the project's root, must not stand for the library's (#11).
    """
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    packages = (n for n, entry in enumerate(sys.path) if Path(entry).name in PACKAGES)
    position = next(packages, len(sys.path))
    sys.path[position:position] = [entry for entry in given if entry not in sys.path]
    if sys.prefix == sys.base_prefix and not os.environ.get("PYTHONNOUSERSITE"):
        site.addsitedir(site.getusersitepackages())


def run(command: str, rest: list[str]) -> int:
    if command == "setup":
        from toolkit.setup.command import main as run  # noqa: PLC0415
    elif command == "connection":
        from toolkit.connection.command import main as run  # noqa: PLC0415
    elif command == "queries":
        from toolkit.queries.command import main as run  # noqa: PLC0415
    else:
        from toolkit.migration.command import main as run  # noqa: PLC0415
    return int(run(rest))


def told(ending: Ending | None, name: str) -> int:
    assert ending is not None
    with contextlib.suppress(OSError):
        print(f"{name}: {ending.message}", file=sys.stderr, flush=True)
    return int(ending.code)


def without_streams() -> int:
    """Where standard streams are closed, the next file that is opened would be one of them."""
    closed = []
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            closed.append(number)
            os.open(os.devnull, os.O_RDWR)
    if 2 in closed:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    if 1 not in closed:
        return 0
    print("standard output is closed: redirect it, to /dev/null at least", file=sys.stderr)
    return int(Exit.OUTPUT_CLOSED)


if __name__ == "__main__":
    interrupt.leave(main(sys.argv[1:]))
