"""Requests that are cancelled, and clients that go, at random moments, on three drivers (#17).

Some hundred in the suite, by a seed; `make cancellations` has 5,000 on each.

Each request has a key, which it sends to the database and back, and saves twice: an answer that
belongs to somebody else, half a transaction, and a connection that somebody left dirty would show.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from fastapi import BackgroundTasks, FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from sqlalchemy import Column, Integer, MetaData, String, Table, event, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from concurrency_patterns import IdempotencyKey, once
from servers.mysql import MySQLServer
from servers.postgres import PostgresServer
from session_manager import (
    Database,
    DatabaseConfig,
    DatabaseSessionManager,
    DbSession,
    ReadOnlyDbSession,
)

pytestmark = [
    pytest.mark.faults,
    pytest.mark.older_sqlalchemy_on("postgresql"),
    pytest.mark.sweep(every=2),
]

NUMBER = int(os.environ.get("CANCELLATIONS", "240"))
AT_ONCE = 8
HANG = 60
METADATA = MetaData()
SAVED = Table(
    "saved",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(40), index=True),
)
KINDS = ("read", "write", "own", "stream", "background", "websocket")


def make_app() -> FastAPI:
    app = FastAPI()

    @app.get("/read/{name}")
    async def read(name: str, session: ReadOnlyDbSession) -> str:
        return await echo(session, name)

    @app.get("/write/{name}")
    async def write(name: str, session: DbSession) -> str:
        return await save_twice(session, name)

    @app.get("/own/{name}")
    async def own(name: str, database: Database) -> str:
        async with database.begin() as session:
            return await save_twice(session, name)

    @app.get("/stream/{name}")
    async def stream(name: str, database: Database) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            async with database.session() as session:
                yield await save_twice(session, name)
                async for row in await session.stream(select(literal(name)).select_from(SAVED)):
                    yield f"\n{row[0]}"
                await session.commit()

        return StreamingResponse(lines())

    @app.get("/background/{name}")
    async def background(
        name: str, session: DbSession, database: Database, tasks: BackgroundTasks
    ) -> str:
        async def later() -> None:
            async with database.begin() as own_session:
                await save_twice(own_session, f"{name}-later")

        tasks.add_task(later)
        return await save_twice(session, name)

    @app.websocket("/websocket/{name}")
    async def websocket(name: str, socket: WebSocket, database: Database) -> None:
        await socket.accept()
        with suppress(WebSocketDisconnect):
            while True:
                async with database.begin() as session:
                    said = await save_twice(session, f"{name}-{await socket.receive_text()}")
                await socket.send_text(said)

    return app


async def echo(session: AsyncSession, name: str) -> str:
    return str(await session.scalar(select(literal(name))))


async def save_twice(session: AsyncSession, name: str) -> str:
    await session.execute(SAVED.insert().values(name=name))
    said = await echo(session, name)
    await session.execute(SAVED.insert().values(name=name))
    return said


class Client:
    """One request, or one websocket, over ASGI; it may be cancelled, or go away."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        self.gone = asyncio.Event()
        self.received = self.sent = 0
        self.status = 0
        self.body = b""
        self.complete = False

    async def receive(self) -> dict[str, Any]:
        self.received += 1
        if self.kind == "websocket":
            if self.received == 1:
                return {"type": "websocket.connect"}
            if self.gone.is_set():
                return {"type": "websocket.disconnect", "code": 1001}
            return {"type": "websocket.receive", "text": str(self.received)}
        if self.received == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if self.kind == "websocket":
            if message["type"] == "websocket.send":
                self.sent += 1
                expected = f"{self.name}-{self.sent + 1}"
                assert message["text"] == expected, f"{message['text']} is not {expected}"
            return
        if self.gone.is_set():
            return  # as uvicorn does
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")
            self.complete = not message.get("more_body")

    async def call(self, app: FastAPI) -> None:
        scope: dict[str, Any] = {
            "type": "websocket" if self.kind == "websocket" else "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": "GET",
            "path": f"/{self.kind}/{self.name}",
            "headers": [],
            "query_string": b"",
        }
        await app(scope, self.receive, self.send)  # type: ignore[arg-type]


async def meddle(app: FastAPI, own: random.Random, number: int, ends: Counter[str]) -> Client:
    """One client, most of whose requests end early; nothing of it is left then."""
    client = Client(own.choice(KINDS), f"{number:06}")
    task = asyncio.create_task(client.call(app))
    # The later of two moments: they crowd where a request takes place, and reach beyond it.
    await asyncio.sleep(max(own.uniform(0, 0.03), own.uniform(0, 0.03)))
    what = own.random()
    if what < 0.5:
        task.cancel()
        if own.random() < 0.2:
            await asyncio.sleep(0)
            task.cancel()  # a second one, while the first is still being dealt with
    elif what < 0.85 or client.kind == "websocket":
        client.gone.set()
    try:
        async with asyncio.timeout(HANG):
            await task
    except asyncio.CancelledError:
        ends["cancelled"] += 1
    else:
        ends["complete" if client.complete else "gone"] += 1
    return client


