"""Read a SQLite file and leave everything as it is: the file, its -wal, -shm and -journal.

To open a database is to write to it at times: SQLite rolls a hot journal back, takes over what
a killed program left in the -wal, makes a -shm. `mode=ro` alone forbids only the first (#11).
"""

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote

from sqlalchemy.engine import URL

from toolkit.database.folders import own_folder

BUSY_SECONDS = 5.0
VERSION_AT = 18
"""Offset of the byte that says how the file is written."""
WAL = 2
BESIDE = ("-wal", "-journal")
"""What belongs to a database's content; -shm is made from the -wal."""
TRIES = 5
COPY_BYTES = 512 * 1024 * 1024


class NoFile(OSError):
    """There is no database file that can be read. The text says why, in one line."""


def nothing() -> None:
    """Has no reason to stop."""


def path_of(url: URL) -> Path:
    """The file behind a URL. Raises NoFile."""
    database = url.database or ""
    if database in ("", ":memory:") or "mode=memory" in database:
        raise NoFile("a database in memory can't be read: give the URL of a file")
    name = database.partition("?")[0]
    file = Path(
        unquote(name.removeprefix("file:")) if name.startswith("file:") else name
    ).absolute()
    if not file.is_file():
        raise NoFile(f"there is no file {file.name}")
    return file.resolve()  # SQLite, too, looks beside the file that a link leads to


@contextmanager
def readable_address(
    url: URL, *, check: Callable[[], None] = nothing, most: int = COPY_BYTES
) -> Iterator[str]:
    """The address (`file:...`) of the database as it is now, for a connection that only reads.

    Where SQLite could not read it without writing, it is the address of a copy, which is gone
    afterwards. Raises NoFile. `check` may raise, to stop a copy; `most` are its bytes.
    """
    file = path_of(url)
    if address := untouched(file):
        yield address
        return
    if sum(facts[0] for facts in state(file).values()) > most:
        raise NoFile(f"{file.name} is larger than {most:,} bytes")
    with own_folder() as folder:
        copy = folder / "given.db"
        copied(file, copy, check)
        yield copy.as_uri()


def untouched(file: Path) -> str | None:
    """The address that reads the file in its place; None where there is none."""
    if beside(file, "-shm").exists():
        # Programs have it open, or were killed: its lists are read, or made anew in memory.
        return f"{file.as_uri()}?mode=ro&readonly_shm=1"
    left_over = beside(file, "-wal")
    if left_over.exists() and left_over.stat().st_size:
        return None
    if is_wal(file):
        return f"{file.as_uri()}?immutable=1"  # nobody has it open; any other way makes a -wal
    address = f"{file.as_uri()}?mode=ro"
    return None if has_hot_journal(file, address) else address


def is_wal(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(VERSION_AT + 1)[VERSION_AT:] == bytes([WAL])


def has_hot_journal(file: Path, address: str) -> bool:
    """Was a program killed while it wrote, so that who opens the file has to undo that?"""
    if not beside(file, "-journal").exists():
        return False
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError as error:
        return "readonly" in str(error)
    return False


def copied(file: Path, copy: Path, check: Callable[[], None]) -> None:
    """Copy the bytes, and what lies beside; again if somebody wrote meanwhile. Raises NoFile."""
    for _ in range(TRIES):
        before = state(file)
        for name in before:
            check()
            # It may be gone by now; then it is not the state that it was.
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(beside(file, name), beside(copy, name))
        if state(file) == before:
            return
        for name in before:
            beside(copy, name).unlink(missing_ok=True)
    raise NoFile(f"{file.name} is written to all the time")


def state(file: Path) -> dict[str, tuple[int, int, int]]:
    """Size, time and identity of the file and of what lies beside, by ending."""
    found = {}
    for name in ("", *BESIDE):
        with contextlib.suppress(FileNotFoundError):
            facts = beside(file, name).stat()
            found[name] = (facts.st_size, facts.st_mtime_ns, facts.st_ino)
    return found


def beside(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)
