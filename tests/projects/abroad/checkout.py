"""A checkout that is tried: a copy of its committed files, and the set-ups that are in it."""

import configparser
import hashlib
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

SKIPPED = ("{{", "cookiecutter")
"""In the path of what is a template for a project, and none itself."""


@dataclass(frozen=True)
class SetUp:
    """One history of migrations: an ini (or a pyproject.toml) and a section of it."""

    ini: Path
    section: str

    def arguments(self, folder: Path) -> list[str]:
        """What `alembic` is told to mean this one, called in `folder`; nothing where it is what
        `alembic` takes by itself.
        """
        if self.ini.name == "pyproject.toml":
            return []
        named = [] if self.ini == folder / "alembic.ini" else ["-c", str(self.ini)]
        return named + (["-n", self.section] if self.section != "alembic" else [])


def name_of(checkout: Path) -> str:
    """`name abcdef12`, the commit that is tried."""
    commit = _git(checkout, "rev-parse", "--short=8", "HEAD").strip()
    return f"{checkout.name} {commit}"


def copy(checkout: Path, into: Path) -> Path:
    """Copy what git has of it, so that nothing the maintainer did there counts, and commit it:
    scripts that ask git whether a file is the last commit's are answered.
    """
    folder = into / checkout.name.rpartition("__")[2]
    for name in filter(None, _git(checkout, "ls-files", "-z").split("\0")):
        source, target = checkout / name, folder / name
        if source.is_file() and not source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return folder


def commit(folder: Path) -> None:
    _git(folder, "init", "--quiet")
    _git(folder, "add", "--all", "--force")
    person = ["-c", "user.name=a maintainer", "-c", "user.email=maintainer@example.invalid"]
    _git(folder, *person, "commit", "--quiet", "--message", "as it is")


def set_ups(folder: Path) -> list[SetUp]:
    """Every Alembic set-up in there, as their own files say it."""
    found: list[SetUp] = []
    for ini in sorted(folder.rglob("*.ini"), key=lambda path: (len(path.parts), path)):
        if not any(word in str(ini) for word in SKIPPED):
            found += [SetUp(ini, section) for section in _sections(ini)]
    for project in sorted(folder.rglob("pyproject.toml")):
        if _in_pyproject(project) and all(one.ini.parent != project.parent for one in found):
            found.append(SetUp(project, "alembic"))
    return found


def _sections(ini: Path) -> list[str]:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(ini.read_text(encoding="utf-8"))
    except (configparser.Error, UnicodeDecodeError):
        return []
    named = [name for name in parser.sections() if parser.has_option(name, "script_location")]
    if not named and parser.has_section("alembic") and _in_pyproject(ini.parent / "pyproject.toml"):
        return ["alembic"]
    return named


def _in_pyproject(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except tomllib.TOMLDecodeError:
        return False
    return "script_location" in tool.get("alembic", {})


def state(folder: Path) -> dict[str, str]:
    """Relative path -> digest of each file that is not bytecode or git's."""
    found = {}
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and not {".git", "__pycache__"} & set(relative.parts):
            found[relative.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _git(folder: Path, *arguments: str) -> str:
    ended = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return ended.stdout
