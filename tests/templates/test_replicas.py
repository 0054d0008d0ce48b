"""Reads on real standbys: paused, dead, silent, promoted; and what one has written oneself."""

import asyncio
import contextlib
import itertools
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import String, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from replicas import ReadYourWrites, ReplicaDbSession, Replicas, Unit
from servers import private, replication
from servers.postgres import PostgresServer
from servers.proxy import Proxy
from servers.replication import Cluster
from session_manager import DatabaseConfig, DatabaseSessionManager, DbSession, ReadOnlySessionError

SHOP = "shop"
NAMES = (f"c{n}@example.com" for n in itertools.count())
FOR_EVER = 3600.0


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)


def manager(server: PostgresServer, **settings: object) -> DatabaseSessionManager:
    return DatabaseSessionManager(DatabaseConfig(server.url(SHOP), **settings))  # type: ignore[arg-type]


@asynccontextmanager
async def replicas_of(
    cluster: Cluster, *standbys: PostgresServer, **settings: float
) -> AsyncIterator[Replicas]:
    """On the standbys of the cluster, if none are given; looked at often, to save time."""
    options = {"check_every": 0.1, "max_lag": FOR_EVER, "answer_within": 60.0} | settings
    options["max_lag"] = min(options["max_lag"], 100)  # its history is kept
    primary = manager(cluster.primary)
    others = [manager(one) for one in standbys or cluster.standbys]
    async with primary, Replicas(primary, others, **options) as replicas:
        async with primary.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        cluster.caught_up(*(standbys or cluster.standbys))
        yield replicas


async def write(replicas: Replicas) -> str:
    email = next(NAMES)
    async with replicas.primary.begin() as session:  # type: ignore[attr-defined]
        session.add(Customer(email=email))
    return email


async def is_there(session: AsyncSession, email: str) -> bool:
    return await session.scalar(select(Customer.id).where(Customer.email == email)) is not None


async def port(session: AsyncSession) -> int:
    return int(await session.scalar(text("SELECT current_setting('port')::int")) or 0)


async def read_at(replicas: Replicas) -> int:
    """The port of the server that answers."""
    async with replicas.read_only_session() as session:
        return await port(session)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@contextlib.contextmanager
def paused(*standbys: PostgresServer):
    for standby in standbys:
        standby.execute("SELECT pg_wal_replay_pause()")
        replication.until(standby, "pg_get_wal_replay_pause_state() = 'paused'")
    try:
        yield
    finally:
        for standby in standbys:
            standby.execute("SELECT pg_wal_replay_resume()")


@contextlib.contextmanager
def frozen(server: PostgresServer, *processes: str):
    names = ", ".join(f"'{one}'" for one in processes)
    asked = f"SELECT pid FROM pg_stat_activity WHERE backend_type IN ({names})"
    pids = [int(row[0]) for row in server.execute(asked)]
    assert len(pids) == len(processes)
    try:
        for pid in pids:
            private.send(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            private.send(pid, signal.SIGCONT)


def make_app(replicas: Replicas) -> FastAPI:
    app = FastAPI()
    app.state.database, app.state.replicas = replicas.primary, replicas
    app.add_middleware(ReadYourWrites)

    @app.post("/customers", status_code=201)
    async def create(email: str, session: DbSession) -> int:
        session.add(Customer(email=email))
        return await port(session)

    @app.get("/customers")
    async def read(email: str, session: ReplicaDbSession) -> tuple[bool, int]:
        return await is_there(session, email), await port(session)

    @app.post("/write-then-read")
    async def both(email: str) -> tuple[bool, int]:
        async with replicas.primary.begin() as session:  # type: ignore[attr-defined]
            session.add(Customer(email=email))
        async with replicas.read_only_session() as reader:
            return await is_there(reader, email), await port(reader)

    @app.post("/wrong")
    async def wrong(email: str, session: ReplicaDbSession) -> None:
        session.add(Customer(email=email))

    return app


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, raise_app_exceptions=False), base_url="http://t"
    )


async def test_reads_are_shared_by_the_standbys_and_writes_go_to_the_primary(cluster: Cluster):
    async with replicas_of(cluster) as replicas, client(make_app(replicas)) as web:
        created = await web.post("/customers", params={"email": next(NAMES)})
        assert created.json() == cluster.primary.port
        asked = [(await web.get("/customers", params={"email": "x"})).json()[1] for _ in range(4)]
        assert sorted(set(asked)) == sorted(one.port for one in cluster.standbys)


