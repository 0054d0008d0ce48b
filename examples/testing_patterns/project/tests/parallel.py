"""A database for each worker of pytest-xdist: `pytest -n 4` on one TEST_DATABASE_URL.

On a shared one the tests of two workers wait for each other's locks, fail on unique values that
the other has not rolled back, and see what the other commits.

- PostgreSQL: the migrations run once, in a template that is then copied for each worker. The
  role needs CREATEDB.
- MySQL has no templates: each worker migrates an empty database.
- SQLite: a file for each worker, beside the given one.
- No URL: nothing to do here. conftest.py makes a file in a folder that each worker has.

The names begin with the given one and hold the id of the run, so two runs do not meet, and what
is dropped at the end was made here. A run that is killed leaves its databases behind.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from app.db.database_url import normalize_url
from app.db.session_manager import DatabaseConfig, DatabaseSessionManager
from tests.conftest import make_tables


class WorkerDatabases:
    """The databases that this run has made."""

    def __init__(self, given: URL, run_id: str) -> None:
        self.given = given
        self.run_id = run_id[:8]
        self.made: list[URL] = []
        self.template: URL | None = None

    def make(self, worker: str) -> URL:
        """The URL of a new database."""
        url = self.derived(worker)
        if url.get_backend_name() == "postgresql" and self.template is None:
            self.template = self.derived("template")
            self.create(self.template)
            asyncio.run(bring_up(self.template))
        self.create(url, self.template)
        return url

    def derived(self, suffix: str) -> URL:
        name = Path(self.given.database or "")
        return self.given.set(
            database=str(name.with_name(f"{name.stem}_{self.run_id}_{suffix}{name.suffix}"))
        )

    def create(self, url: URL, template: URL | None = None) -> None:
        if url.get_backend_name() != "sqlite":  # which makes its file by itself
            copied = f" TEMPLATE {quoted(template)}" if template else ""
            asyncio.run(execute(self.given, f"CREATE DATABASE {quoted(url)}{copied}"))
        self.made.append(url)

    def drop_all(self) -> None:
        while self.made:
            url = self.made.pop()
            if url.get_backend_name() == "sqlite":
                for end in ("", "-wal", "-shm"):
                    Path(f"{url.database}{end}").unlink(missing_ok=True)
                continue
            # A worker that crashed may still be connected.
            force = " WITH (FORCE)" if url.get_backend_name() == "postgresql" else ""
            asyncio.run(execute(self.given, f"DROP DATABASE {quoted(url)}{force}"))


def quoted(url: URL) -> str:
    return url.get_dialect()().identifier_preparer.quote(url.database or "")


async def bring_up(url: URL) -> None:
    manager = DatabaseSessionManager(DatabaseConfig(url))
    async with manager, manager.engine.connect() as connection:
        await connection.run_sync(make_tables)
        await connection.commit()


async def execute(url: URL, statement: str) -> None:
    manager = DatabaseSessionManager(DatabaseConfig(url))
    async with manager, manager.engine.connect() as connection:
        # PostgreSQL creates no database within a transaction.
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql(statement)


DATABASES = pytest.StashKey[WorkerDatabases]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401 - xdist has no public type for it
    """In the process that distributes the tests, before a worker starts."""
    given = os.environ.get("TEST_DATABASE_URL") or os.environ.get("DATABASE_URL")
    if not given:
        return
    url = normalize_url(given)[0]
    name = Path(url.database or "").name
    if "test" not in name.lower():  # as conftest.py, whose word a worker cannot pass on
        raise pytest.UsageError(f"The tests refuse the database {name!r}: see tests/conftest.py")
    databases = node.config.stash.setdefault(
        DATABASES, WorkerDatabases(url, node.workerinput["testrunuid"])
    )
    worker_url = databases.make(node.workerinput["workerid"])
    node.workerinput["database_url"] = worker_url.render_as_string(hide_password=False)


def pytest_configure(config: pytest.Config) -> None:
    """In a worker: conftest.py finds the worker's own database."""
    workerinput = getattr(config, "workerinput", {})
    if "database_url" in workerinput:
        os.environ["TEST_DATABASE_URL"] = workerinput["database_url"]


def pytest_unconfigure(config: pytest.Config) -> None:
    """At the end, when the workers are gone; also after Ctrl-C."""
    databases = config.stash.get(DATABASES, None)
    if databases is not None:
        databases.drop_all()
