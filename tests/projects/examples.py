"""The tables and rows of `examples/user_model.py`: made once a worker, copied for each test."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, make_url

Make = Callable[[str], str]


@pytest.fixture(scope="session")
def seeded_postgresql(postgres_server: Any) -> Iterator[str]:
    """The name of a database to copy; nobody is connected to it."""
    postgres_server.create_database("asp_seeded")
    asyncio.run(fill(postgres_server.url("asp_seeded")))
    yield "asp_seeded"
    postgres_server.drop_database("asp_seeded")


@pytest.fixture(scope="session")
def seeded_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seeded") / "seeded.db"
    asyncio.run(fill(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture
def seeded_url(dialect: str, make_database: Make, request: pytest.FixtureRequest) -> str:
    """A database of each dialect with the example's tables and its rows, committed."""
    if dialect == "postgresql":
        template = request.getfixturevalue("seeded_postgresql")
        return make_database(dialect, template=template)  # type: ignore[call-arg]
    url = make_database(dialect)
    if dialect == "sqlite":
        shutil.copyfile(request.getfixturevalue("seeded_sqlite"), str(make_url(url).database))
    else:
        asyncio.run(fill(url))
    return url


async def fill(url: str) -> None:
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