async def test_a_standby_refuses_what_writes(cluster: Cluster):
    async with replicas_of(cluster) as replicas, client(make_app(replicas)) as web:
        async with replicas.read_only_session() as session:
            with pytest.raises(ReadOnlySessionError):
                await session.execute(Customer.__table__.delete())
            with pytest.raises(DBAPIError, match="read-only transaction"):
                await session.execute(text("DELETE FROM customers"))
        assert (await web.post("/wrong", params={"email": next(NAMES)})).status_code == 500


async def test_with_its_token_one_reads_what_one_wrote_elsewhere(cluster: Cluster):
    """Replay is paused: a standby cannot have it. Without the token it is missed, which shows
    that the pause works; with it, in a cookie or a header, the primary answers."""
    async with replicas_of(cluster, wait=0.02) as replicas:
        app = make_app(replicas)
        async with client(app) as writer, client(app) as other, client(app) as third:
            with paused(*cluster.standbys):
                email = {"email": next(NAMES)}
                created = await writer.post("/customers", params=email)
                seen, at = (await writer.get("/customers", params=email)).json()
                assert (seen, at) == (True, cluster.primary.port)
                seen, at = (await other.get("/customers", params=email)).json()
                assert (seen, at != cluster.primary.port) == (False, True)
                header = {"db-position": created.headers["db-position"]}
                cookie = {f"db-position={header['db-position']}", "Path=/", "Max-Age=60"}
                sent = created.headers["set-cookie"].split("; ")
                assert set(sent) == cookie | {"HttpOnly", "SameSite=Lax"}
                answer = await third.get("/customers", params=email, headers=header)
                assert answer.json() == [True, cluster.primary.port]
                assert "db-position" not in answer.headers
            cluster.caught_up()
            await until(lambda: all(one.position for one in replicas.standbys))
        # A new process, whose first question tells that the standbys are there.
        async with replicas_of(cluster, wait=60) as later, client(make_app(later)) as fourth:
            answer = await fourth.get("/customers", params=email, headers=header)
            assert answer.json()[0]
            assert answer.json()[1] != cluster.primary.port


async def test_a_standby_that_gets_there_in_time_answers(cluster: Cluster):
    async with replicas_of(cluster, wait=60, check_every=30) as replicas:
        with paused(*cluster.standbys):
            with replicas.unit() as unit:
                email = await write(replicas)
                token = await replicas.token(unit)

            async def read() -> tuple[bool, int]:
                with replicas.unit(token):
                    async with replicas.read_only_session() as session:
                        return await is_there(session, email), await port(session)

            reading = [asyncio.create_task(read()) for _ in range(3)]
            await until(lambda: replicas._waiting == 3)
            assert not any(task.done() for task in reading)
        for seen, at in await asyncio.gather(*reading):
            assert seen
            assert at != cluster.primary.port
        assert replicas._waiting == 0


async def test_after_a_commit_the_same_unit_reads_on_the_primary(cluster: Cluster):
    async with replicas_of(cluster) as replicas, client(make_app(replicas)) as web:
        with paused(*cluster.standbys):
            answer = await web.post("/write-then-read", params={"email": next(NAMES)})
            assert answer.json() == [True, cluster.primary.port]
        with replicas.unit():
            assert await read_at(replicas) != cluster.primary.port


async def test_what_only_reads_gets_no_token(cluster: Cluster):
    async with replicas_of(cluster) as replicas:
        with replicas.unit() as unit:
            async with replicas.primary.read_only_session() as session:
                await port(session)
                await session.commit()
            await read_at(replicas)
            assert await replicas.token(unit) is None
            async with replicas.primary.session() as session:  # type: ignore[attr-defined]
                session.add(Customer(email=next(NAMES)))
                await session.flush()
            assert await replicas.token(unit) is None  # rolled back


@pytest.mark.parametrize("token", ["", "x", "-1", "1; Path=/", "F" * 40, "٣", "00000000\n"])
async def test_a_token_that_we_did_not_make_is_none(cluster: Cluster, token: str):
    replicas = Replicas(manager(cluster.primary), [])
    with replicas.unit(token) as unit:
        assert unit == Unit()


