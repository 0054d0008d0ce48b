"""The FastAPI side, over real HTTP: uvicorn on a free port, and a client."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated

import httpx
import pytest
import uvicorn
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
from fastapi.exceptions import DependencyScopeError
from fastapi.requests import HTTPConnection
from fastapi.responses import StreamingResponse
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, func, select, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase

from replicas import Replicas, get_replica_session
from session_manager import (
    Database,
    DatabaseConfig,
    DatabaseSessionManager,
    DbSession,
    ReadOnlyDbSession,
    ReadOnlySessionError,
    get_database,
    get_db,
    get_read_only_connection,
    get_read_only_db,
    lifespan,
)

METADATA = MetaData()
ITEM = Table("item", METADATA, Column("id", Integer, primary_key=True))
LATE = Table(  # checked at COMMIT only
    "late",
    METADATA,
    Column("item_id", ForeignKey("item.id", deferrable=True, initially="DEFERRED")),
)


async def old_get_db(database: Database) -> AsyncIterator[AsyncSession]:
    """The control: the same session, in FastAPI's default scope."""
    async with database.begin() as session:
        yield session


def make_app() -> FastAPI:
    app = FastAPI(lifespan=lifespan)

    @app.post("/items/{item_id}", status_code=201)
    async def create(item_id: int, session: DbSession) -> dict[str, int]:
        await session.execute(ITEM.insert().values(id=item_id))
        return {"id": item_id}

    @app.post("/refused/{item_id}")
    async def refused(item_id: int, session: DbSession) -> None:
        await session.execute(ITEM.insert().values(id=item_id))
        raise HTTPException(409, "no")

    @app.post("/late/{item_id}", status_code=201)
    async def late(item_id: int, session: DbSession) -> dict[str, int]:
        await session.execute(LATE.insert().values(item_id=item_id))
        return {"id": item_id}

    @app.post("/late-by-default/{item_id}", status_code=201)
    async def late_by_default(
        item_id: int, session: Annotated[AsyncSession, Depends(old_get_db)]
    ) -> dict[str, int]:
        await session.execute(LATE.insert().values(item_id=item_id))
        return {"id": item_id}

    @app.get("/count")
    async def count(session: ReadOnlyDbSession) -> int:
        return await session.scalar(select(func.count()).select_from(ITEM)) or 0

    @app.get("/slow")
    async def slow(session: DbSession) -> int:
        await session.execute(select(ITEM))
        await asyncio.sleep(0.2)
        return 1

    @app.get("/slow-read")
    async def slow_read(session: ReadOnlyDbSession) -> int:
        await session.execute(select(ITEM))
        await asyncio.sleep(0.2)
        return 1

    @app.post("/read-only-writes")
    async def read_only_writes(session: ReadOnlyDbSession) -> None:
        await session.execute(ITEM.insert().values(id=1))

    @app.get("/stream")
    async def stream(database: Database) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            async with database.read_only_session() as session:
                for item_id in await session.scalars(select(ITEM.c.id).order_by(ITEM.c.id)):
                    yield f"{item_id}\n"

        return StreamingResponse(lines())

    @app.get("/stream-wrong")
    async def stream_wrong(session: DbSession) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            try:
                await session.scalars(select(ITEM.c.id))
            except InvalidRequestError as error:
                yield str(error)

        return StreamingResponse(lines())

    @app.post("/background/{item_id}", status_code=202)
    async def background(
        item_id: int, session: DbSession, database: Database, tasks: BackgroundTasks
    ) -> None:
        await session.execute(ITEM.insert().values(id=item_id))

        async def copy() -> None:
            async with database.begin() as own:
                seen = await own.scalar(select(ITEM.c.id).where(ITEM.c.id == item_id))
                await own.execute(ITEM.insert().values(id=(seen or 0) + 1000))

        tasks.add_task(copy)

    @app.get("/in-use")
    async def in_use(database: Database) -> int:
        return database.engine.pool.checkedout()  # type: ignore[attr-defined,no-any-return]

    return app


