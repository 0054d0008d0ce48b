"""The one Python file that the bash entry points run: `run_toolkit.py COMMAND ...`."""

import re
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

# Also where Python was started with -P or PYTHONSAFEPATH, which leave this folder out.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from toolkit.report.exits import Exit

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PASSWORD_IN_URL = re.compile(r"(://[^\s:/@]*:)[^\s]*(?=@)")


def stop(signum: int, frame: FrameType | None) -> None:
    """Every signal takes the way of Ctrl-C, once: nothing disturbs the cleaning up."""
    for name in SIGNALS:
        signal.signal(name, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    command, *rest = arguments
    for name in SIGNALS:
        signal.signal(name, stop)
    try:
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
        print("interrupted; nothing was left behind", file=sys.stderr)
        return int(Exit.INTERRUPTED)
    except Exception:
        text = PASSWORD_IN_URL.sub(r"\1***", traceback.format_exc())
        print(f"{text}internal error: please report it with the lines above", file=sys.stderr)
        return int(Exit.INTERNAL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
