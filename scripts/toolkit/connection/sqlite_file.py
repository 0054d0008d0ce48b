"""An SQLite database, looked at from outside: nothing is opened that SQLite could create.

The first bytes of the file say whether it is a database and in which mode; its locks are
asked for, and none is taken (see database/sqlite_reading.py).
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from toolkit.connection.steps import Layer, Step, ok, stop, warning
from toolkit.database.sqlite_reading import (
    MAGIC,
    RESERVED_BYTE,
    WAL_WRITE_BYTE,
    State,
    beside,
    holder_of,
    name_in,
    state_of,
)
from toolkit.report.quoting import word

PATIENCE = 1.0  # seconds: another program's write is no fault, its forgotten one is


@dataclass(frozen=True)
class Sqlite:
    """A file that can be opened for reading."""

    path: Path
    state: State
    empty: bool


def find_file(database: str, folder: Path) -> tuple[Path, bool]:
    """The path in a URL, and whether the URL itself asks for read-only."""
    name, parameters = name_in(database)
    read_only = "mode=ro" in parameters or "immutable=1" in parameters
    return folder / name, read_only


def is_memory(database: str | None, query: dict[str, str]) -> bool:
    return (
        database in (None, "", ":memory:")
        or query.get("mode") == "memory"
        or query.get("vfs") == "memdb"
        or "mode=memory" in str(database)
    )


def look_at(path: Path, upgrade: str | None) -> Sqlite:
    """Raises Broken when the file is missing or is no database. `upgrade` is the command that
    makes it, where the project has one set-up.
    """
    parent = path.parent
    if not parent.is_dir():
        stop(
            Layer.DATABASE,
            f"The folder {parent} does not exist: SQLite cannot create the file in it.",
            f"mkdir -p {word(parent)}",
        )
    if path.is_dir():
        stop(Layer.DATABASE, f"{path} is a folder.", "Write the file's name behind it.")
    if not path.exists():
        stop(
            Layer.DATABASE,
            f"There is no file {path}; it was not created.",
            f"{upgrade}   # it creates the file; or correct the path: three slashes"
            " before a relative one, four before an absolute one."
            if upgrade
            else "Start what creates it, mostly the application, or correct the path: three"
            " slashes before a relative one, four before an absolute one.",
        )
    try:
        with path.open("rb") as file:
            head = file.read(100)
        state = state_of(path)
    except OSError as error:
        stop(
            Layer.DATABASE,
            f"{path} cannot be read: {error.strerror}.",
            f"ls -l {word(path)}   # and let the application's user read it",
        )
    if head and not head.startswith(MAGIC):
        stop(
            Layer.DATABASE,
            f"{path} is not an SQLite database: it begins with other bytes (or it is encrypted).",
            f"file {word(path)}",
        )
    return Sqlite(path, state, not head)


def require_writable(path: Path) -> None:
    """Raise Broken where the application could not write."""
    for place, what in ((path, "the file"), (path.parent, "its folder, for the journal")):
        if not os.access(place, os.W_OK):
            stop(
                Layer.SERVER,
                f"{path} is read-only for this user: {what} may not be written.",
                f"ls -ld {word(place)}   # and let the application's user write"
                " (--read-only if it is meant)",
            )


def require_unlocked(file: Sqlite, seconds: float) -> None:
    """Raise Broken when somebody holds the write lock all the time."""
    until = time.monotonic() + min(PATIENCE, seconds)
    while (holder := lock_holder(file)) is not None:
        if time.monotonic() > until:
            stop(
                Layer.SERVER,
                f"{file.path} is locked: process {holder} has been writing all the while.",
                f"ps -p {holder}   # end its transaction; a timeout of the application's own only"
                " waits for it",
            )
        time.sleep(0.05)


def lock_holder(file: Sqlite) -> int | None:
    """The process that is writing; None where there is none, or where nobody can tell."""
    if file.state.wal:
        return holder_of(beside(file.path, "-shm"), WAL_WRITE_BYTE)
    return holder_of(file.path, RESERVED_BYTE)


def memory_step() -> Step:
    return warning(
        Layer.DATABASE,
        "The database is in memory: it is empty at each start, and gone at the end.",
        "Name a file if it has to last: sqlite+aiosqlite:///path/to/file.db.",
    )


def file_step(file: Sqlite) -> Step:
    size, state = file.path.stat().st_size, file.state
    mode = "WAL" if state.wal else "rollback journal"
    words = "an empty file, which SQLite takes for a database" if file.empty else mode
    if state.hot:
        journal = beside(file.path, "-journal")
        return warning(
            Layer.DATABASE,
            f"{file.path}, {size} bytes: a program was killed while it wrote to it. The file is"
            f" not damaged: {journal.name} undoes the half of the transaction.",
            f"Leave {journal.name} where it is: SQLite does it by itself when the application"
            " starts.",
            size=size,
            wal=False,
        )
    if state.left_over:
        words += f"; {beside(file.path, '-wal').name} has what a program that was killed wrote last"
    return ok(Layer.DATABASE, f"{file.path}, {size} bytes, {words}", size=size, wal=state.wal)