@contextlib.asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """The app behind a real socket; the socket is bound first, so no port is guessed."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            assert not running.done(), running.exception()
            await asyncio.sleep(0.01)
        host, port = listening.getsockname()
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(
            base_url=f"http://{host}:{port}", timeout=60, limits=limits
        ) as client:
            try:
                yield client
            finally:
                server.should_exit = True
        await running


@contextlib.asynccontextmanager
async def application(url: str, **settings: float) -> AsyncIterator[httpx.AsyncClient]:
    config = DatabaseConfig(url, **settings)  # type: ignore[arg-type]
    async with DatabaseSessionManager(config) as manager, manager.engine.begin() as connection:
        tables = [ITEM] if "mysql" in url else [ITEM, LATE]
        await connection.run_sync(METADATA.create_all, tables=tables)
    app = make_app()
    app.state.database = DatabaseSessionManager(config)
    async with served(app) as client:
        yield client
        assert (await client.get("/in-use")).json() == 0


async def test_request_commits_or_rolls_back(database_url: str):
    async with application(database_url) as client:
        assert (await client.post("/items/1")).status_code == 201
        assert (await client.get("/count")).json() == 1
        assert (await client.post("/refused/2")).status_code == 409
        assert (await client.post("/items/1")).status_code == 500
        assert (await client.get("/count")).json() == 1


@pytest.mark.dialects("postgresql", "sqlite")
async def test_seed_01_failed_commit_reaches_the_client(database_url: str):
    async with application(database_url) as client:
        assert (await client.post("/late/99")).status_code == 500
        # The control: in FastAPI's default scope the client is told of success.
        control = await client.post("/late-by-default/99", headers={"connection": "close"})
        assert control.status_code == 201
        await client.post("/items/99")
        assert (await client.post("/late/99")).status_code == 201


async def test_scope_that_commits_too_late_is_refused():
    app = FastAPI()
    with pytest.raises(DependencyScopeError, match="get_db"):

        @app.get("/")
        async def root(session: Annotated[AsyncSession, Depends(get_db)]) -> None: ...


async def test_seed_02_what_was_answered_can_be_read(database_url: str):
    async with application(database_url) as client:
        for number in range(1, 11):
            assert (await client.post(f"/items/{number}")).status_code == 201
            assert (await client.get("/count")).json() == number


async def test_more_requests_than_connections_wait_in_order(database_url: str):
    """60 on a pool of 5, which with SQLAlchemy's own pool overtake each other (#14)."""
    async with application(
        database_url, pool_size=5, max_overflow=0, lock_timeout=60, pool_timeout=60
    ) as client:
        paths = ["/slow-read"] * 30 + (["/slow"] * 30 if "sqlite" not in database_url else [])
        answers = await asyncio.gather(*(client.get(path) for path in paths))
        assert {answer.status_code for answer in answers} == {200}


async def test_who_waits_for_another_service_keeps_nobody_out(database_url: str):
    """The place is the connection's: after a commit it is free (#14). Also that of a websocket."""
    released = asyncio.Event()
    app = make_app()

    @app.get("/answer")
    async def answer(session: DbSession) -> None:
        await session.execute(select(ITEM))
        await session.commit()
        await released.wait()

    @app.websocket("/live")
    async def live(socket: WebSocket, session: DbSession) -> None:
        await socket.accept()
        await session.execute(select(ITEM))
        await session.commit()
        await released.wait()

    config = DatabaseConfig(database_url, pool_size=1, max_overflow=0)
    app.state.database = DatabaseSessionManager(config)
    async with app.state.database as manager, manager.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all, tables=[ITEM])
    async with served(app) as client:
        waiting = [asyncio.create_task(client.get("/answer")) for _ in range(10)]
        sent: asyncio.Queue[object] = asyncio.Queue()

        async def receive() -> dict[str, str]:
            return {"type": "websocket.connect"}

        scope = {"type": "websocket", "path": "/live", "headers": [], "query_string": b""}
        live_task = asyncio.create_task(app(scope, receive, sent.put))
        assert (await sent.get())["type"] == "websocket.accept"  # type: ignore[index]
        assert (await client.get("/count")).status_code == 200
        assert not any(task.done() for task in (*waiting, live_task))
        released.set()
        await asyncio.gather(*waiting, live_task)


async def test_read_only_session_refuses_a_write(database_url: str):
    async with application(database_url) as client:
        assert (await client.post("/read-only-writes")).status_code == 500
        assert (await client.get("/count")).json() == 0


class Base(DeclarativeBase):
    metadata = METADATA


class Item(Base):
    __table__ = ITEM


@pytest.mark.parametrize("dependency", [get_read_only_db, get_replica_session])
@pytest.mark.parametrize("change", ["new", "dirty", "deleted"])
async def test_objects_that_a_session_for_reading_would_lose_are_an_error(
    dependency: Callable[[HTTPConnection], AsyncIterator[AsyncSession]], change: str
):
    """An endpoint that has added or changed one believes that it is saved."""
    app = FastAPI()
    manager = DatabaseSessionManager(DatabaseConfig("sqlite://"))
    async with Replicas(manager, []) as app.state.replicas:
        app.state.database = manager
        async with manager.begin() as session:
            await (await session.connection()).run_sync(ITEM.create)
            session.add(Item(id=1))
        asked = dependency(HTTPConnection({"type": "http", "app": app, "headers": []}))
        session = await anext(asked)
        item = await session.get_one(Item, 1)
        match change:
            case "new":
                session.add(Item(id=2))
            case "dirty":
                item.id = 3
            case _:
                await session.delete(item)
        with pytest.raises(ReadOnlySessionError):
            await anext(asked)


