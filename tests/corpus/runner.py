"""Runs the revisions of a corpus, each on a database of its own, and reads what they expect."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from toolkit.database.alembic_process import run_alembic
from toolkit.database.scratch import Scratch
from toolkit.database.urls import kind_of
from toolkit.project import read_project

CORPUS = Path(__file__).parent
ENV = """
import asyncio

from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine


def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def online():
    engine = create_async_engine("{url}")
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


asyncio.run(online())
"""
SYNC_ENV = """
from alembic import context
from sqlalchemy import create_engine

engine = create_engine("{url}")
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
"""
URLS = {
    "postgresql": "postgresql+asyncpg://nobody@127.0.0.1:1/none",
    "mysql": "mysql+aiomysql://nobody@127.0.0.1:1/none",
    "sqlite": "sqlite+aiosqlite:///none.db",
}


@dataclass(frozen=True)
class Case:
    """One revision of the corpus."""

    name: str
    path: Path
    expected: frozenset[tuple[str, str]]
    """(rule, verdict); empty for a safe form."""

    @property
    def is_safe(self) -> bool:
        return not self.expected


def cases(folder: Path) -> list[Case]:
    """All but the base; a file without a readable first line is an error."""
    found = []
    for path in sorted(folder.glob("*.py")):
        if path.stem != "base":
            found.append(Case(path.stem, path, expectation(path)))
    assert found, f"no revisions in {folder}"
    return found


def expectation(path: Path) -> frozenset[tuple[str, str]]:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    match = re.fullmatch(r"# expect: (nothing|[a-z-]+ [a-z-]+(?:, [a-z-]+ [a-z-]+)*)", first)
    assert match, f"{path.name}: {first!r}"
    if match[1] == "nothing":
        return frozenset()
    return frozenset((rule, verdict) for rule, verdict in (p.split() for p in match[1].split(", ")))


class Workplace:
    """A project with the corpus in its versions folder."""

    def __init__(self, root: Path, folder: Path, *, url: str = "", env: str = ENV) -> None:
        self.root = root
        versions = root / "alembic" / "versions"
        versions.mkdir(parents=True)
        for path in folder.glob("*.py"):
            (versions / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        (root / "alembic" / "env.py").write_text(env.replace("{url}", url or URLS[folder.name]))
        (root / "pyproject.toml").write_text('[project]\nname = "corpus"\nversion = "0"\n')
        (root / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
        self.ini = root / "alembic.ini"
        self.ini.write_text("[alembic]\nscript_location = %(here)s/alembic\npath_separator = os\n")
        self.versions = versions
        self.project = read_project(root)

    def run(self, *arguments: str, url: str, action: str = "trace") -> dict[str, Any]:
        """The worker's report."""
        made = make_url(url)
        kind = kind_of(made.drivername)
        assert kind is not None
        scratch = Scratch(kind, made, "a test's server", nullcontext)  # type: ignore[arg-type]
        extra = {"action": action}
        return run_alembic(self.project, arguments, scratch, ini=self.ini, extra=extra).report


@contextmanager
def copy_of(server: Any, template: str, name: str) -> Iterator[str]:
    """A PostgreSQL database made from `template`; its URL."""
    server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield server.url(name)
    finally:
        server.drop_database(name)