def check_answers(clients: list[Client], counts: dict[str, int]) -> None:
    for client in clients:
        assert client.status in (0, 200), (client.kind, client.status, client.body)
        if client.complete:
            told = set(client.body.decode().replace('"', "").split("\n"))
            assert told == {client.name}, f"{client.name} was told {told}"
            # A stream commits after its last row, before its end; a reader saves nothing.
            assert client.kind == "read" or counts.get(client.name) == 2, client.kind


@pytest.fixture
def connections(dialect: str, request: pytest.FixtureRequest) -> Callable[[str], list[bool]]:
    """Of each connection to a database on the server: does it rest, without a transaction?"""
    if dialect == "sqlite":
        return lambda _name: []
    server: PostgresServer | MySQLServer
    if dialect == "postgresql":
        server = request.getfixturevalue("postgres_server")
        statement = "SELECT state = 'idle' FROM pg_stat_activity WHERE datname = '{}'"
    else:
        server = request.getfixturevalue("mysql_server")
        statement = (
            "SELECT command = 'Sleep' AND trx_id IS NULL FROM information_schema.processlist p "
            "LEFT JOIN information_schema.innodb_trx t ON t.trx_mysql_thread_id = p.id "
            "WHERE db = '{}'"
        )
    return lambda name: [bool(row[0]) for row in server.execute(statement.format(name))]


async def test_random_cancellations_and_clients_that_go(
    database_url: str,
    dialect: str,
    connections: Callable[[str], list[bool]],
    show_at_the_end: Callable[[str], None],
) -> None:
    app, own, ends = make_app(), random.Random(17), Counter[str]()
    settings: dict[str, Any] = {"pool_size": 4, "max_overflow": 0, "pool_timeout": HANG}
    config = DatabaseConfig(database_url, lock_timeout=HANG, **settings)
    async with DatabaseSessionManager(config) as database:
        app.state.database = database
        async with database.engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
        clients: list[Client] = []
        for first in range(0, NUMBER, AT_ONCE):
            numbers = range(first, first + AT_ONCE)
            clients += await asyncio.gather(*(meddle(app, own, n, ends) for n in numbers))
            # A stream that was between two rows is closed by the event loop, a moment later.
            async with asyncio.timeout(HANG):
                while database.engine.pool.checkedout():  # type: ignore[attr-defined]  # noqa: ASYNC110
                    await asyncio.sleep(0)
        async with database.read_only_session() as session:
            grouped = select(SAVED.c.name, func.count()).group_by(SAVED.c.name)
            counts = {name: number for name, number in await session.execute(grouped)}
        assert set(counts.values()) == {2}, "half a transaction"
        check_answers(clients, counts)
        # All of them work, and nobody finds what another one left.
        for number in range(20):
            client = Client("write", f"after-{number}")
            await client.call(app)
            assert client.complete and client.body == f'"after-{number}"'.encode()
        name = database.engine.url.database or ""
        async with asyncio.timeout(HANG):
            while not all(connections(name)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert len(connections(name)) <= config.pool_capacity
    async with asyncio.timeout(HANG):
        while connections(name):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert ends["cancelled"] > NUMBER / 10 and ends["gone"] and ends["complete"], ends
    kinds = Counter(client.kind for client in clients)
    show_at_the_end(f"{dialect}: {len(clients)} requests: {dict(ends)}; {dict(kinds)}")


async def test_cancelled_inside_commit_and_asked_again_by_key(database_url: str) -> None:
    """Whether it was saved nobody knows; with the key it is applied exactly once."""
    saved: dict[bool, int] = Counter()
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
            await connection.run_sync(IdempotencyKey.__table__.create)
        loop = asyncio.get_running_loop()
        victim: asyncio.Task[Any] | None = None
        steps = 0

        def cancel_after(more: int) -> None:
            if more:
                loop.call_soon(cancel_after, more - 1)
            elif victim is not None:
                victim.cancel()

        @event.listens_for(database.engine.sync_engine, "commit")
        def commit(_connection: object) -> None:
            if victim is not None:
                cancel_after(steps)

        for number in range(40):
            name, steps = f"key-{number}", number % 8

            async def work(session: AsyncSession, name: str = name) -> dict[str, str]:
                await session.execute(SAVED.insert().values(name=name))
                return {"name": name}

            async def ask(name: str = name, work: Any = work) -> Any:
                return await once(database, "somebody", name, {"name": name}, work)

            victim = asyncio.create_task(ask())
            done = await asyncio.gather(victim, return_exceptions=True)
            victim = None
            again = await ask()
            assert again.value == {"name": name}
            if isinstance(done[0], asyncio.CancelledError):
                saved[again.replayed] += 1
        async with database.read_only_session() as session:
            names = list(await session.scalars(select(SAVED.c.name)))
        assert sorted(names) == sorted({f"key-{number}" for number in range(40)})
        assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert sum(saved.values()) >= 5, saved
