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


@pytest.fixture(scope="session")
def copy_mysql(mysql_server: Any) -> Iterator[Callable[[str, Fill], list[str]]]:
    """The statements that make a copy, in an empty database: there is no other way (#10)."""
    made: dict[str, list[str]] = {}

    def original(name: str, fill: Fill) -> list[str]:
        database = f"asp_original_{name}"
        if database not in made:
            mysql_server.create_database(database)
            made[database] = []
            fill(mysql_server.url(database))
            made[database] = copying(mysql_server, database)
        return made[database]

    yield original
    for database in made:
        mysql_server.drop_database(database)


def copying(server: Any, database: str) -> list[str]:
    """Tables with their rows, and triggers; anything else is an error."""
    found = dict(server.execute("SHOW FULL TABLES", database))
    assert set(found.values()) <= {"BASE TABLE"}, found
    statements = ["SET foreign_key_checks = 0"]
    for table in found:
        columns = ", ".join(
            f"`{column[0]}`"
            for column in server.execute(f"SHOW COLUMNS FROM `{table}`", database)
            if "GENERATED" not in column[5]
        )
        statements += [
            server.execute(f"SHOW CREATE TABLE `{table}`", database)[0][1],
            f"INSERT INTO `{table}` ({columns}) SELECT {columns} FROM `{database}`.`{table}`",
        ]
    triggers = [row[0] for row in server.execute("SHOW TRIGGERS", database)]
    # Behind the rows, which they would change.
    return statements + [
        server.execute(f"SHOW CREATE TRIGGER `{name}`", database)[0][2] for name in triggers
    ]


@pytest.fixture
def filled(request: pytest.FixtureRequest, make_database: Make) -> Callable[[str, str, Fill], str]:
    """Call it with a dialect, a name, and what fills an empty database of that name, given its
    URL: the URL of a database like that.
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
            statements = request.getfixturevalue("copy_mysql")(name, fill)
            server = request.getfixturevalue("mysql_server")
            server.execute_all(statements, str(make_url(url).database))
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
