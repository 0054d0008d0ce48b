"""Databases that are filled once a worker and copied for each test; the rows of the examples."""

import asyncio
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, make_url

Make = Callable[..., str]
Fill = Callable[[str], None]


@pytest.fixture(scope="session")
def copy_postgresql(postgres_server: Any) -> Iterator[Callable[[str, Fill], str]]:
    """The name of a database to copy, that nobody is connected to."""
    made: list[str] = []

    def original(name: str, fill: Fill) -> str:
        database = f"asp_original_{name}"
        if database not in made:
            postgres_server.create_database(database)
            made.append(database)
            fill(postgres_server.url(database))
        return database

    yield original
    for database in made:
        postgres_server.drop_database(database)


@pytest.fixture(scope="session")
def copy_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Fill], Path]:
    """The file to copy."""
    folder = tmp_path_factory.mktemp("originals")

    def original(name: str, fill: Fill) -> Path:
        path = folder / f"{name}.db"
        if not path.exists():
            fill(f"sqlite+aiosqlite:///{path}")
        return path

    return original


@pytest.fixture
def filled(request: pytest.FixtureRequest, make_database: Make) -> Callable[[str, str, Fill], str]:
    """Call it with a dialect, a name, and what fills an empty database of that name, given its
    URL: the URL of a database like that. MySQL cannot copy, and is filled each time.
    """

    def make(dialect: str, name: str, fill: Fill) -> str:
        if dialect == "postgresql":
            original = request.getfixturevalue("copy_postgresql")(name, fill)
            return make_database(dialect, template=original)
        url = make_database(dialect)
        if dialect == "sqlite":
            original = request.getfixturevalue("copy_sqlite")(name, fill)
            shutil.copyfile(original, str(make_url(url).database))
        else:
            fill(url)
        return url

    return make


@pytest.fixture
def seeded_url(dialect: str, filled: Callable[[str, str, Fill], str]) -> str:
    """A database of each dialect with the example's tables and its rows, committed."""
    return filled(dialect, "seeded", lambda url: asyncio.run(seed_rows(url)))


async def seed_rows(url: str) -> None:
    # Not at the top: the example's tables would be in the metadata of all tests.
    from base_model import Base
    from session_manager import DatabaseConfig, DatabaseSessionManager
    from user_model import Post, Role, Tag, User, post_tags, seed, user_roles

    tables = [*(model.__table__ for model in (User, Post, Role, Tag)), user_roles, post_tags]
    async with DatabaseSessionManager(DatabaseConfig(url)) as manager:
        async with manager.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all, tables)
        async with manager.begin() as session:
            await seed(session)


async def create_tables(url: str, tables: Sequence[Any]) -> None:
    from base_model import Base
    from session_manager import DatabaseConfig, DatabaseSessionManager

    async with (
        DatabaseSessionManager(DatabaseConfig(url)) as manager,
        manager.engine.begin() as connection,
    ):
        await connection.run_sync(Base.metadata.create_all, tables)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each `asyncio.sleep` was to take."""
    seen: list[float] = []
    sleep = asyncio.sleep

    async def note(delay: float, *result: Any) -> Any:
        seen.append(delay)
        return await sleep(delay, *result)

    monkeypatch.setattr(asyncio, "sleep", note)
    return seen


@contextmanager
def statements(database: Any) -> Iterator[list[str]]:
    """What a manager's engine executes meanwhile, on one line each, without SQLite's BEGIN
    and PRAGMA, which are the template's own.
    """
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA", "COMMIT")):
            seen.append(" ".join(statement.split()))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)
