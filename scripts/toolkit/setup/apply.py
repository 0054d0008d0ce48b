"""Write several files as one step.

Before the first file of the project is touched, a journal beside them holds the old
contents. Killed at any moment, what is there is told apart by it: no journal entry
means that the project is as before, all files new means that it is as after, and
anything between is put back by `recover`, which every run calls first.
"""

import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from toolkit.setup.changes import FileChange, read_text

JOURNAL = ".setup-alembic.journal"
ENTRIES = "journal.json"


class BusyError(Exception):
    """Another run is writing into the same project."""


class StaleError(Exception):
    """A file is no longer what the plan was made from."""


@dataclass(frozen=True)
class Entry:
    """One file of the journal: enough to put it back, or to see that it is finished."""

    path: Path
    old: str | None
    """Name of the copy of the old content in the journal; None: there was no file."""
    new_digest: str
    backup: Path | None

    @property
    def temporary(self) -> Path:
        return self.path.with_name(f".{self.path.name}.setup-alembic.tmp")


class Transaction:
    """`with Transaction(root, changes) as writing:` writes; `writing.commit()` keeps it.

    Left without `commit` (an error, Ctrl-C, a failed proof) everything is put back.
    """

    def __init__(self, root: Path, changes: Sequence[FileChange]) -> None:
        self._journal = root / JOURNAL
        self._changes = changes
        self._lock: IO[str] | None = None
        self._committed = False
        self.backups: list[Path] = []

    def __enter__(self) -> Self:
        try:
            self._journal.mkdir()
        except FileExistsError:
            raise BusyError(f"another run is writing here ({self._journal})") from None
        self._lock = _lock(self._journal)
        try:
            self._write()
        except BaseException:
            self._undo()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._committed:
            self._undo()

    def commit(self) -> None:
        """Keep what was written."""
        _forget(self._journal)
        self._committed = True
        self._unlock()

    def _write(self) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        entries = []
        for number, change in enumerate(self._changes):
            path = change.path.resolve()
            if read_text(path) != change.before:
                raise StaleError(f"{path} was changed by somebody else meanwhile; run again")
            old = None
            if change.before is not None:
                old = f"old-{number}"
                _write_through(self._journal / old, change.before.encode(), like=path)
            backup = path.with_name(f"{path.name}.bak-{stamp}") if change.keep_backup else None
            entries.append(Entry(path, old, _digest(change.after.encode()), backup))
        directories = _missing_directories([entry.path for entry in entries])
        _write_entries(self._journal, entries, directories)

        for directory in directories:
            directory.mkdir()
        for entry, change in zip(entries, self._changes, strict=True):
            _write_through(entry.temporary, change.after.encode(), like=entry.path)
        for entry in entries:
            if entry.backup is not None:
                shutil.copy2(entry.path, entry.backup)
                self.backups.append(entry.backup)
        for entry in entries:
            os.replace(entry.temporary, entry.path)  # noqa: PTH105  (the call that is atomic)
        for directory in {entry.path.parent for entry in entries}:
            _sync_directory(directory)

    def _undo(self) -> None:
        _roll_back(self._journal)
        self.backups.clear()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def recover(directory: Path) -> list[str]:
    """Finish or put back what a killed run left in or around `directory`.

    Looks in the folder, in those above it and in those directly in it, since the run
    that was killed may have been given another one. Returns one line for each thing
    done. Raises BusyError where that run is still alive.
    """
    said = []
    for journal in _journals(directory.resolve()):
        with _held(journal):
            said.append(_settle(journal))
    return said


def _settle(journal: Path) -> str:
    if not (journal / ENTRIES).exists():
        shutil.rmtree(journal)
        return "an earlier run was killed before it wrote anything; its notes are removed"
    entries, _ = _read_entries(journal)
    if all(_digest_of(entry.path) == entry.new_digest for entry in entries):
        for entry in entries:
            entry.temporary.unlink(missing_ok=True)
        _forget(journal)
        return "an earlier run was killed after it had written everything; its files are kept"
    kept = _roll_back(journal)
    done = "an earlier run was killed half way; its files are put back as they were"
    if kept:
        names = ", ".join(path.name for path in kept)
        return f"{done}, except {names}, edited since"
    return done


