"""Folders of ours in a place that all may write: nobody else's, and swept when their run is gone.

A folder is ours as long as the lock on the file `lock` in it is held, which the system lets go
at any end of a process. Process ids and names of hosts say nothing: two containers have the
same ones (#11).
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "alembic_scratch_"
HALF = f".{PREFIX}half_"
MOMENT = 3600.0
"""Seconds after which a half folder is one of a run that was killed just then."""


def new_name() -> str:
    """For a scratch database, its role or a folder: 32 characters, which is what MySQL allows."""
    return f"{PREFIX}{secrets.token_hex(8)}"


@contextlib.contextmanager
def own_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new folder with the mode 0700 in `parent` (default: TMPDIR), removed at the end."""
    folder, lock = make_folder(parent or Path(tempfile.gettempdir()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def make_folder(parent: Path) -> tuple[Path, int]:
    """The folder, and the descriptor that holds its lock."""
    half = Path(tempfile.mkdtemp(prefix=HALF, dir=parent))
    lock = os.open(half / "lock", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    # Under its name it is locked from the beginning: a sweep never sees it without.
    folder = parent / new_name()
    half.rename(folder)
    return folder, lock


def sweep_folders() -> None:
    """Remove what this user's killed runs left."""
    for parent in {tempfile.gettempdir(), "/tmp", "/dev/shm"}:  # noqa: S108  (private servers)
        for entry in Path(parent).glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                sweep(entry)
        for entry in Path(parent).glob(f"{HALF}*"):
            with contextlib.suppress(OSError):
                sweep_half(entry)


def is_ours(facts: os.stat_result) -> bool:
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid()


def sweep_half(folder: Path) -> None:
    """It may not be locked yet, and has this name for a moment only."""
    facts = folder.lstat()
    if is_ours(facts) and facts.st_mtime < time.time() - MOMENT:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    if not is_ours(folder.lstat()):
        return
    lock = os.open(folder / "lock", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: its run is alive
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
