"""What a project says it needs, and an environment that has it."""

import configparser
import functools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

OURS = {"sqlalchemy", "alembic"}
NOT_LOCKED = {*OURS, "asyncpg", "psycopg", "psycopg-binary", "psycopg2-binary", "pymysql",
              "aiomysql", "aiosqlite", "greenlet"}  # fmt: skip
NEEDED = ("sqlalchemy[asyncio]>=2.0.58", "alembic>=1.20.1", "fastapi", "aiosqlite", "asyncpg",
          "psycopg2-binary", "psycopg[binary]", "pymysql", "aiomysql", "python-multipart",
          "httpx")  # fmt: skip
"""What each gets beside its own: what the scripts ask for, and a driver for each database."""


@dataclass
class Environment:
    """A virtual environment for one project."""

    folder: Path
    requires_old: str = ""
    """The requirement that allows no SQLAlchemy that the scripts work with, as it is written."""
    missing: list[str] = field(default_factory=list)
    """What could not be installed, each with the reason in a few words."""

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"


def named(project: Path) -> list[str]:
    """The requirements of the folder's own files, each as pip reads it."""
    found: list[str] = []
    if (project / "pyproject.toml").is_file():
        found += _pyproject(project / "pyproject.toml")
    for file in sorted(project.glob("requirements*.txt")) + sorted(
        project.glob("requirements/*.txt")
    ):
        found += _lines(file)
    if (project / "Pipfile").is_file():
        packages = tomllib.loads((project / "Pipfile").read_text(encoding="utf-8"))["packages"]
        found += [_poetry(name, wanted) for name, wanted in packages.items()]
    if (project / "setup.cfg").is_file():
        parser = configparser.RawConfigParser()
        parser.read(project / "setup.cfg")
        listed = parser.get("options", "install_requires", fallback="")
        found += [line.strip() for line in listed.splitlines()]
    return list(dict.fromkeys(one for one in found if one))


def _pyproject(path: Path) -> list[str]:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    found = list(document.get("project", {}).get("dependencies", []))
    for listed in document.get("project", {}).get("optional-dependencies", {}).values():
        found += [one for one in listed if name_of(one) != name_of(_own_name(document))]
    for listed in document.get("dependency-groups", {}).values():
        found += [one for one in listed if isinstance(one, str)]
    poetry = document.get("tool", {}).get("poetry", {})
    listed = [poetry, *poetry.get("group", {}).values()]
    for name, wanted in (one for part in listed for one in part.get("dependencies", {}).items()):
        if name != "python" and not (isinstance(wanted, dict) and "path" in wanted):
            found.append(_poetry(name, wanted))
    return found


def _own_name(document: dict[str, Any]) -> str:
    return str(document.get("project", {}).get("name", ""))


def _poetry(name: str, wanted: Any) -> str:
    """A requirement of Poetry's or Pipenv's in pip's words: `^1.2` is `>=1.2,<2`."""
    wanted = wanted[0] if isinstance(wanted, list) else wanted
    extras = ""
    if isinstance(wanted, dict):
        extras = f"[{','.join(wanted.get('extras', []))}]" if wanted.get("extras") else ""
        wanted = wanted.get("version", "*")
    caret = re.fullmatch(r"\^(\d+)(?:\.(\d+))?(.*)", wanted)
    tilde = re.fullmatch(r"~(\d+)(?:\.(\d+))?(.*)", wanted)
    if caret:
        major, minor = int(caret[1]), int(caret[2] or 0)
        upper = f"{major + 1}" if major else f"0.{minor + 1}"
        wanted = f">={wanted[1:]},<{upper}"
    elif tilde:
        wanted = f">={wanted[1:]},<{tilde[1]}.{int(tilde[2] or 0) + 1}"
    elif wanted[:1].isdigit():
        wanted = f"=={wanted}"
    return f"{name}{extras}{'' if wanted == '*' else wanted}"


def _lines(file: Path) -> list[str]:
    found = []
    raw = file.read_bytes()
    text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")
    for line in text.replace("\\\n", " ").splitlines():
        named = re.sub(r"(^|\s)#.*|\s--hash=\S+", "", line).strip().rstrip(",")
        if named and not named.startswith("-") and "://" not in named:
            found.append(named)
    return found


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement.strip())
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def bare(requirement: str) -> str:
    """Without its versions: `fastapi[all]; python_version > "3.8"`."""
    head, _, marker = requirement.partition(";")
    found = re.match(r"\s*([A-Za-z0-9._-]+\s*(\[[^]]*\])?)", head)
    return (found[1] if found else "") + (f";{marker}" if marker else "")


def python_for(project: Path) -> str:
    """The oldest interpreter here that the project allows, from 3.11 on; else the newest."""
    wanted = SpecifierSet()
    if (project / "pyproject.toml").is_file():
        document = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        poetry = document.get("tool", {}).get("poetry", {}).get("dependencies", {})
        said = document.get("project", {}).get("requires-python") or _poetry(
            "", poetry.get("python", "*")
        )
        try:
            wanted = SpecifierSet(said)
        except InvalidSpecifier:
            wanted = SpecifierSet()
    found = interpreters()
    return next((one for version, one in found if wanted.contains(version)), found[-1][1])


