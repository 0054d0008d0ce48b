"""Fixtures for the tests of your application. Copy to tests/conftest.py, change the imports below.

```python
import httpx
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.models import User


async def test_create_user(client: httpx.AsyncClient, session: AsyncSession) -> None:
    answer = await client.post("/users", json={"email": "a@example.com"})
    assert answer.status_code == 201
    assert await session.scalar(select(func.count()).select_from(User)) == 1
```

Every test runs in one transaction that is rolled back at its end; the commits of the application
become savepoints of it. The requests of a test therefore run one after the other. For a test that
needs several connections, such as one of locks, use `database` without `client` and `session`,
and clean up after it.

The database is TEST_DATABASE_URL, else DATABASE_URL, else a new SQLite file. One whose name does
not have "test" as a word is refused: app_test, test-2, pytest.db and testdb have it, contest and
latest do not. It is brought up by its migrations when there is an alembic.ini, else by
`create_all`; nothing is ever dropped.

Needs pytest-asyncio >= 1.0 and httpx, and in pyproject.toml:

```toml
[tool.pytest.ini_options]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "session"
pythonpath = ["."]
```
"""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import URL, Connection, make_url
from sqlalchemy.ext.asyncio import AsyncSession

# isort: split
# What to change: your declarative base, your copy of session_manager.py, your application.
from app.db.base_model import Base  # type: ignore[import-not-found, unused-ignore]
from app.db.database_url import normalize_url  # type: ignore[import-not-found, unused-ignore]
from app.db.session_manager import DatabaseConfig, DatabaseSessionManager  # type: ignore[import-not-found, unused-ignore]
from app.main import app  # type: ignore[import-not-found, unused-ignore]

ALEMBIC_INI = Path(__file__).parents[1] / "alembic.ini"
# A word of its own: no letter before or behind it.
FOR_TESTS = re.compile(r"(?i)(?<![^\W\d_])(?:py|unit)?test(?:s|ing|db)?(?![^\W\d_])")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests in the event loop that the engine belongs to."""
    for item in items:
        if pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    given = os.environ.get("TEST_DATABASE_URL") or os.environ.get("DATABASE_URL")
    if not given:
        return f"sqlite:///{tmp_path_factory.mktemp('database') / 'test.db'}"
    for name in database_names(make_url(normalize_url(given)[0])):
        if not FOR_TESTS.search(name):
            pytest.exit(
                f"The tests refuse the database {name!r}: its name does not have 'test' as a word "
                "(app_test, not contest). Set TEST_DATABASE_URL.",
                returncode=4,
            )
    return given


def database_names(url: URL) -> list[str]:
    """The name, and those among the parameters, which a driver would prefer."""
    query = url.normalized_query
    other = [name for key in ("database", "dbname", "db") for name in query.get(key, ())]
    return [Path(url.database or "").name, *other]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database(database_url: str) -> AsyncIterator[DatabaseSessionManager]:
    """The open manager, with all tables; for the whole run."""
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as manager:
        async with manager.engine.connect() as connection:
            await connection.run_sync(make_tables)
            await connection.commit()
        yield manager


def make_tables(connection: Connection) -> None:
    if not ALEMBIC_INI.exists():
        Base.metadata.create_all(connection)
        return
    from alembic.command import upgrade  # only where there are migrations
    from alembic.config import Config

    config = Config(ALEMBIC_INI)
    config.attributes["connection"] = connection
    upgrade(config, "head")


@pytest_asyncio.fixture(loop_scope="session")
async def rolled_back(database: DatabaseSessionManager) -> AsyncIterator[None]:
    """The transaction that all sessions of a test join."""
    async with database.rolled_back():
        yield


@pytest_asyncio.fixture(loop_scope="session")
async def session(
    database: DatabaseSessionManager, rolled_back: None
) -> AsyncIterator[AsyncSession]:
    """A session for the test itself: it sees what the application committed, and the reverse
    once it has committed."""
    async with database.session() as session:
        yield session


@pytest_asyncio.fixture(loop_scope="session")
async def client(
    database: DatabaseSessionManager, rolled_back: None
) -> AsyncIterator[httpx.AsyncClient]:
    """The application without a server. Its lifespan does not run.

    An error of the application is a 500, as for its users, and not an exception here.
    """
    app.state.database = database
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
    del app.state.database