async def test_a_token_of_the_future_waits_its_time_and_no_longer(cluster: Cluster):
    async with replicas_of(cluster, wait=0.02) as replicas:
        for token in ("f" * 16, "1" + "0" * 16):
            with replicas.unit(token):
                assert await read_at(replicas) == cluster.primary.port


async def test_a_standby_that_lags_is_left_out_and_taken_back(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
):
    behind, other = cluster.standbys
    async with replicas_of(cluster, max_lag=0.2) as replicas:
        lagging = replicas.standbys[0]
        with paused(behind):
            await write(replicas)
            await until(lambda: "behind" in lagging.wrong)
            assert {await read_at(replicas) for _ in range(4)} == {other.port}
        await until(lambda: not lagging.wrong)
        told = [one.partition(f":{behind.port}: ")[2] for one in caplog.messages]
        assert {*told} - {""} == {"more than 0.2 s behind", "taken back"}
        assert behind.port in {await read_at(replicas) for _ in range(4)}


async def test_with_all_behind_the_primary_reads(cluster: Cluster):
    async with replicas_of(cluster, max_lag=0.2) as replicas:
        with paused(*cluster.standbys):
            await write(replicas)
            await until(lambda: all(one.wrong for one in replicas.standbys))
            assert await read_at(replicas) == cluster.primary.port
        await until(lambda: not any(one.wrong for one in replicas.standbys))


async def test_a_standby_does_not_lag_behind_what_the_primary_has_not_written(cluster: Cluster):
    """Who reads a page with dead rows tidies it up; a rollback leaves that in the log's buffer."""
    async with replicas_of(cluster, max_lag=0.5) as replicas:
        async with replicas.primary.engine.begin() as connection:
            await connection.execute(text("DROP TABLE IF EXISTS untidy"))
            await connection.execute(text("CREATE TABLE untidy (a int, b text)"))
            rows = "SELECT 1, repeat('x', 1000) FROM generate_series(1, 7)"
            await connection.execute(text(f"INSERT INTO untidy {rows}"))
        for _ in range(6):
            async with replicas.primary.engine.begin() as connection:
                await connection.execute(text("UPDATE untidy SET a = a + 1"))
        with frozen(cluster.primary, "walwriter", "background writer"):  # as if they had to wait
            async with replicas.primary.read_only_session() as session:
                await session.execute(text("SELECT count(*) FROM untidy"))
            unwritten = "pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()"
            assert cluster.primary.execute(f"SELECT {unwritten}")[0][0]
            start = replicas._seen[-1][0]
            found: set[str] = set()
            async with asyncio.timeout(60):
                while replicas._seen[-1][0] < start + 2:
                    found |= {one.wrong for one in replicas.standbys}
                    await asyncio.sleep(0.05)
            assert found == {""}


async def test_a_standby_that_dies_in_a_stream_is_one_error(cluster: Cluster):
    """The stream breaks, which nobody can mend; the next read is answered elsewhere, also before
    anybody has looked. Once the standby is up again, it is taken back."""
    with replication.running_standby(cluster.primary) as dying:
        stays = cluster.standbys[0]
        async with replicas_of(cluster, dying, stays, check_every=1000) as replicas:
            many = text("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)")
            while await read_at(replicas) == dying.port:  # its turn comes next
                pass
            with pytest.raises(DBAPIError) as caught:
                async with replicas.read_only_session() as session:
                    assert await port(session) == dying.port
                    rows = await session.stream(many)
                    await rows.fetchmany(10)
                    replication.crash(dying)
                    async for _ in rows:
                        pass
            assert caught.value.connection_invalidated
            assert [bool(one.wrong) for one in replicas.standbys] == [True, False]
            assert {await read_at(replicas) for _ in range(4)} == {stays.port}
            replicas.standbys[0].wrong = ""  # as in a process that has not met it yet
            assert {await read_at(replicas) for _ in range(4)} == {stays.port}
            assert replicas.standbys[0].wrong
        assert dying.keeper is not None
        dying.keeper.restart()
        async with replicas_of(cluster, dying, stays) as replicas:
            await until(lambda: not replicas.standbys[0].wrong)
            assert dying.port in {await read_at(replicas) for _ in range(4)}


