"""The environment of a process that runs a project's code, and the order for its fence."""

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.database.urls import SCRATCH_VARIABLE, STATS_VARIABLE, child_environment
from toolkit.fence.addresses import NOWHERE, Hiding

SCRIPTS = Path(__file__).resolve().parents[2]
# Where clients look by themselves for servers and passwords.
OWN_WAYS = ("PGSYSCONFDIR", "PGPASSFILE", "MYSQL_HOME", "MYSQL_UNIX_PORT", "MYSQL_TCP_PORT")


@dataclass(frozen=True)
class Child:
    """What a process is given that runs a project's code."""

    environment: dict[str, str]
    order: dict[str, Any]
    """For `fence.child.enter`."""
    passwords: Mapping[str, str] = field(default_factory=dict)
    """What stands in the environment for a password -> the password."""


def fenced(
    root: Path,
    folder: Path,
    extra: Mapping[str, str],
    *,
    look: bool = False,
    sqlite: Path | None = None,
    socket: str | None = None,
    port: int | None = None,
    writable: Sequence[Path] = (),
) -> Child:
    """The environment and the fence of a process that may write into `folder` only.

    It may connect to the scratch database that the guard gives it: the file `sqlite`, the
    server behind `socket` or at `port`; to nothing without these. With `look` the environment
    says where the project's database is, but no password: whoever looks where a project would
    connect has to see that.
    """
    temporary = folder / "tmp"
    temporary.mkdir(mode=0o700, exist_ok=True)
    file = sqlite or folder / "hidden.db"
    hiding = Hiding(str(file), passwords_only=look)
    variables = hiding.environment(without_toolkit(child_environment(extra)))
    for name in (SCRATCH_VARIABLE, STATS_VARIABLE, *OWN_WAYS):
        variables.pop(name, None)
    variables |= {"PGPASSFILE": str(folder / "none"), "PGSERVICEFILE": str(folder / "none")}
    variables |= dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(temporary))
    if not look:
        variables["PGHOST"] = NOWHERE
    ours = [folder, *writable, *([sqlite.parent] if sqlite else [])]
    order = {
        "root": str(root.resolve()),
        "folder": str(folder.resolve()),
        "writable": [str(path.resolve()) for path in ours],
        "hide": None if look else str(file),
        "attached": str(sqlite.parent.resolve()) if sqlite else None,
        "socket": socket,
        "port": port,
        "by_main_thread": threading.current_thread() is threading.main_thread(),
    }
    return Child(variables, order, hiding.passwords)


def without_toolkit(environment: dict[str, str]) -> dict[str, str]:
    """Without our own folder on the import path: a project may have a package `toolkit`."""
    paths = environment.pop("PYTHONPATH", "").split(os.pathsep)
    kept = [path for path in paths if path and Path(path).resolve() != SCRIPTS]
    return {**environment, **({"PYTHONPATH": os.pathsep.join(kept)} if kept else {})}