def _roll_back(journal: Path) -> list[Path]:
    """Put back what the journal holds; returns files that a person changed meanwhile."""
    if not (journal / ENTRIES).exists():
        shutil.rmtree(journal)
        return []
    entries, directories = _read_entries(journal)
    kept = []
    for entry in reversed(entries):
        entry.temporary.unlink(missing_ok=True)
        now = _digest_of(entry.path)
        if entry.old is None:
            if now == entry.new_digest:
                entry.path.unlink()
            elif now is not None:
                kept.append(entry.path)
            continue
        old = journal / entry.old
        if now == entry.new_digest:
            _write_through(entry.temporary, old.read_bytes(), like=entry.path)
            os.replace(entry.temporary, entry.path)  # noqa: PTH105
        elif now != _digest_of(old):
            kept.append(entry.path)
            continue
        if entry.backup is not None:
            entry.backup.unlink(missing_ok=True)
    for directory in reversed(directories):
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()
    _forget(journal)
    return kept


def _forget(journal: Path) -> None:
    """Deleting the entries is the moment at which the run is over."""
    (journal / ENTRIES).unlink(missing_ok=True)
    _sync_directory(journal)
    shutil.rmtree(journal)


def _write_entries(journal: Path, entries: Sequence[Entry], directories: Sequence[Path]) -> None:
    document = {
        "directories": [str(directory) for directory in directories],
        "files": [
            {
                "path": str(entry.path),
                "old": entry.old,
                "new_digest": entry.new_digest,
                "backup": None if entry.backup is None else str(entry.backup),
            }
            for entry in entries
        ],
    }
    draft = journal / f"{ENTRIES}.tmp"
    _write_through(draft, json.dumps(document, indent=1).encode())
    os.replace(draft, journal / ENTRIES)  # noqa: PTH105
    _sync_directory(journal)


def _read_entries(journal: Path) -> tuple[list[Entry], list[Path]]:
    document: dict[str, Any] = json.loads((journal / ENTRIES).read_text())
    entries = [
        Entry(
            Path(item["path"]),
            item["old"],
            item["new_digest"],
            None if item["backup"] is None else Path(item["backup"]),
        )
        for item in document["files"]
    ]
    return entries, [Path(item) for item in document["directories"]]


def _journals(directory: Path) -> Iterator[Path]:
    for folder in (directory, *directory.parents):
        # A parent that we may not look into holds no journal of ours.
        if os.access(folder, os.R_OK | os.X_OK) and (folder / JOURNAL).is_dir():
            yield folder / JOURNAL
    yield from (path for path in directory.glob(f"*/{JOURNAL}") if path.is_dir())


def _missing_directories(paths: Sequence[Path]) -> list[Path]:
    """Folders to make, outermost first."""
    missing: list[Path] = []
    for path in paths:
        fresh = []
        for parent in path.parents:
            if parent.exists() or parent in missing:
                break
            fresh.append(parent)
        missing.extend(reversed(fresh))
    return missing


def _write_through(path: Path, content: bytes, like: Path | None = None) -> None:
    """Write and wait for the disk; the mode is that of `like` where it exists."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if like is not None and like.exists():
        path.chmod(stat.S_IMODE(like.stat().st_mode))


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of(path: Path) -> str | None:
    try:
        return _digest(path.read_bytes())
    except FileNotFoundError:
        return None


def _lock(journal: Path) -> IO[str]:
    """A lock that the kernel drops when its holder dies, however it dies."""
    file = (journal / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise BusyError(f"another run is writing here ({journal})") from None
    return file


@contextmanager
def _held(journal: Path) -> Iterator[None]:
    file = _lock(journal)
    try:
        yield
    finally:
        file.close()
