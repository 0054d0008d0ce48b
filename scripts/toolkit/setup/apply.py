"""Write several files as one step.

Before the first file of the project is touched, a journal says what will be. An old file
is not copied but keeps its place on the disk under a second name beside it; putting it
back is a rename, which needs no room and brings back owner, mode and all else (#11).
Killed at any moment, what is there is told apart by the journal: while it lists files,
they are put back, proved or not; once it says that the run is done, they stay. `recover`,
which every run calls first, does either.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from toolkit.files.trust import doubt
from toolkit.files.writing import beside, write_beside
from toolkit.report.interrupt import undisturbed
from toolkit.setup.backups import Backups
from toolkit.setup.changes import FileChange, encoded, read_text

JOURNAL = ".setup-alembic.journal"
ENTRIES = "journal.json"
DONE = "done.json"


class BusyError(Exception):
    """Another run is writing into the same project, or left there what is not believed."""


class StaleError(Exception):
    """A file is no longer what the plan was made from."""


class OutsideError(Exception):
    """A link leads out of the project; `links` are lines that name it and where it leads."""

    def __init__(self, links: Sequence[str]) -> None:
        super().__init__(f"a link leads out of the project: {'; '.join(links)}")
        self.links = tuple(links)


class NotRestored(Exception):
    """Not everything could be put back; `lines` say where each part lies."""

    def __init__(self, journal: Path, lines: Sequence[str]) -> None:
        super().__init__(f"not everything could be put back ({journal})")
        self.lines = tuple(lines)


@dataclass(frozen=True)
class Entry:
    """One file of the journal: enough to put it back."""

    path: Path
    """Where it really is: behind a link, if one was followed."""
    new_digest: str
    token: str
    """Part of the names beside it, which nobody can have taken before."""
    existed: bool
    backup: Path | None

    @property
    def new(self) -> Path:
        return beside(self.path, "new", self.token)

    @property
    def old(self) -> Path:
        """The file as it was."""
        return beside(self.path, "old", self.token)


class Transaction:
    """`with Transaction(root, changes) as writing:` writes; `writing.commit()` keeps it.

    Left without `commit` (an error, Ctrl-C, a failed proof) everything is put back.
    Raises OutsideError for a link that leads out of `root` unless `follow` says that it may.
    """

    def __init__(self, root: Path, changes: Sequence[FileChange], *, follow: bool = False) -> None:
        self._root = root.resolve()
        self._journal = self._root / JOURNAL
        self._changes = changes
        self._follow = follow
        self._lock: IO[str] | None = None
        self._open = False
        self._backups = Backups(self._root)
        self.backups: list[Path] = []
        self.notes: list[str] = []
        """What of the old files could not be kept: an owner, an attribute."""

    def __enter__(self) -> Self:
        refuse_outside(self._root, self._changes, follow=self._follow)
        with undisturbed():
            try:
                self._journal.mkdir(mode=0o700)
            except FileExistsError:
                raise BusyError(_who_is_there(self._journal)) from None
            self._lock = _lock(self._journal)
            self._open = True
        try:
            planned = self._plan()
            with undisturbed():
                self._write(planned)
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
        if self._open:
            self._undo()

    def commit(self) -> None:
        """Keep what was written."""
        with undisturbed():
            # This rename is the moment at which the run is over.
            os.replace(self._journal / ENTRIES, self._journal / DONE)  # noqa: PTH105
            _sync_directory(self._journal)
            self._open = False
            _clean(self._journal, DONE)
            self._unlock()

    def _plan(self) -> list[tuple[Entry, bytes]]:
        """What is to be written where. Asks git, which may take its time, so not undisturbed."""
        backups = self._backups
        planned: list[tuple[Entry, bytes]] = []
        for change in self._changes:
            path = change.path.resolve()
            if read_text(path) != change.before:
                raise StaleError(f"{path} was changed by somebody else meanwhile; run again")
            backup = backups.place(path, change.before) if change.keep_backup else None
            content = encoded(path, change.after)
            planned.append((entry_for(path, content, change.before is not None, backup), content))
        planned += [(entry_for(*new, False, None), new[1]) for new in backups.needed()]
        return planned

    def _write(self, planned: Sequence[tuple[Entry, bytes]]) -> None:
        backups = self._backups
        entries = [entry for entry, _ in planned]
        places = [place for one in entries for place in (one.path, one.backup) if place]
        directories = _missing_directories(places)
        _write_entries(self._journal, entries, directories)

        for directory in directories:
            directory.mkdir(mode=0o700 if backups.holds(directory) else 0o777)
        for entry, content in planned:
            self.notes += write_beside(entry.new, content, like=entry.path)
        for entry in entries:
            _exchange(entry)
            if entry.backup is not None:
                backups.keep(entry.old, entry.backup)
                self.backups.append(entry.backup)
        for directory in {entry.path.parent for entry in entries}:
            _sync_directory(directory)

    def _undo(self) -> None:
        try:
            with undisturbed():
                self._open = False
                _roll_back(self._journal)
                self.backups.clear()
        finally:
            self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def entry_for(path: Path, content: bytes, existed: bool, backup: Path | None) -> Entry:
    return Entry(path, _digest(content), secrets.token_hex(6), existed, backup)


def refuse_outside(root: Path, changes: Sequence[FileChange], *, follow: bool) -> None:
    """Raise OutsideError where writing would go through a link to a place outside of `root`."""
    lines = [
        f"{change.path} is {change.path.resolve()}"
        for change in changes
        if change.path.absolute().is_relative_to(root)
        and not change.path.resolve().is_relative_to(root)
    ]
    if lines and not follow:
        raise OutsideError(lines)


def recover(directory: Path) -> list[str]:
    """Put back, or tidy up, what a killed run left in or around `directory`.

    Looks in the folder, in those above it and in those directly in it, since the run
    that was killed may have been given another one. Returns one line for each thing
    done. Raises BusyError where that run is still alive, NotRestored where it cannot.
    """
    said = []
    for journal in _journals(directory.resolve()):
        why = doubt(journal, directory.resolve())
        if why is None:
            with _held(journal):
                said.append(_settle(journal))
        elif journal.parent == directory.resolve():
            said.append(f"{journal} is not believed: {why}; remove it if it is nobody's")
    return said


def left_by_killed_runs(directory: Path) -> list[Path]:
    """What `recover` would look at."""
    return list(_journals(directory.resolve()))


def _settle(journal: Path) -> str:
    if (journal / DONE).exists():
        _clean(journal, DONE)
        return "an earlier run was killed when it was done; its files are kept"
    if not (journal / ENTRIES).exists():
        shutil.rmtree(journal)
        return "an earlier run was killed before it wrote anything; its notes are removed"
    kept = _roll_back(journal)
    done = "an earlier run was killed half way; its files are put back as they were"
    if kept:
        return f"{done}, except {', '.join(kept)}"
    return done


def _roll_back(journal: Path) -> list[str]:
    """Put back what the journal lists; in words what a person changed meanwhile.

    Raises NotRestored, and leaves the journal for the next run.
    """
    if not (journal / ENTRIES).exists():
        shutil.rmtree(journal)
        return []
    entries, directories = _read_entries(journal, ENTRIES)
    kept, lost = [], []
    for entry in reversed(entries):
        try:
            if words := _put_back(entry):
                kept.append(words)
        except OSError as error:
            place = f"as it was it lies in {entry.old}" if entry.existed else "it is to be removed"
            lost.append(f"{entry.path} could not be put back ({error.strerror}): {place}")
    if lost:
        raise NotRestored(journal, lost)
    for directory in reversed(directories):
        with contextlib.suppress(OSError):  # somebody put something there
            directory.rmdir()
    _clean(journal, ENTRIES)
    return kept


def _put_back(entry: Entry) -> str | None:
    """As it was before; in words if a person changed it meanwhile, which then stays."""
    now = _digest_of(entry.path)
    words = None
    if not entry.existed:
        if now == entry.new_digest:
            entry.path.unlink()
        elif now is not None:
            words = f"{entry.path.name}, edited since"
    elif entry.old.exists():
        if now in (entry.new_digest, None) or now == _digest_of(entry.old):
            os.replace(entry.old, entry.path)  # noqa: PTH105  (the call that is atomic)
            _sync_directory(entry.path.parent)
        elif entry.backup is not None and entry.backup.exists():
            return f"{entry.path.name}, edited since (before, it was {entry.backup})"
        else:
            return f"{entry.path.name}, edited since (before, it was {_keep_aside(entry)})"
    _remove(entry.new)
    if entry.backup is not None:
        _remove(entry.backup)
    return words


def _keep_aside(entry: Entry) -> Path:
    """A name for the old file that no run removes."""
    place = beside(entry.path, "before", entry.token)
    os.replace(entry.old, place)  # noqa: PTH105
    return place


def _exchange(entry: Entry) -> None:
    """The new file in the place of the old one, which keeps a name beside it."""
    if entry.existed:
        try:
            os.link(entry.path, entry.old)
        except OSError:  # no second names on this file system
            os.rename(entry.path, entry.old)  # noqa: PTH104
    os.replace(entry.new, entry.path)  # noqa: PTH105


def _clean(journal: Path, entries: str) -> None:
    """Remove what only the run itself needed, the list of it last."""
    for entry in _read_entries(journal, entries)[0]:
        _remove(entry.new)
        # Also where it was put back: of two names for one file, a rename leaves both.
        _remove(entry.old)
    (journal / entries).unlink()
    _sync_directory(journal)
    shutil.rmtree(journal)


def _write_entries(journal: Path, entries: Sequence[Entry], directories: Sequence[Path]) -> None:
    """All paths are relative: a copied project restores into itself, never into the original."""
    root = journal.parent
    document = {
        # A link out of the project is followed only by the journal that was written for it.
        "folder": _identity(journal),
        "directories": [os.path.relpath(directory, root) for directory in directories],
        "files": [
            {
                "path": os.path.relpath(entry.path, root),
                "new_digest": entry.new_digest,
                "token": entry.token,
                "existed": entry.existed,
                "backup": entry.backup and os.path.relpath(entry.backup, root),
            }
            for entry in entries
        ],
    }
    draft = journal / f"{ENTRIES}.tmp"
    write_beside(draft, json.dumps(document, indent=1).encode(), like=draft)
    os.replace(draft, journal / ENTRIES)  # noqa: PTH105
    _sync_directory(journal)


def _read_entries(journal: Path, name: str) -> tuple[list[Entry], list[Path]]:
    """Raises BusyError for a journal that is none of ours, or names what is not the project's."""
    root = journal.parent
    try:
        document: dict[str, Any] = json.loads((journal / name).read_text())
        original = document["folder"] == _identity(journal)
    except (ValueError, KeyError):
        raise BusyError(
            f"{journal} was left by another version: put back by hand what is in it, remove it"
        ) from None

    def place(words: str) -> Path:
        path = Path(os.path.normpath(root / words))
        inside = path.is_relative_to(root) and path.parent.resolve().is_relative_to(root)
        if not inside and not original:
            raise BusyError(f"{journal} names {path}, which is not in this project: remove it")
        return path

    entries = [
        Entry(
            place(item["path"]),
            item["new_digest"],
            item["token"],
            item["existed"],
            item["backup"] and place(item["backup"]),
        )
        for item in document["files"]
    ]
    return entries, [place(item) for item in document["directories"]]


def _identity(journal: Path) -> list[int]:
    facts = journal.stat()
    return [facts.st_dev, facts.st_ino]


def _journals(directory: Path) -> Iterator[Path]:
    inside = sorted(directory.iterdir()) if os.access(directory, os.R_OK | os.X_OK) else []
    for folder in (directory, *directory.parents, *inside):
        journal = folder / JOURNAL
        # A folder that we may not look into holds no journal of ours.
        if os.access(folder, os.X_OK) and os.path.lexists(journal) and not journal.is_symlink():
            yield journal


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
    except (FileNotFoundError, NotADirectoryError):
        return None


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()


def _who_is_there(journal: Path) -> str:
    why = doubt(journal, journal.parent)
    if why is None:
        return f"another run is writing here ({journal})"
    return f"{journal} is not believed: {why}; remove it if it is nobody's"


def _lock(journal: Path) -> IO[str]:
    """A lock that the kernel drops when its holder dies, however it dies."""
    try:
        # Not for writing: an open one would keep the disk from being made read-only.
        flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC
        file = os.fdopen(os.open(journal / "lock", flags, 0o600))
    except FileNotFoundError:  # tidied up by another run this moment
        raise BusyError(f"another run is writing here ({journal})") from None
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