@functools.cache
def interpreters() -> list[tuple[str, str]]:
    """Version and path of each that runs the scripts: on PATH, and those of pyenv."""
    found = {}
    folders = [Path(name) for name in os.environ["PATH"].split(os.pathsep)]
    for folder in [*folders, *Path.home().glob(".pyenv/versions/*/bin")]:
        for minor in range(11, 20):
            program = folder / f"python3.{minor}"
            if program.is_file() and "shims" not in program.parts:
                said = _run([str(program), "-c", "import platform as p; print(p.python_version())"])
                found[minor] = said.stdout.strip(), str(program)
    return [found[minor] for minor in sorted(found)]


def locked(project: Path) -> list[str]:
    """What its lock says of all that the project's packages need in turn."""
    for name in ("uv.lock", "poetry.lock", "pdm.lock"):
        if (project / name).is_file():
            # As text: uv writes TOML 1.1, which Python's own reader does not know.
            text = (project / name).read_text(encoding="utf-8")
            found = re.findall(
                r'^\[\[package\]\]\nname = "(.+)"\nversion = "(.+)"', text, re.MULTILINE
            )
            return [f"{package}=={version}" for package, version in found]
    return []


def make(folder: Path, wanted: list[str], constraints: list[str], python: str = "") -> Environment:
    """Install as the project pins it, but for a newer SQLAlchemy and Alembic; where that has no
    solution, the newest of each; where one of them can't be had, the others.
    """
    made, seal = Environment(folder), folder / "made"
    if seal.is_file():  # by an earlier run, of the same list
        listed, made.requires_old, *made.missing = seal.read_text(encoding="utf-8").split("\n")
        if listed == repr((wanted, constraints, python)):
            return made
        made = Environment(folder)
    asked = repr((wanted, constraints, python))
    _run(["uv", "venv", "--quiet", "--clear", "--python",
          python or sys.executable, str(folder)])  # fmt: skip
    wanted = [one for one in wanted if name_of(one) not in {"python", "uwsgi", ""}]
    lock_of_alchemy = [one for one in constraints if name_of(one) == "sqlalchemy"]
    constraints = [one for one in constraints if name_of(one) not in NOT_LOCKED]
    old = next((one for one in [*wanted, *lock_of_alchemy] if _is_old(one)), "")
    needed = list(NEEDED)
    if old:
        made.requires_old = old
        needed = [one for one in needed if name_of(one) not in OURS]
    overrides = folder / "overrides.txt"
    if any(_below_two_one(one) for one in [*wanted, *lock_of_alchemy]):
        needed[0] += ",<2.1"
    overrides.write_text("" if old else "\n".join(needed[:2]))
    reason = _install(made, [*wanted, *needed], overrides, constraints) if constraints else "none"
    reason = reason and _install(made, [*wanted, *needed], overrides)
    if reason:
        newest = [one if old and name_of(one) in OURS else bare(one) for one in wanted]
        newest = list(dict.fromkeys(filter(None, newest)))
        reason = _install(made, [*newest, *needed], overrides)
        if reason:
            _install(made, needed, overrides)
            for one in newest:
                if failed := _install(made, [one, *([] if old else needed[:2])], overrides):
                    made.missing.append(f"{name_of(one)}: {failed}")
    seal.write_text("\n".join([asked, made.requires_old, *made.missing]), encoding="utf-8")
    return made


def put_on_path(made: Environment, home: Path) -> None:
    """What an installation of the project does, where it is one that gets installed."""
    project = home / "pyproject.toml"
    (site,) = made.folder.glob("lib/python3.*/site-packages")
    if project.is_file() and "build-system" in tomllib.loads(project.read_text(encoding="utf-8")):
        folder = home / "src" if (home / "src").is_dir() else home
        (site / "abroad.pth").write_text(f"{folder}\n", encoding="utf-8")


def _is_old(requirement: str) -> bool:
    """Allows no SQLAlchemy 2; SQLModel does from 0.0.14 on."""
    if name_of(requirement) == "sqlmodel":
        return bool(re.search(r"==\s*0\.0\.([0-9]|1[0-3])\b", requirement))
    return (
        name_of(requirement) == "sqlalchemy"
        and bool(re.search(r"(==|<|<=)\s*(1\.|2(\.0(\.0)?)?\s*($|,|;))|~=\s*1\.", requirement))
        and (">=2" not in requirement.replace(" ", ""))
    )


def _below_two_one(requirement: str) -> bool:
    """Pinned to 2.0: as it is meant, with the last of that line."""
    return name_of(requirement) == "sqlalchemy" and bool(
        re.search(r"==\s*2\.0|~=\s*2\.0\.|<\s*2\.1|<=\s*2\.0", requirement)
    )


def _install(
    made: Environment, wanted: list[str], overrides: Path, constraints: Sequence[str] = ()
) -> str:
    """The reason in a few words, or nothing when it is done."""
    listed = made.folder / "wanted.txt"
    listed.write_text("\n".join(wanted))
    pinned = made.folder / "constraints.txt"
    pinned.write_text("\n".join(constraints))
    ended = _run(["uv", "pip", "install", "--quiet", "--python",
                  str(made.python), "--overrides", str(overrides), "--constraints", str(pinned),
                  "-r", str(listed)])  # fmt: skip
    if ended.returncode == 0:
        return ""
    return " ".join(ended.stderr.split())[:160] or f"exit {ended.returncode}"


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
