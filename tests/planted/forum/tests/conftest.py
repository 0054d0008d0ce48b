import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

FOLDER = tempfile.TemporaryDirectory(prefix="forum-")
os.environ.setdefault("DATABASE_URL", f"sqlite+aiosqlite:///{Path(FOLDER.name) / 'forum.db'}")

from app.db import engine  # noqa: E402
from app.main import app, lifespan  # noqa: E402
from app.models import Base  # noqa: E402
from app.seed import seed  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def filled_database():
    """The same for all tests: they make what they change."""

    async def fill() -> None:
        async with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                await connection.execute(text("SET LOCAL client_min_messages = error"))
            await connection.run_sync(Base.metadata.drop_all)
        await seed(engine, "small")
        await engine.dispose()

    asyncio.run(fill())
    yield
    FOLDER.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with lifespan(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://forum") as client:
            yield client
