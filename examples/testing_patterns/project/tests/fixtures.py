"""Fixtures of this application, on those of conftest.py."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.base_model import Base
from app.db.session_manager import DatabaseSessionManager
from app.main import app
from app.outside import Mailer, current_time, get_mailer

Save = Callable[..., Awaitable[None]]


@pytest.fixture
def save(session: AsyncSession) -> Save:
    """Store rows where the application sees them: `await save(a_team(), a_team())`."""

    async def save(*rows: Base) -> None:
        session.add_all(rows)
        # Not only flush(): the savepoint of this session has to end before the application
        # begins its own, or a rollback here would take the application's work along.
        await session.commit()

    return save


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def forward(self, step: timedelta) -> None:
        self.time += step


@pytest.fixture
def clock() -> Iterator[Clock]:
    """The application's clock. Not the one of created_at and updated_at."""
    clock = Clock()
    app.dependency_overrides[current_time] = clock
    yield clock
    del app.dependency_overrides[current_time]


class Outbox(Mailer):
    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    async def send(self, to: str, text: str) -> None:
        self.sent.append((to, text))


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    """The mails that the application sends. Without this fixture sending fails."""
    outbox = Outbox()
    app.dependency_overrides[get_mailer] = lambda: outbox
    yield outbox
    del app.dependency_overrides[get_mailer]


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def nothing_left(database: DatabaseSessionManager) -> AsyncIterator[None]:
    """Fail the test that leaves rows behind, and not the one that stumbles over them.

    Set up first, because it is autouse, and therefore torn down last. One statement a test.
    """
    yield
    has_rows = [exists(select(table)).label(table.name) for table in Base.metadata.sorted_tables]
    async with database.engine.connect() as connection:
        found = (await connection.execute(select(*has_rows))).mappings().one()
    left = [name for name, rows in found.items() if rows]
    if left:
        await delete_all(database)
        pytest.fail(f"this test left rows in {', '.join(left)}")


@pytest_asyncio.fixture(loop_scope="session")
async def committed(database: DatabaseSessionManager) -> AsyncIterator[None]:
    """For a test with several connections: it really commits, and all rows are deleted after."""
    yield
    await delete_all(database)


async def delete_all(database: DatabaseSessionManager) -> None:
    async with database.begin() as session:
        for table in reversed(Base.metadata.sorted_tables):  # children first
            await session.execute(table.delete())
