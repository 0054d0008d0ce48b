"""The scripts and alembic, run as a user runs them."""

import hashlib
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from projects import warm

SCRIPTS = Path(__file__).parents[2] / "scripts"
DOOR = SCRIPTS / "setup-alembic.sh"


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What --json printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found


def environment(url: str | None, **more: str) -> dict[str, str]:
    """Ours, with the interpreter of these tests as the project's."""
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    made = {**kept, "VIRTUAL_ENV": sys.prefix, **more}
    return {**made, "DATABASE_URL": url} if url else made


def setup(directory: Path, *arguments: str, url: str | None = None, **more: str) -> Ended:
    """Run setup-alembic.sh in `directory`."""
    return _run(DOOR, directory, *arguments, url=url, **more)


def generate(directory: Path, *arguments: str, url: str) -> Ended:
    """Run generate-migration.sh in `directory`."""
    return _run(SCRIPTS / "generate-migration.sh", directory, *arguments, url=url)


def _run(door: Path, directory: Path, *arguments: str, url: str | None, **more: str) -> Ended:
    ended = warm.door(door, *arguments, cwd=directory, environment=environment(url, **more))
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def alembic(ini: Path, *arguments: str, url: str) -> Ended:
    """Run the project's own alembic, beside its ini."""
    with tempfile.NamedTemporaryFile() as stderr:
        code, out = warm.run(
            ["-m", "alembic", "-c", str(ini), *arguments],
            cwd=ini.parent,
            environment=environment(url),
            stderr=stderr,
        )
        return Ended(code, out, Path(stderr.name).read_text())


def tree(directory: Path) -> dict[str, str]:
    """Relative path -> digest of every file, folders included."""
    return {
        path.relative_to(directory).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        )
        for path in sorted(directory.rglob("*"))
    }
