"""An application that people use while its database has a fault, and what they see of it.

Who reads and who writes goes on through the fault. What an answer may be, that none is waited for
without an end, and what has to be there afterwards, is asserted here once for all faults.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx
from fastapi import FastAPI
from sqlalchemy import Column, Integer, MetaData, String, Table, func, make_url, select

from errors import STATUS, install_error_handlers
from session_manager import DatabaseConfig, DatabaseSessionManager, DbSession, ReadOnlyDbSession

METADATA = MetaData()
ITEM = Table(
    "items", METADATA, Column("id", Integer, primary_key=True), Column("pad", String(1000))
)
PAD = "x" * 1000  # so that a disk is soon full
NAME = "faults"
AT_ONCE = 12
# A hang is what is not over after a minute. Configured is a second for each of the waits.
HANG = 60
SETTINGS: dict[str, Any] = {
    "application_name": NAME,
    "pool_size": 3,
    "max_overflow": 2,
    "pool_timeout": 1,
    "connect_timeout": 1,
    "statement_timeout": 1,
    "lock_timeout": 1,
}


class Server(Protocol):
    """A PostgresServer or a MySQLServer."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    def execute(self, statement: str, database: str | None = None) -> Any: ...


def make_app() -> FastAPI:
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/items")
    async def count(session: ReadOnlyDbSession) -> int:
        return await session.scalar(select(func.count()).select_from(ITEM)) or 0

    @app.post("/items/{item_id}", status_code=201)
    async def create(item_id: int, session: DbSession) -> int:
        await session.execute(ITEM.insert().values(id=item_id, pad=PAD))
        return item_id

    return app


@dataclass
class Load:
    """The users of an application."""

    client: httpx.AsyncClient
    manager: DatabaseSessionManager
    server: Server
    answers: Counter[int] = field(default_factory=Counter)
    acknowledged: set[int] = field(default_factory=set)
    asked: int = 0
    stopping: bool = False

    async def request(self) -> int:
        """One request, every other one a write; its status."""
        self.asked += 1
        number = self.asked
        async with asyncio.timeout(HANG):
            if number % 2:
                answer = await self.client.post(f"/items/{number}")
            else:
                answer = await self.client.get("/items")
        status = answer.status_code
        assert status in (200, 201, 503), f"{status}: {answer.text}"
        assert status != 503 or answer.headers["retry-after"] == "1"
        if status == 201:
            self.acknowledged.add(number)
        self.answers[status] += 1
        return status

    async def user(self) -> None:
        while not self.stopping:
            await self.request()
            await asyncio.sleep(0.005)  # they are people, and the machine is not theirs alone

    async def see(self, number: int, *statuses: int) -> None:
        """Go on until there were as many answers of these kinds more; of any, if none is named."""
        before = self.count(*statuses)
        async with asyncio.timeout(HANG):
            while self.count(*statuses) < before + number:
                await asyncio.sleep(0.005)
                for user in self.users:
                    if user.done():
                        user.result()

    def count(self, *statuses: int) -> int:
        return sum(self.answers[one] for one in statuses or self.answers)

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Users at work in the block. After it all is well again, by itself, and stays so."""
        self.users = [asyncio.create_task(self.user()) for _ in range(AT_ONCE)]
        try:
            await self.see(20, 200, 201)
            yield
            await self.see(20, 200)
            await self.see(20, 201)
        finally:
            self.stopping = True
            await asyncio.gather(*self.users)
        await self.be_well()
        await self.nothing_is_left()

    async def be_well(self) -> None:
        """Until twenty in a row are answered: one alone may be late on a machine that is busy."""
        async with asyncio.timeout(HANG):
            in_a_row = 0
            while in_a_row < 20:
                in_a_row = 0 if await self.request() == 503 else in_a_row + 1

    @property
    def most(self) -> int:
        return int(self.manager.config.pool_capacity)

    async def nothing_is_left(self) -> None:
        """No place of the pool, no transaction on the server, no row that was acknowledged."""
        assert self.manager.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        async with asyncio.timeout(HANG):
            # One that was given up is on the server until its end has come through (#10).
            while not all(there := await self.connections()) or len(there) > self.most:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        async with self.manager.read_only_session() as session:
            kept = set(await session.scalars(select(ITEM.c.id)))
        assert self.acknowledged <= kept, "an acknowledged row is lost"

    async def connections(self) -> list[bool]:
        """Of each connection on the server: does it rest, without a transaction?"""
        url = make_url(self.manager.config.url)
        database = url.database
        if url.get_backend_name() == "postgresql":
            statement = (
                "SELECT state = 'idle' FROM pg_stat_activity "
                f"WHERE datname = '{database}' AND application_name = '{NAME}'"
            )
        else:
            statement = (
                "SELECT command = 'Sleep' AND trx_id IS NULL FROM information_schema.processlist p "
                "LEFT JOIN information_schema.innodb_trx t ON t.trx_mysql_thread_id = p.id "
                f"WHERE db = '{database}'"
            )
        return [bool(row[0]) for row in await asyncio.to_thread(self.server.execute, statement)]


@asynccontextmanager
async def application(
    server: Server, url: str, port: int | None = None, *, create: bool = True, **settings: Any
) -> AsyncIterator[Load]:
    """The application on a database, by way of another `port` if need be."""
    through = make_url(url).set(port=port) if port else make_url(url)
    app = make_app()
    if create:
        await create_table(url)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    config = DatabaseConfig(through, **{**SETTINGS, **settings})
    async with (
        DatabaseSessionManager(config) as app.state.database,
        httpx.AsyncClient(transport=transport, base_url="http://test", timeout=HANG) as client,
    ):
        load = Load(client, app.state.database, server)
        yield load
    async with asyncio.timeout(HANG):
        while await load.connections():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def create_table(url: str) -> None:
    async with (
        DatabaseSessionManager(DatabaseConfig(url)) as manager,
        manager.engine.begin() as connection,
    ):
        await connection.run_sync(METADATA.create_all)


assert STATUS["unavailable"] == STATUS["read_only"] == 503  # what the users take for "later"
