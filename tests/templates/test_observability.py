"""What is told of statements: how many, how long, by which line; and of the pool."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import observability
from observability import RequestStatements, export_pool, observe, pool_gauges
from session_manager import Database, DatabaseConfig, DatabaseSessionManager, DbSession

ONE = text("SELECT 1 /* one */")
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = SAMPLED[:-1] + "0"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[DatabaseSessionManager]:
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as manager:
        yield manager


def make_app(database: DatabaseSessionManager, **options: object) -> FastAPI:
    app = FastAPI()
    app.state.database = database
    app.add_middleware(RequestStatements, **options)  # type: ignore[arg-type]

    @app.get("/times/{number}")
    async def times(number: int, session: DbSession) -> None:
        for _ in range(number):
            await session.execute(ONE)

    @app.get("/together")
    async def together(database: Database) -> None:
        async def one() -> None:
            async with database.read_only_session() as session:
                await session.execute(ONE)

        await asyncio.gather(*(one() for _ in range(3)))

    @app.get("/wrong")
    async def wrong(session: DbSession) -> None:
        await session.execute(text("SELECT nothing FROM nowhere"))

    return app


async def ask(app: FastAPI, path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        return await client.get(path, headers=headers)


def lines(caplog: pytest.LogCaptureFixture, level: str = "") -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "observability" and level in ("", record.levelname)
    ]


@pytest.mark.dialects("postgresql", "mysql")  # on SQLite a BEGIN is a statement of the engine
async def test_a_request_tells_its_statements(
    database: DatabaseSessionManager, caplog: pytest.LogCaptureFixture
):
    observe(database.engine)
    app = make_app(database, many=5)
    with caplog.at_level(logging.INFO, "observability"):
        for number in (1, 0, 1, 3, 5):
            await ask(app, f"/times/{number}")
        await ask(app, "/together")
        await ask(app, "/wrong")
    told = [re.sub(r"[\d.]+ ms", "t", line) for line in lines(caplog)]
    first = told.pop(0)  # SQLAlchemy asks what server it has
    assert re.fullmatch(r"GET /times/{number}: [234] statements, t in the database of t", first)
    assert told == [
        "GET /times/{number}: 0 statements, t in the database of t",
        "GET /times/{number}: 1 statement, t in the database of t",
        "GET /times/{number}: 3 statements, t in the database of t",
        "GET /times/{number}: 5 statements, t in the database of t",
        "GET /together: 3 statements, t in the database of t",
        "GET /wrong: 1 statement, t in the database of t",
    ]
    assert [line.split(",")[0] for line in lines(caplog, "WARNING")] == [
        "GET /times/{number}: 5 statements"
    ]


@pytest.mark.dialects("postgresql", "mysql")
async def test_requests_at_once_are_counted_apart(database: DatabaseSessionManager):
    observe(database.engine)
    app = make_app(database, server_timing=True)
    await ask(app, "/times/1")
    answers = await asyncio.gather(*(ask(app, f"/times/{number}") for number in range(6)))
    told = [re.findall(r'desc="(\d+) ', one.headers["server-timing"]) for one in answers]
    assert told == [[str(number)] for number in range(6)]


async def test_a_slow_statement_tells_where(
    database: DatabaseSessionManager, caplog: pytest.LogCaptureFixture
):
    observe(database.engine, slow=0)

    async def inner() -> None:
        async with database.session() as session:
            await session.execute(text("SELECT :secret AS word"), {"secret": "s3cr3t"})

    async def outer() -> None:
        await inner()

    with caplog.at_level(logging.WARNING, "observability"):
        await outer()
    told = [line for line in lines(caplog) if "word" in line]
    assert len(told) == 1
    number = inner.__code__.co_firstlineno
    expected = rf"slow statement: \d+ ms at \S*test_observability\.py:{number + 2} in inner < "
    expected += rf"\S*test_observability\.py:{outer.__code__.co_firstlineno + 1} in outer: SELECT "
    assert re.match(expected, told[0]), told
    assert "s3cr3t" not in told[0]


async def test_a_fast_statement_tells_nothing(
    database: DatabaseSessionManager, caplog: pytest.LogCaptureFixture
):
    observe(database.engine, slow=3600)
    async with database.session() as session:
        await session.execute(ONE)
        with pytest.raises(DBAPIError):
            await session.execute(text("SELECT nothing FROM nowhere"))
    assert lines(caplog) == []


@pytest.mark.dialects("postgresql")
async def test_the_trace_is_in_the_statements_of_a_sampled_request(
    database: DatabaseSessionManager,
):
    observe(database.engine, trace=True)
    app = make_app(database)
    asked = text("SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()")

    @app.get("/seen")
    async def seen(session: DbSession) -> str:
        return str(await session.scalar(asked))

    assert (
        (await ask(app, "/seen", traceparent=SAMPLED))
        .json()
        .endswith(f" /*traceparent='{SAMPLED}'*/")
    )
    for forged in (
        "",
        NOT_SAMPLED,
        f"{SAMPLED}'*/; DROP TABLE x; --",
        SAMPLED.upper(),
        "00-1-1-01",
    ):
        assert "traceparent" not in (await ask(app, "/seen", traceparent=forged)).json()


async def test_gauges_of_the_pool(database_url: str):
    config = DatabaseConfig(database_url, pool_size=1, max_overflow=1, lock_timeout=60)
    async with DatabaseSessionManager(config) as database:
        assert pool_gauges(database.engine) == {"in_use": 0, "idle": 0, "capacity": 2, "waiting": 0}
        one, two = database.read_only_session(), database.read_only_session()
        async with one, two:
            await one.connection()
            await two.connection()
            third = asyncio.create_task(database.engine.connect().__aenter__())
            while not pool_gauges(database.engine)["waiting"]:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert pool_gauges(database.engine) == {
                "in_use": 2,
                "idle": 0,
                "capacity": 2,
                "waiting": 1,
            }
        await (await third).close()
        assert pool_gauges(database.engine)["idle"] == 1
    plain = create_async_engine(database_url, poolclass=NullPool)
    assert pool_gauges(plain) == {}
    for overflow, capacity in ((3, 5), (-1, 2)):  # which is without a limit
        usual = create_async_engine(database_url, pool_size=2, max_overflow=overflow)
        assert pool_gauges(usual)["capacity"] == capacity


@pytest.mark.dialects("sqlite")
async def test_prometheus_by_its_own_client(database: DatabaseSessionManager):
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    export_pool(database.engine, registry=registry)
    async with database.session() as session:
        await session.execute(ONE)
        told = generate_latest(registry).decode()
    assert 'database_pool_connections{pool="main",state="in_use"} 1.0' in told
    told = generate_latest(registry).decode()
    assert 'database_pool_connections{pool="main",state="in_use"} 0.0' in told


@pytest.mark.dialects("sqlite")
async def test_opentelemetry_by_its_own_instrumentation(database: DatabaseSessionManager):
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    instrumentor = SQLAlchemyInstrumentor()
    instrumentor.instrument(
        engine=database.engine.sync_engine,
        tracer_provider=provider,
        skip_dep_check=True,  # 0.66b2 says "< 2.1", and works with it, as this shows
    )
    try:
        observe(database.engine)
        async with database.session() as session:
            await session.execute(ONE)
    finally:
        instrumentor.uninstrument()
    told = [dict(span.attributes or {}) for span in spans.get_finished_spans()]
    assert [one["db.statement"] for one in told if "db.statement" in one].count(ONE.text) == 1


def test_the_place_is_ours_and_no_library_s():
    here: Callable[[], str] = lambda: observability.place(1)  # noqa: E731
    assert "test_observability.py" in here()
