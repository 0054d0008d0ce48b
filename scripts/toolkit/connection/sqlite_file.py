"""An SQLite database, looked at from outside: nothing is opened that SQLite could create.

The first bytes of the file say whether it is a database and in which mode; its locks are
asked for with F_GETLK, which takes none. Places of the locks: sqlite.org/fileformat2.html and
walformat.html (§2.3.1).
"""

import contextlib
import os
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from toolkit.connection.steps import Layer, Step, ok, stop, warning

MAGIC = b"SQLite format 3\0"
WAL = 2  # at byte 18
RESERVED_BYTE = 0x40000001
WAL_WRITE_BYTE = 120
PATIENCE = 1.0  # seconds: another program's write is no fault, its forgotten one is


@dataclass(frozen=True)
class Sqlite:
    """A file that can be opened for reading."""

    path: Path
    wal: bool
    empty: bool
    uri: str
    """A file: URI for a connection that creates nothing."""


def find_file(database: str, folder: Path) -> tuple[Path, bool]:
    """The path in a URL, and whether the URL itself asks for read-only."""
    name, _, parameters = database.removeprefix("file:").partition("?")
    read_only = "mode=ro" in parameters or "immutable=1" in parameters
    return folder / name, read_only


def is_memory(database: str | None, query: dict[str, str]) -> bool:
    return (
        database in (None, "", ":memory:")
        or query.get("mode") == "memory"
        or query.get("vfs") == "memdb"
        or "mode=memory" in str(database)
    )


def look_at(path: Path) -> Sqlite:
    """Raises Broken when the file is missing or is no database."""
    parent = path.parent
    if not parent.is_dir():
        stop(
            Layer.DATABASE,
            f"The folder {parent} does not exist: SQLite cannot create the file in it.",
            f"mkdir -p {parent}",
        )
    if path.is_dir():
        stop(Layer.DATABASE, f"{path} is a folder.", "Write the file's name behind it.")
    if not path.exists():
        stop(
            Layer.DATABASE,
            f"There is no file {path}; it was not created.",
            "alembic upgrade head (it creates the file), or correct the path: three slashes"
            " before a relative one, four before an absolute one.",
        )
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        stop(
            Layer.DATABASE,
            f"{path} cannot be read: {error.strerror}.",
            f"ls -l {path}   # and let the application's user read it",
        )
    if head and not head.startswith(MAGIC):
        stop(
            Layer.DATABASE,
            f"{path} is not an SQLite database: it begins with other bytes (or it is encrypted).",
            f"file {path}",
        )
    wal = len(head) > 18 and head[18] == WAL
    return Sqlite(path, wal, not head, uri_of(path, wal=wal))


def uri_of(path: Path, *, wal: bool) -> str:
    """Read-only; and where SQLite would have to create the files of WAL, without them."""
    escaped = str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    shared = path.with_name(path.name + "-shm")
    mode = "&immutable=1" if wal and not shared.exists() else ""
    return f"file:{escaped}?mode=ro{mode}&uri=true"


def require_writable(path: Path) -> None:
    """Raise Broken where the application could not write."""
    for place, what in ((path, "the file"), (path.parent, "its folder, for the journal")):
        if not os.access(place, os.W_OK):
            stop(
                Layer.SERVER,
                f"{path} is read-only for this user: {what} may not be written.",
                f"ls -ld {place}   # and let the application's user write"
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
    if file.wal:
        path, start = file.path.with_name(file.path.name + "-shm"), WAL_WRITE_BYTE
    else:
        path, start = file.path, RESERVED_BYTE
    with contextlib.suppress(OSError, ImportError, ValueError):
        return writer_of(path, start)
    return None


def writer_of(path: Path, start: int) -> int | None:
    """Who holds a lock on a byte (fcntl's F_GETLK; the layout is the system's)."""
    import fcntl  # noqa: PLC0415  (not on Windows)

    bsd = sys.platform == "darwin"
    layout = "qqihh" if bsd else "hhqqi"
    kind, whence, length, pid = fcntl.F_RDLCK, os.SEEK_SET, 1, 0
    ask = (start, length, pid, kind, whence) if bsd else (kind, whence, start, length, pid)
    with path.open("rb") as file:
        answer = fcntl.fcntl(file.fileno(), fcntl.F_GETLK, struct.pack(layout, *ask))
    found = struct.unpack(layout, answer)
    kind, pid = (found[3], found[2]) if bsd else (found[0], found[4])
    return None if kind == fcntl.F_UNLCK else pid


def memory_step() -> Step:
    return warning(
        Layer.DATABASE,
        "The database is in memory: it is empty at each start, and gone at the end.",
        "Name a file if it has to last: sqlite+aiosqlite:///path/to/file.db.",
    )


def file_step(file: Sqlite) -> Step:
    size = file.path.stat().st_size
    mode = "WAL" if file.wal else "rollback journal"
    words = "an empty file, which SQLite takes for a database" if file.empty else mode
    return ok(Layer.DATABASE, f"{file.path}, {size} bytes, {words}", size=size, wal=file.wal)
