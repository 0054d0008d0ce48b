"""Where the old text of a person's file stays when that is replaced."""

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from toolkit.files.writing import write_beside

FOLDER = ".setup-alembic.backups"
SECONDS = 10.0
QUIET = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}


class Backups:
    """One folder of the project, which git ignores; nothing where git has the text anyway."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / FOLDER
        self._used = False
        self.stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")

    def place(self, path: Path, text: str | None) -> Path | None:
        """Where the file will be kept; None where the last commit has the same text."""
        if text is None or self._is_committed(path):
            return None
        self._used = True
        inside = path.is_relative_to(self.root)
        name = path.relative_to(self.root) if inside else Path(path.name)
        return self.folder / self.stamp / name

    def needed(self) -> list[tuple[Path, bytes]]:
        """A new file for the folder: what has git ignore it, itself included."""
        ignore = self.folder / ".gitignore"
        return [(ignore, b"*\n")] if self._used and not ignore.exists() else []

    def holds(self, path: Path) -> bool:
        return path.is_relative_to(self.folder)

    def keep(self, old: Path, backup: Path) -> None:
        """A second name for the file; a copy where its disk is another one."""
        try:
            os.link(old, backup)
        except OSError:
            write_beside(backup, old.read_bytes(), like=old)

    def _is_committed(self, path: Path) -> bool:
        git = shutil.which("git")
        if git is None:
            return False
        try:
            # A blob is read as it is: no filter, hook or monitor of the repository runs.
            found = subprocess.run(
                [git, "-C", str(path.parent), "cat-file", "blob", f"HEAD:./{path.name}"],
                env={**os.environ, **QUIET},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return False
        there = path.read_bytes()
        return found.returncode == 0 and plain(found.stdout) == plain(there)


def plain(content: bytes) -> bytes:
    """Without what git may do to the ends of lines."""
    return content.replace(b"\r\n", b"\n")
