"""What an earlier run found out about files that have not changed since (#12).

Kept in the user's cache folder, as fingerprints of a file's path, time, size and the Python that
read it: nothing of its text, and no name. Who could write there could at most keep a broken
file from being named; still, a folder that is not the user's alone is not used. Without a
place to write, nothing is kept, and nobody is told: the answers are the same.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

FOLDER = "async-sqlalchemy-patterns"
VERSION = 1
"""To be raised when a fingerprint means something else."""
LARGEST = 4_000_000
WORTH = 50
"""Files. Fewer are read as fast as remembered, and leave nothing behind."""
FINGERPRINT = re.compile(r"[0-9a-f]{32}")


class Memory:
    """The files of one project that parse."""

    def __init__(self, root: Path) -> None:
        folder = cache_folder()
        self._file = folder / f"{digest(str(root))}.json" if folder else None
        self._known = load(self._file) if self._file else frozenset()
        self._used: set[str] = set()

    def has(self, path: Path) -> bool:
        key = fingerprint(path)
        if key in self._known:
            self._used.add(key)
            return True
        return False

    def add(self, path: Path) -> None:
        if key := fingerprint(path):
            self._used.add(key)

    def keep(self) -> None:
        """Write down what this run saw, if that is news."""
        if self._file and len(self._used) >= WORTH and self._used - self._known:
            with contextlib.suppress(OSError):
                store(self._file, sorted(self._used))


def cache_folder() -> Path | None:
    given = os.environ.get("XDG_CACHE_HOME", "")
    if Path(given).is_absolute():  # a relative one is to be ignored, as the standard says
        return Path(given) / FOLDER
    try:
        return Path.home() / ".cache" / FOLDER
    except RuntimeError:  # an account without a home
        return None


def fingerprint(path: Path) -> str:
    try:
        facts = path.stat()
    except OSError:
        return ""
    parts = (VERSION, sys.version, path, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)
    return digest("\0".join(map(str, parts)))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def load(file: Path) -> frozenset[str]:
    """Empty where there is nothing, or nothing that can be trusted."""
    try:
        if not is_private(file.parent.lstat(), stat.S_ISDIR):
            return frozenset()
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as opened:  # noqa: PTH123
            if not is_private(os.fstat(descriptor), stat.S_ISREG):
                return frozenset()
            found = json.loads(opened.read(LARGEST))
    except (OSError, ValueError, RecursionError):
        return frozenset()
    keys: Iterable[object] = found if isinstance(found, list) else ()
    return frozenset(key for key in keys if isinstance(key, str) and FINGERPRINT.fullmatch(key))


def is_private(facts: os.stat_result, kind: Callable[[int], bool]) -> bool:
    return kind(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o022


def store(file: Path, keys: list[str]) -> None:
    """In one step: another run reads the old one or the new one."""
    # No more than the two: a home that there is not is not made.
    file.parent.parent.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):
        file.parent.mkdir(mode=0o700)
    if not is_private(file.parent.lstat(), stat.S_ISDIR):
        return
    new = file.with_name(f".{file.name}.{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with open(os.open(new, flags, 0o600), "w", encoding="ascii") as opened:  # noqa: PTH123
            json.dump(keys, opened)
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)
