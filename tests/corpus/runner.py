"""Runs the revisions of a corpus, each on the base, and reads what they expect."""

import re
from collections.abc import Collection, Iterator
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
# Revisions beside each other, each undone at its end: the next one finds the base again (#10).
SIBLINGS_ENV = ENV.replace(
    "context.configure(connection=connection)",
    "context.configure(connection=connection, transaction_per_migration=True)",
).replace(
    'create_async_engine("{url}")\n',
    'create_async_engine("{url}")\n    engine.dialect.do_commit = engine.dialect.do_rollback\n',
)
# The same where a change of the schema cannot be undone: what was there is made anew.
MADE_ANEW_ENV = ENV.replace(
    "context.configure(connection=connection)",
    """def make_anew(**_):
        connection.rollback()
        for statement in {statements}:
            connection.exec_driver_sql(statement)

    context.configure(connection=connection, on_version_apply=make_anew)""",
)
TOGETHER = 24
"""Revisions in one command: a worker of several runs that part of the corpus that it tests."""
NOT_UNDONE = re.compile(r"autocommit_block|COMMIT|\.engine\.| fails\b")
"""What a rollback does not undo, and what ends the command for those that come after it."""
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

    @property
    def may_be_undone(self) -> bool:
        return not NOT_UNDONE.search(self.path.read_text(encoding="utf-8"))


def cases(folder: Path) -> list[Case]:
    """All but the base; a file without a readable first line is an error."""
    found = []
    for path in sorted(folder.glob("*.py")):
        if path.stem != "base":
            found.append(Case(path.stem, path, expectation(path)))
    assert found, f"no revisions in {folder}"
    return found


def siblings(case: Case, corpus: list[Case]) -> list[str]:
    """Those that are run with it, each on the base; one whose effects stay is run alone (#10)."""
    if not case.may_be_undone:
        return [case.name]
    undone = [one.name for one in corpus if one.may_be_undone]
    first = undone.index(case.name) // TOGETHER * TOGETHER
    return undone[first : first + TOGETHER]


def expectation(path: Path) -> frozenset[tuple[str, str]]:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    match = re.fullmatch(r"# expect: (nothing|[a-z-]+ [a-z-]+(?:, [a-z-]+ [a-z-]+)*)", first)
    assert match, f"{path.name}: {first!r}"
    if match[1] == "nothing":
        return frozenset()
    return frozenset((rule, verdict) for rule, verdict in (p.split() for p in match[1].split(", ")))


class Workplace:
    """A project with the corpus in its versions folder, or `only` these of it and the base:
    Alembic reads all that are there, whichever is to be run (#10)."""

    def __init__(
        self,
        root: Path,
        folder: Path,
        *,
        url: str = "",
        env: str = ENV,
        only: Collection[str] | None = None,
    ) -> None:
        self.root = root
        self.versions = root / "alembic" / "versions"
        self.versions.mkdir(parents=True)
        for path in folder.glob("*.py"):
            if only is not None and path.stem not in {"base", *only}:
                continue
            self.add(path)
        (root / "alembic" / "env.py").write_text(env.replace("{url}", url or URLS[folder.name]))
        (root / "pyproject.toml").write_text('[project]\nname = "corpus"\nversion = "0"\n')
        (root / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
        self.ini = root / "alembic.ini"
        self.ini.write_text("[alembic]\nscript_location = %(here)s/alembic\npath_separator = os\n")
        self.project = read_project(root)

    def add(self, path: Path) -> Path:
        """A copy of that revision."""
        copy = self.versions / path.name
        copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        return copy

    @contextmanager
    def holding(self, path: Path) -> Iterator[None]:
        """With one revision more."""
        copy = self.add(path)
        try:
            yield
        finally:
            copy.unlink()

    def run(self, *arguments: str, url: str, action: str = "trace") -> dict[str, Any]:
        """The worker's report."""
        made = make_url(url)
        kind = kind_of(made.drivername)
        assert kind is not None
        scratch = Scratch(kind, made, "a test's server", nullcontext)  # type: ignore[arg-type]
        extra = {"action": action}
        return run_alembic(self.project, arguments, scratch, ini=self.ini, extra=extra).report


def by_revision(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The report of several revisions, as if each had been run alone."""
    trace = report["trace"]
    assert "error" not in report, report["error"]["message"]
    return {
        one["revision"]: {**report, "trace": {**trace, "revisions": [one]}}
        for one in trace["revisions"]
    }


def reports_with_siblings(
    case: Case, corpus: list[Case], root: Path, *, env: str, url: str
) -> dict[str, dict[str, Any]]:
    """By revision, of all that run with it; `env` finds the base again behind each of several."""
    names = siblings(case, corpus)
    alone = names == [case.name]
    place = Workplace(root, case.path.parent, only=names, env=ENV if alone else env)
    report = place.run("upgrade", "heads", url=url)
    return {case.name: report} if alone else by_revision(report)


@contextmanager
def copy_of(server: Any, template: str, name: str) -> Iterator[str]:
    """A PostgreSQL database made from `template`; its URL."""
    server.create_database(name, template)
    try:
        yield server.url(name)
    finally:
        server.drop_database(name)
