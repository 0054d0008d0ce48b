"""A connection that the server ended is replaced before a request meets it."""

import asyncio
import time
from collections.abc import Callable

import pytest
from sqlalchemy import event, make_url, text
from sqlalchemy.engine.interfaces import Dialect

from servers.proxy import Proxy
from session_manager import DatabaseConfig, DatabaseSessionManager

pytestmark = pytest.mark.faults


async def use(database: DatabaseSessionManager, read_only: bool = False) -> object:
    session = database.read_only_session() if read_only else database.session()
    async with session:
        return await session.scalar(text("SELECT 1"))


async def fill(database: DatabaseSessionManager, count: int = 5) -> list[int]:
    """Open `count` connections, put them back to rest; their ids on the server."""
    mysql = database.engine.dialect.name == "mysql"
    query = text("SELECT connection_id()" if mysql else "SELECT pg_backend_pid()")
    gate = asyncio.Barrier(count)

    async def one() -> int:
        async with database.session() as session:
            identity = await session.scalar(query)
            await gate.wait()
            return int(identity or 0)

    return list(await asyncio.gather(*(one() for _ in range(count))))


@pytest.fixture
def kill(dialect: str, request: pytest.FixtureRequest) -> Callable[[list[int]], None]:
    """End connections from outside, in this thread: the event loop does not see it happen."""
    server = request.getfixturevalue(f"{dialect.replace('postgresql', 'postgres')}_server")

    def all_gone(identities: list[int]) -> bool:
        if dialect == "mysql":
            return not {row[0] for row in server.execute("SHOW PROCESSLIST")} & set(identities)
        names = ", ".join(map(str, identities))
        return not server.execute(f"SELECT 1 FROM pg_stat_activity WHERE pid IN ({names})")

    def end(identities: list[int]) -> None:
        for identity in identities:
            word = (
                f"KILL {identity}"
                if dialect == "mysql"
                else (f"SELECT pg_terminate_backend({identity})")
            )
            server.execute(word)
        deadline = time.monotonic() + 60
        while not all_gone(identities):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return end


@pytest.fixture
def pings(monkeypatch: pytest.MonkeyPatch) -> list[Dialect]:
    """Every ping that is sent."""
    from sqlalchemy.dialects.mysql.aiomysql import dialect as mysql
    from sqlalchemy.dialects.postgresql.asyncpg import dialect as postgresql

    sent: list[Dialect] = []
    for kind in (mysql, postgresql):

        def do_ping(self, connection, real=kind.do_ping):
            sent.append(self)
            return real(self, connection)

        monkeypatch.setattr(kind, "do_ping", do_ping)
    return sent


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.parametrize("requests", ["sequential", "concurrent"])
@pytest.mark.parametrize("pause", [0, 0.05], ids=["at-once", "loop-has-read"])
async def test_no_request_meets_a_terminated_connection(
    database_url: str, kill: Callable[[list[int]], None], requests: str, pause: float
):
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as database:
        for read_only in (False, True):
            identities = await fill(database)
            kill(identities)
            if pause:
                await asyncio.sleep(pause)
            if requests == "sequential":
                results = [await use(database, read_only) for _ in range(10)]
            else:
                results = await asyncio.gather(*(use(database, read_only) for _ in range(20)))
            assert set(results) == {1}
            assert not set(await fill(database)) & set(identities)


@pytest.mark.dialects("postgresql", "mysql")
async def test_without_the_check_the_same_requests_fail(
    database_url: str, kill: Callable[[list[int]], None]
):
    """The control: what the tests above would see on a plain engine."""
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import create_async_engine

    async with DatabaseSessionManager(DatabaseConfig(database_url)) as database:
        opened = database._opened
        assert opened is not None
        plain = create_async_engine(make_url(database_url))
        opened.sessions.configure(bind=plain)
        kill(await fill(database, 3))
        with pytest.raises(DBAPIError):
            await use(database)
        await plain.dispose()


@pytest.mark.dialects("postgresql")
async def test_no_request_meets_a_restarted_server(database_url: str, postgres_server):
    if postgres_server.keeper is None:
        pytest.skip("the server of TEST_POSTGRES_URL is not restarted")
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as database:
        await fill(database)
        await asyncio.to_thread(postgres_server.restart)
        assert set(await asyncio.gather(*(use(database) for _ in range(20)))) == {1}
        await fill(database)
        postgres_server.restart()  # the loop stands still meanwhile
        assert {await use(database) for _ in range(10)} == {1}


@pytest.mark.dialects("postgresql", "mysql")
async def test_busy_connections_are_never_pinged(database_url: str, pings: list[Dialect]):
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as database:
        for _ in range(20):
            await use(database)
        assert pings == []
    async with DatabaseSessionManager(
        DatabaseConfig(database_url, ping_after_idle=0.1)
    ) as database:
        await use(database)
        assert pings == []
        await asyncio.sleep(0.15)
        await use(database)
        assert len(pings) == 1


@pytest.mark.dialects("postgresql")
async def test_a_notice_on_a_resting_connection_is_no_reason_to_drop_it(
    database_url: str, pings: list[Dialect], postgres_server
):
    async with DatabaseSessionManager(
        DatabaseConfig(database_url, pool_size=1, max_overflow=0)
    ) as database:
        async with database.begin() as session:
            pid = await session.scalar(text("SELECT pg_backend_pid()"))
            await session.execute(text("LISTEN news"))
        postgres_server.execute("NOTIFY news", make_url(database_url).database)
        time.sleep(0.1)  # noqa: ASYNC251 - the loop must not read it
        async with database.session() as session:
            assert await session.scalar(text("SELECT pg_backend_pid()")) == pid
        assert len(pings) == 1


@pytest.mark.dialects("postgresql", "mysql")
async def test_ping_of_a_forgotten_connection_does_not_hang(database_url: str):
    url = make_url(database_url)
    async with Proxy(url.host or "", url.port or 0) as proxy:
        config = DatabaseConfig(
            url.set(host="127.0.0.1", port=proxy.port), ping_after_idle=0.1, connect_timeout=1
        )
        async with DatabaseSessionManager(config) as database:
            old = await fill(database, 3)
            await asyncio.sleep(0.15)
            proxy.swallow = True
            asyncio.get_running_loop().call_later(0.3, setattr, proxy, "swallow", False)
            assert await asyncio.wait_for(use(database), 60) == 1
            # The others of the pool, as old, were replaced with it.
            assert not set(await fill(database, 3)) & set(old)


@pytest.mark.dialects("postgresql", "mysql")
async def test_closing_waits_for_no_goodbye_of_a_server_that_is_silent(database_url: str):
    url = make_url(database_url)
    async with Proxy(url.host or "", url.port or 0) as proxy:
        through = url.set(host="127.0.0.1", port=proxy.port)
        database = DatabaseSessionManager(DatabaseConfig(through, statement_timeout=0))
        await database.open()
        await fill(database, 1)
        proxy.swallow = True
        closing = asyncio.create_task(database.close())
        ended, _ = await asyncio.wait({closing}, timeout=60)
        assert ended
        await closing


@pytest.mark.dialects("postgresql", "mysql")
async def test_the_check_adds_no_statement(database_url: str):
    statements: list[str] = []
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as database:
        event.listen(
            database.engine.sync_engine,
            "before_cursor_execute",
            lambda _c, _cur, statement, *_: statements.append(statement),
        )
        await use(database)
        await use(database)
    assert statements == ["SELECT 1", "SELECT 1"]
