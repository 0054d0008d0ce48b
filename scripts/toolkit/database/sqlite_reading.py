"""An SQLite file of somebody else, read without a trace in it or beside it.

SQLite's own reader leaves traces: whoever opens a file whose last user was killed makes, fills or
removes `-shm` and `-wal`, or undoes by the `-journal` what was half written. Those files belong to
the application; here a copy is put in order instead. Places of the locks:
sqlite.org/fileformat2.html and walformat.html (§2.3.1).
"""

import contextlib
import os
import shutil
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from sqlalchemy.engine import URL

from toolkit.database.folders import own_folder
from toolkit.database.urls import kind_of

MAGIC = b"SQLite format 3\0"
WAL = 2  # at byte 18
WAL_HEADER = 32  # bytes before the first frame
RESERVED_BYTE = 0x40000001
WAL_WRITE_BYTE = 120
WAL_OPEN_BYTE = 128  # held by each process that has the file open
TRIES = 3


class Unreadable(OSError):
    """The file changes all the time, or there is no room for a copy. The text says which."""


@dataclass(frozen=True)
class State:
    """What the files say before anything opens them."""

    path: Path
    wal: bool
    hot: bool
    """A program was killed while it wrote: the journal undoes the half of its transaction."""
    left_over: bool
    """The WAL has changes, and no process that would know of them has the file open."""
    in_use: bool
    """With a WAL: some process has the file open."""

    @property
    def needs_copy(self) -> bool:
        return self.hot or self.left_over


def beside(path: Path, suffix: str) -> Path:
    """`-wal`, `-shm` or `-journal` of a database."""
    return path.with_name(path.name + suffix)


def state_of(path: Path) -> State:
    """Reads the first bytes and asks for locks, of which it takes none. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(100)
    wal = len(head) > 18 and head[18] == WAL
    shared = beside(path, "-shm")
    in_use = wal and shared.exists() and holder_of(shared, WAL_OPEN_BYTE, alone=True) is not None
    log = beside(path, "-wal")
    has_frames = wal and log.exists() and log.stat().st_size > WAL_HEADER
    return State(
        path,
        wal,
        hot=bool(head) and is_hot(path),
        left_over=has_frames and not in_use,
        in_use=in_use,
    )


def is_hot(path: Path) -> bool:
    """As SQLite decides it: a journal with a header, and nobody who is writing."""
    try:
        with beside(path, "-journal").open("rb") as file:
            first = file.read(1)
    except OSError:
        return False
    return first not in {b"", b"\0"} and holder_of(path, RESERVED_BYTE) is None


def holder_of(path: Path, start: int, *, alone: bool = False) -> int | None:
    """The process with a lock on a byte, for writing or (`alone`) any; None if nobody can tell."""
    with contextlib.suppress(OSError, ImportError, ValueError):
        return asked(path, start, alone=alone)
    return None


def asked(path: Path, start: int, *, alone: bool) -> int | None:
    """fcntl's F_GETLK, which takes no lock; the layout of its answer is the system's."""
    import fcntl  # noqa: PLC0415  (not on Windows)

    bsd = sys.platform == "darwin"
    layout = "qqihh" if bsd else "hhqqi"
    kind, whence, length, pid = fcntl.F_WRLCK if alone else fcntl.F_RDLCK, os.SEEK_SET, 1, 0
    ask = (start, length, pid, kind, whence) if bsd else (kind, whence, start, length, pid)
    with path.open("rb") as file:
        answer = fcntl.fcntl(file.fileno(), fcntl.F_GETLK, struct.pack(layout, *ask))
    found = struct.unpack(layout, answer)
    kind, pid = (found[3], found[2]) if bsd else (found[0], found[4])
    return None if kind == fcntl.F_UNLCK else pid


@contextlib.contextmanager
def readable(path: Path) -> Iterator[str]:
    """A `file:` URI to read the database by, of the file itself or of a copy in order.

    Raises OSError, Unreadable among others.
    """
    path = path.resolve()
    state = state_of(path)
    if not state.needs_copy:
        # Without its -shm, SQLite would create it; nobody has it open, and the WAL is empty.
        # With it, even a reader would leave a mark there.
        still = ("&readonly_shm=1" if state.in_use else "&immutable=1") if state.wal else ""
        yield f"file:{quote(str(path))}?mode=ro{still}"
        return
    with own_folder() as folder:
        copy = copied(state, Path(folder))
        yield f"file:{quote(str(copy))}?mode=rw"


def copied(state: State, folder: Path) -> Path:
    """The database with its journal or WAL, as they were at one moment."""
    log = beside(state.path, "-journal" if state.hot else "-wal")
    files = (state.path, log)
    free = shutil.disk_usage(folder).free
    if sum(file.stat().st_size for file in files) > free // 2:
        raise Unreadable(f"{folder.parent} has no room for a copy of {state.path.name}")
    for _ in range(TRIES):
        before = [marks(file) for file in files]
        for file in files:
            shutil.copyfile(file, folder / file.name)
        if before == [marks(file) for file in files]:
            return folder / state.path.name
    raise Unreadable(f"{state.path.name} is being changed; run it again")


def marks(file: Path) -> tuple[int, int, int]:
    facts = file.stat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


@contextlib.contextmanager
def without_trace(url: URL) -> Iterator[URL]:
    """The same database by a URL that changes nothing; other kinds of databases are as they were.

    Raises OSError, also where there is no such file: SQLite would make one.
    """
    path = file_of(url)
    if path is None:
        yield url
        return
    with readable(path) as uri:
        yield with_uri(url, uri)


def with_uri(url: URL, uri: str) -> URL:
    """`url` with the address of a `file:` URI."""
    name, _, query = uri.partition("?")
    parameters = dict(part.split("=") for part in query.split("&"))
    return url.set(database=name, query={**parameters, "uri": "true"})


def file_of(url: URL) -> Path | None:
    """None for a database in memory, or of another kind."""
    name, parameters = name_in(url.database or "")
    in_memory = name in {"", ":memory:"} or "mode=memory" in parameters
    if kind_of(url.drivername) != "sqlite" or in_memory or url.query.get("mode") == "memory":
        return None
    return Path(name)


def name_in(database: str) -> tuple[str, str]:
    """The file's name and the parameters; only a URI has some, and quotes its name."""
    if not database.startswith("file:"):
        return database, ""
    name, _, parameters = database.removeprefix("file:").partition("?")
    return unquote(name), parameters