async def test_a_silent_standby_is_left_out(cluster: Cluster):
    quiet, other = cluster.standbys
    async with Proxy(quiet.host, quiet.port) as proxy:
        primary, spoken = manager(cluster.primary), manager(other)
        url = quiet.admin.set(port=proxy.port, drivername="postgresql+asyncpg", database=SHOP)
        behind = DatabaseSessionManager(DatabaseConfig(url, statement_timeout=1))
        router = Replicas(primary, [behind, spoken], check_every=0.1, answer_within=1)
        async with router as replicas:
            async with asyncio.timeout(60):  # on a busy machine one may be late, and left out (#10)
                while len({await read_at(replicas) for _ in range(4)}) < 2:
                    pass
            proxy.swallow = True
            await until(lambda: "no answer" in replicas.standbys[0].wrong)
            assert {await read_at(replicas) for _ in range(4)} == {other.port}
            proxy.swallow = False


async def test_promotion_under_load_is_no_error_and_no_stale_read(cluster: Cluster):
    """A promoted standby is another database from then on. Whoever has a token never reads it."""
    with replication.running_standby(cluster.primary) as promoted:
        async with replicas_of(cluster, promoted, *cluster.standbys, wait=60) as replicas:
            gone = asyncio.Event()
            missed: list[str] = []

            async def write_and_read() -> int:
                rounds = 0
                while not gone.is_set() or rounds < 5:
                    with replicas.unit() as unit:
                        email = await write(replicas)
                        token = await replicas.token(unit)
                    with replicas.unit(token):
                        async with replicas.read_only_session() as session:
                            if not await is_there(session, email):
                                missed.append(email)
                    rounds += 1
                    await asyncio.sleep(0.05)  # as many rounds as may be cost more than they show
                return rounds

            tasks = [asyncio.create_task(write_and_read()) for _ in range(4)]
            await asyncio.to_thread(replication.promote, promoted)
            await until(lambda: "no standby" in replicas.standbys[0].wrong)
            gone.set()
            assert sum(await asyncio.gather(*tasks)) >= 20
            assert missed == []
            answered = {await read_at(replicas) for _ in range(6)}
            assert answered == {one.port for one in cluster.standbys}


async def test_a_commit_whose_position_nobody_tells_is_no_error(cluster: Cluster):
    async with replicas_of(cluster) as replicas:
        with replicas.unit() as unit:
            await write(replicas)
            real = replicas.primary
            replicas.primary = DatabaseSessionManager(
                DatabaseConfig("postgresql://u@127.0.0.1:1/x")
            )
            async with replicas.primary:
                token = await replicas.token(unit)
            replicas.primary = real
        with replicas.unit(token):
            assert await read_at(replicas) == cluster.primary.port


async def test_without_standbys_it_is_the_primary_on_any_database(database_url: str):
    primary = DatabaseSessionManager(DatabaseConfig(database_url))
    async with Replicas(primary, []) as replicas:
        assert primary.is_open
        async with primary.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with client(make_app(replicas)) as web:
            with replicas.unit() as unit:
                email = await write(replicas)
                assert await replicas.token(unit) is None
                async with replicas.read_only_session() as session:
                    assert await is_there(session, email)
            assert (await web.get("/docs")).status_code == 200
    assert not primary.is_open


@pytest.mark.dialects("sqlite")
async def test_standbys_of_another_database_are_refused(database_url: str):
    config = DatabaseConfig(database_url)
    primary, standby = DatabaseSessionManager(config), DatabaseSessionManager(config)
    with pytest.raises(ValueError, match="only PostgreSQL"):
        async with Replicas(primary, [standby]):
            pass
    assert not primary.is_open
    assert not standby.is_open


async def test_nothing_is_left_behind(cluster: Cluster):
    before = asyncio.all_tasks()
    primary = manager(cluster.primary)
    async with primary:
        async with Replicas(primary, [manager(one) for one in cluster.standbys]) as replicas:
            await read_at(replicas)
        assert primary.is_open  # it was before
        assert asyncio.all_tasks() == before
        with replicas.unit() as unit:
            async with primary.begin() as session:
                await session.execute(text("SELECT 1"))
        assert not unit.committed


async def test_an_application_without_a_router_is_told(cluster: Cluster):
    app = FastAPI()
    app.add_middleware(ReadYourWrites)
    with pytest.raises(RuntimeError, match=r"app\.state\.replicas"):
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://t"
        ) as web:
            await web.get("/")