async def test_connections_that_are_lent_come_back():
    """That of a request that only reads, and the driver's own."""
    app = FastAPI()
    async with DatabaseSessionManager(DatabaseConfig("sqlite://")) as manager:
        app.state.database = manager
        asked = get_read_only_connection(
            HTTPConnection({"type": "http", "app": app, "headers": []})
        )
        lent = await anext(asked)
        assert await lent.scalar(text("SELECT 1")) == 1
        with pytest.raises(ReadOnlySessionError):
            await lent.execute(ITEM.insert().values(id=1))
        with pytest.raises(StopAsyncIteration):
            await anext(asked)
        assert manager.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        async with manager.driver_connection() as own:
            assert manager.engine.pool.checkedout() == 1  # type: ignore[attr-defined]
            assert await (await own.execute("SELECT 1")).fetchone() == (1,)
        assert manager.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_seed_03_streams_and_background_tasks_have_their_own_session(database_url: str):
    async with application(database_url) as client:
        for number in (1, 2, 3):
            await client.post(f"/items/{number}")
        for _ in range(11):
            assert (await client.get("/stream")).text == "1\n2\n3\n"
            wrong = (await client.get("/stream-wrong")).text
            assert "permanently closed" in wrong
        assert (await client.post("/background/10")).status_code == 202
        count = 0
        for _ in range(1200):  # the task runs after the answer
            count = (await client.get("/count")).json()
            if count >= 5:
                break
            await asyncio.sleep(0.05)
        assert count == 5  # 10, and 1010 by the task


@pytest.mark.faults
async def test_seed_04_abandoned_requests_give_their_connections_back(database_url: str):
    async with application(database_url, lock_timeout=30) as client:
        for _ in range(3):
            with contextlib.suppress(httpx.ReadTimeout):
                await asyncio.gather(
                    *(client.get("/slow", timeout=0.05) for _ in range(6)), return_exceptions=True
                )
        for _ in range(1200):
            if (await client.get("/in-use")).json() == 0:
                break
            await asyncio.sleep(0.05)
        assert (await client.get("/slow")).status_code == 200


async def test_lifespan_opens_from_the_environment_and_closes(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DATABASE_URL", database_url)
    app = make_app()
    async with served(app) as client:
        assert (await client.get("/in-use")).json() == 0
        manager = app.state.database
        assert manager.is_open
    assert not manager.is_open


async def test_second_lifespan_reads_the_settings_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As in tests (#14): the manager of the first one, closed, was opened again."""
    app, seen = FastAPI(), []
    for name in ("one.db", "two.db"):
        monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/{name}")
        async with lifespan(app):
            seen.append(Path(app.state.database.engine.url.database).name)
    assert seen == ["one.db", "two.db"]
    # One that the application put there itself is opened again, and stays.
    app.state.database = DatabaseSessionManager(DatabaseConfig(f"sqlite:///{tmp_path}/own.db"))
    for _ in range(2):
        async with lifespan(app):
            assert app.state.database.engine.url.database.endswith("own.db")


async def test_lifespan_composes_and_leaves_an_open_manager_alone(database_url: str):
    @contextlib.asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[None]:
        async with lifespan(app):
            async with app.state.database.session() as session:
                app.state.answer = await session.scalar(text("SELECT 42"))
            yield

    async with DatabaseSessionManager(DatabaseConfig(database_url)) as manager:
        app = FastAPI(lifespan=own)
        app.state.database = manager
        async with served(app):
            assert app.state.answer == 42
            assert app.state.database is manager
        assert manager.is_open


async def test_lifespan_without_a_url_is_one_clear_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ValueError, match="DATABASE_URL is not set"):
        async with lifespan(FastAPI()):
            pass


async def test_app_without_lifespan_says_so():
    app = FastAPI()

    @app.get("/")
    async def root(session: DbSession) -> None: ...

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        with pytest.raises(RuntimeError, match="pass lifespan=lifespan to FastAPI"):
            await client.get("/")


@pytest.mark.any_sqlalchemy
def test_something_else_in_the_managers_place_is_said() -> None:
    """Another library's database under the same name is no manager."""
    app = FastAPI()
    for state in ({}, {"database": object()}):
        for name, value in state.items():
            setattr(app.state, name, value)
        with pytest.raises(RuntimeError, match=r"app\.state\.database is not set"):
            get_database(HTTPConnection({"type": "http", "app": app, "headers": []}))
