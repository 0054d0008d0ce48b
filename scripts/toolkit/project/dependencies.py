"""What is installed, what is missing, and the exact line that installs it."""

import importlib.metadata
import re
import sys
import sysconfig
import tomllib
from collections.abc import Iterable
from pathlib import Path

from toolkit.database.urls import SYNC_DRIVERS, installed, kind_of
from toolkit.files.reading import text_of
from toolkit.project.commands import program
from toolkit.project.facts import PackageManager, Project
from toolkit.report.quoting import command

DISTRIBUTIONS = (
    "sqlalchemy",
    "alembic",
    "greenlet",
    "asyncpg",
    "aiosqlite",
    "aiomysql",
    "asyncmy",
    "psycopg",
    "fastapi",
    "sqlmodel",
    "python-dotenv",
)
_DRIVERS = {
    "postgresql": ("asyncpg", "psycopg"),
    "mysql": ("aiomysql", "asyncmy"),
    "sqlite": ("aiosqlite",),
}
_SYNC_PACKAGES = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "pymysql": "pymysql",
    "mysqldb": "mysqlclient",
    "pg8000": "pg8000",
}
_COMMANDS: dict[PackageManager, str] = {
    "uv": "uv add",
    "poetry": "poetry add",
    "pdm": "pdm add",
    "pipenv": "pipenv install",
}


def installed_versions() -> dict[str, str | None]:
    """Version of each distribution of interest in the running interpreter."""
    found: dict[str, str | None] = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def dialect_of(scheme: str) -> str | None:
    """`postgresql`, `mysql` or `sqlite` for a URL scheme, None for others."""
    name = scheme.partition("+")[0].lower()
    aliases = {"postgres": "postgresql", "mariadb": "mysql"}
    name = aliases.get(name, name)
    return name if name in _DRIVERS else None


def missing_packages(project: Project, scheme: str | None = None) -> tuple[str, ...]:
    """Requirements that async SQLAlchemy with Alembic needs and that are not installed.

    `scheme` is that of the real URL, where the caller knows it; otherwise that of the
    environment, then those in the source decide. When nothing tells the database, any
    one async driver is enough.
    """
    versions = project.versions
    missing = [name for name in ("alembic",) if not versions.get(name)]
    if project.is_sync:
        return (
            *([] if versions.get("sqlalchemy") else ["sqlalchemy"]),
            *missing,
            *_sync_driver(project, scheme),
        )
    if not versions.get("sqlalchemy") or not versions.get("greenlet"):
        # greenlet is not installed with SQLAlchemy 2.1 by itself: the extra asks for it.
        missing.insert(0, "sqlalchemy[asyncio]")
    scheme = scheme or project.scheme
    wanted = _wanted_drivers([scheme] if scheme else project.schemes)
    for dialect in wanted:
        if not any(versions.get(driver) for driver in wanted[dialect]):
            missing.append(wanted[dialect][0])
    everything = [driver for drivers in _DRIVERS.values() for driver in drivers]
    if not wanted and not any(versions.get(driver) for driver in everything):
        missing.append(_DRIVERS["postgresql"][0])
    return tuple(dict.fromkeys(missing))


def _sync_driver(project: Project, scheme: str | None) -> list[str]:
    """The driver that a synchronous application lacks: any of its database will do, but for one
    that the URL names.
    """
    first = scheme or project.scheme or next(iter(project.schemes), "postgresql")
    kind = kind_of(first)
    if kind is None:
        return []
    named = first.partition("+")[2]
    known = dict(SYNC_DRIVERS[kind])
    if any(installed(module) for module in ([known[named]] if named in known else known.values())):
        return []
    return [_SYNC_PACKAGES.get(named or SYNC_DRIVERS[kind][0][0], named)]


def install_line(project: Project, packages: Iterable[str]) -> str:
    """The command that installs `packages` with the project's package manager."""
    packages = list(packages)
    if _are_declared(project, packages):
        return sync_line(project, packages)
    if project.package_manager == "pip":
        return pip_line(packages)
    return f"{_COMMANDS[project.package_manager]} {command(packages)}"


def pip_line(words: Iterable[str]) -> str:
    """`python -m pip install ...` for the running interpreter; into a new .venv beside the project
    where that is the system's, which its distribution keeps from pip (PEP 668).
    """
    python = program("python")
    marker = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    if sys.prefix == sys.base_prefix and marker.exists():
        python = f"{python} -m venv .venv && .venv/bin/python"
    return f"{python} -m pip install {command(words)}"


def sync_line(project: Project, packages: Iterable[str]) -> str:
    """What a person types to install what the dependency file lists, `packages` among it."""
    file = project.dependency_file
    if project.package_manager == "pip":
        # Not `-e .`: beside a new folder of migrations setuptools finds no package any more.
        listed = file is not None and file.suffix == ".txt"
        return pip_line(["-r", str(file)] if listed else packages)
    return {
        "uv": "uv sync",
        "poetry": "poetry lock && poetry install",
        "pdm": "pdm install",
        "pipenv": "pipenv install",
    }[project.package_manager]


def _are_declared(project: Project, packages: Iterable[str]) -> bool:
    """Does the dependency file list them all, so that nothing has to be added to it?"""
    declared = declared_names(project.dependency_file)
    for package in packages:
        listed = _normal(package) in declared
        if package == "sqlalchemy[asyncio]":
            listed = listed and ("greenlet" in declared or has_asyncio_extra(project))
        if not listed:
            return False
    return True


def declared_names(file: Path | None, text: str | None = None) -> set[str]:
    """Normalised names of the packages that a dependency file lists; `text`: that it will have."""
    if file is None or (text is None and not file.is_file()):
        return set()
    text = text_of(file) if text is None else text
    if file.suffix == ".txt":
        return {_normal(line) for line in text.splitlines() if re.match(r"\s*\w", line)}
    if file.name == "pyproject.toml":
        content = tomllib.loads(text)
        names = {_normal(line) for line in content.get("project", {}).get("dependencies", [])}
        poetry = content.get("tool", {}).get("poetry", {}).get("dependencies", {})
        return names | {_normal(name) for name in poetry}
    if file.name == "Pipfile":
        return {_normal(name) for name in tomllib.loads(text).get("packages", {})}
    return set()


def _normal(line: str) -> str:
    found = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", line)
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found else ""


def has_asyncio_extra(project: Project) -> bool:
    """Does the dependency file ask for `sqlalchemy[asyncio]`?"""
    file = project.dependency_file
    text = text_of(file) if file is not None else ""
    return re.search(r"(?i)sqlalchemy.{0,60}asyncio", text) is not None


def _wanted_drivers(schemes: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Dialect -> drivers that will do, the named async driver alone where one is named."""
    wanted: dict[str, tuple[str, ...]] = {}
    for scheme in schemes:
        dialect = dialect_of(scheme)
        driver = scheme.partition("+")[2]
        if dialect is None:
            continue
        known = _DRIVERS[dialect]
        narrow = (driver,) if driver in known else known
        # An explicit driver says more than a bare `postgresql://` elsewhere.
        if dialect not in wanted or len(wanted[dialect]) > 1:
            wanted[dialect] = narrow
    return wanted
