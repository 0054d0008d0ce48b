"""Put the proved file into the project: whole or not at all."""

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from toolkit.files.writing import beside, write_beside
from toolkit.migration.refusal import Refusal
from toolkit.report.exits import Exit

HALF = re.compile(r"\.generate-migration\.\d+\.tmp")


def install(text: str, destination: Path) -> list[Path]:
    """Write `text` as `destination` in one step; the folders that had to be made.

    Raises FileExistsError rather than replace a file.
    """
    made = [folder for folder in destination.parents if not folder.exists()]
    destination.parent.mkdir(parents=True, exist_ok=True)
    half = destination.parent / f".generate-migration.{os.getpid()}.tmp"
    try:
        with half.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        put(half, destination)
    except BaseException:
        half.unlink(missing_ok=True)
        remove_folders(made)
        raise
    half.unlink(missing_ok=True)
    return made


def put(half: Path, destination: Path) -> None:
    """Give a whole file its name. Raises FileExistsError where that is taken."""
    try:
        # A link, unlike a rename, fails where a file of that name has appeared.
        os.link(half, destination)
    except FileExistsError:
        raise
    except OSError:  # no second names on this file system
        if os.path.lexists(destination):
            raise FileExistsError(str(destination)) from None
        half.rename(destination)


def rewrite(path: Path, text: str) -> None:
    """The same file with another text, in one step."""
    new = beside(path, "generate-migration.tmp")
    try:
        write_beside(new, text.encode(), like=path)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def refuse_outside(folder: Path, root: Path) -> None:
    """Raise Refusal where a link in the project leads out of it; a path in the ini may."""
    real = folder.resolve()
    named = Path(os.path.normpath(folder))
    if not named.is_relative_to(root) or real.is_relative_to(root.resolve()):
        return
    raise Refusal(
        "outside",
        Exit.OUTSIDE,
        f"{named} is, or is behind, a link that leads out of the project, to {real}.",
        "Say that it is meant with --follow-links, or put the folder itself there.",
    )


def uninstall(destination: Path, made: list[Path]) -> None:
    destination.unlink(missing_ok=True)
    remove_folders(made)


def remove_folders(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def sweep_halves(script_location: Path) -> None:
    """Remove files that runs killed in the middle of `install` left; under `only_run`, which no
    living run shares with us."""
    for path in script_location.rglob(".generate-migration.*.tmp"):
        if HALF.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def only_run(script_location: Path, wait: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the project against other runs; wait `wait` seconds for one that is there.

    The lock is on the folder itself, so no file is left, and it ends with the process.
    """
    handle = os.open(script_location, os.O_RDONLY)
    try:
        deadline = time.monotonic() + wait
        waiting = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Refusal(
                        "busy",
                        Exit.PROOF_FAILED,
                        f"Another run has been at work on {script_location} for {wait:g} s.",
                        "Let it end and run this again.",
                    ) from None
            if not waiting:
                say("another run is at work on this project; waiting for it")
                waiting = True
            time.sleep(0.1)
        yield
    finally:
        os.close(handle)
