"""The one Python file that the bash entry points run: `python -I run_toolkit.py COMMAND ...`."""

import os
import re
import site
import sys
import traceback
from pathlib import Path

# -I leaves this folder out, too.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from toolkit.report import interrupt
from toolkit.report.exits import Exit

PACKAGES = {"site-packages", "dist-packages"}
RECURSION = 10_000
"""Calls in one another: reading an expression takes some for each of its levels (#11)."""
PASSWORD_IN_URL = re.compile(r"(://[^\s:/@]*:)[^\s]*(?=@)")


def main(arguments: list[str]) -> int:
    command, *rest = arguments
    interrupt.listen()
    sys.setrecursionlimit(RECURSION)
    try:
        take_environment()
        if command == "setup":
            from toolkit.setup.command import main as run  # noqa: PLC0415
        elif command == "connection":
            from toolkit.connection.command import main as run  # noqa: PLC0415
        elif command == "queries":
            from toolkit.queries.command import main as run  # noqa: PLC0415
        else:
            from toolkit.migration.command import main as run  # noqa: PLC0415
        return int(run(rest))
    except KeyboardInterrupt:
        interrupt.finish()
        return int(Exit.INTERRUPTED)
    except Exception:
        text = PASSWORD_IN_URL.sub(r"\1***", traceback.format_exc())
        print(f"{text}internal error: please report it with the lines above", file=sys.stderr)
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
