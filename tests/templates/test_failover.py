"""The primary dies under load and a standby is promoted: how long, and what is lost."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Column, MetaData, String, Table, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from errors import problem_of
from retries import CommitOutcomeUnknownError, run_in_transaction
from servers import replication
from servers.postgres import PostgresServer
from servers.replication import Cluster
from session_manager import DatabaseConfig, DatabaseSessionManager

METADATA = MetaData()
NOTE = Table("note", METADATA, Column("text", String(50), primary_key=True))
WRITERS = 4


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """One that this test may break."""
    with replication.running_cluster() as cluster:
        cluster.primary.create_database("shop")
        cluster.caught_up()
        yield cluster


@dataclass
class Load:
    """Writers that never stop for an error; a text is acknowledged when its commit returned."""

    database: DatabaseSessionManager
    acknowledged: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refused: int = 0

    async def write(self, writer: int) -> None:
        number = 0
        while True:
            number += 1
            note = f"{writer}/{number}"

            async def work(session: AsyncSession, note: str = note) -> None:
                await session.execute(NOTE.insert().values(text=note))

            try:
                await run_in_transaction(self.database, work, attempts=1)
            except CommitOutcomeUnknownError:
                self.unknown.append(note)
            except (SQLAlchemyError, OSError):
                self.refused += 1
                await asyncio.sleep(0.02)
            else:
                self.acknowledged.append(note)

    async def more(self, number: int) -> None:
        wanted = len(self.acknowledged) + number
        await eventually(lambda: len(self.acknowledged) >= wanted)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def cut_off(standby: PostgresServer) -> None:
    """It gets no more of the log, as when the network between the two is down."""
    standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
    standby.execute("SELECT pg_reload_conf()")
    replication.until(standby, "NOT EXISTS (SELECT 1 FROM pg_stat_wal_receiver)")


def furthest(standbys: list[PostgresServer]) -> PostgresServer:
    """The one to promote: an acknowledged commit may be on this one alone."""
    return max(
        standbys,
        key=lambda one: one.execute(
            "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')::bigint"
        )[0][0],
    )


@pytest.mark.parametrize("synchronous", [True, False])
async def test_what_was_acknowledged_survives_if_replication_is_synchronous(
    own_cluster: Cluster, synchronous: bool, show_at_the_end: Callable[[str], None]
):
    """The standbys are cut off before the primary dies, so that without synchronous replication
    acknowledged commits are lost: the check would see it."""
    primary, standbys = own_cluster.primary, own_cluster.standbys
    config = DatabaseConfig(own_cluster.hosts("shop"), connect_timeout=60)
    async with DatabaseSessionManager(config) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
        own_cluster.caught_up()
        if synchronous:
            own_cluster.wait_for_a_standby()
        load = Load(database)
        tasks = [asyncio.create_task(load.write(number)) for number in range(WRITERS)]
        await load.more(50)

        await asyncio.gather(*(asyncio.to_thread(cut_off, standby) for standby in standbys))
        if synchronous:
            waiting = "(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep')"
            await asyncio.to_thread(replication.until, primary, f"{waiting} = {WRITERS}")
        else:
            await load.more(20)
        before = len(load.acknowledged)
        await asyncio.to_thread(replication.crash, primary)
        crashed = time.monotonic()
        chosen = await asyncio.to_thread(furthest, standbys)
        await asyncio.to_thread(replication.promote, chosen)
        promoted = time.monotonic()
        await eventually(lambda: len(load.acknowledged) > before)
        recovered = time.monotonic()
        await load.more(50)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

        async with database.session() as session:
            assert await session.scalar(text("SELECT current_setting('port')::int")) == chosen.port
            rows = list(await session.scalars(text("SELECT text FROM note")))
        lost = set(load.acknowledged) - set(rows)
        show_at_the_end(
            f"failover, {'synchronous' if synchronous else 'asynchronous'} replication: "
            f"{len(load.acknowledged)} commits acknowledged, {len(lost)} of them lost, "
            f"{len(load.unknown)} unknown, {load.refused} refused; promoted after "
            f"{promoted - crashed:.2f} s, the next commit {recovered - promoted:.2f} s later"
        )
        assert bool(lost) == (not synchronous)
        assert len(rows) == len(set(rows))
        # Nothing is there that nobody wrote: what was not acknowledged was cancelled or unknown.
        others = set(rows) - set(load.acknowledged) - set(load.unknown)
        assert len(others) <= 2 * WRITERS
        assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_a_pool_finds_the_primary_among_its_hosts(cluster: Cluster):
    """The order does not matter, and a host that is down is passed over."""
    standby, primary = cluster.standbys[0], cluster.primary
    for places in (
        f"{standby.host}:{standby.port},{primary.host}:{primary.port}",
        f"127.0.0.1:1,{primary.host}:{primary.port}",
    ):
        url = cluster.hosts("shop").partition("@")[0]
        config = DatabaseConfig(f"{url}@{places}/shop?target_session_attrs=primary")
        async with DatabaseSessionManager(config) as database, database.session() as session:
            asked = text("SELECT current_setting('port')::int, pg_is_in_recovery()")
            assert tuple((await session.execute(asked)).one()) == (primary.port, False)


@pytest.mark.parametrize("attributes", ["standby", "prefer-standby", "read-only"])
async def test_a_pool_finds_a_standby_among_its_hosts(cluster: Cluster, attributes: str):
    config = DatabaseConfig(cluster.hosts("shop", attributes))
    async with DatabaseSessionManager(config) as database, database.session() as session:
        assert await session.scalar(text("SELECT pg_is_in_recovery()"))


async def test_no_primary_among_the_hosts_is_an_error_in_time(cluster: Cluster):
    one, other = cluster.standbys
    url = cluster.hosts("shop").partition("@")[0]
    places = f"{one.host}:{one.port},{other.host}:{other.port}"
    config = DatabaseConfig(f"{url}@{places}/shop?target_session_attrs=primary")
    async with DatabaseSessionManager(config) as database, database.session() as session:
        with pytest.raises(OperationalError, match="none of 2 hosts is up and primary") as caught:
            await session.execute(text("SELECT 1"))
        assert problem_of(caught.value).status == 503


@pytest.mark.parametrize("attributes", ["primary", "prefer-standby"])
async def test_a_host_that_is_gone_without_a_word_is_passed_over(cluster: Cluster, attributes: str):
    """asyncpg alone has one time limit for all hosts, and never gets to the second one."""
    primary = cluster.primary
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        url = cluster.hosts("shop").partition("@")[0]
        places = f"127.0.0.1:{silent.getsockname()[1]},{primary.host}:{primary.port}"
        config = DatabaseConfig(
            f"{url}@{places}/shop?target_session_attrs={attributes}", connect_timeout=3
        )
        plain = create_async_engine(config.url, connect_args={"timeout": 0.5})
        with pytest.raises((OSError, SQLAlchemyError)):
            async with plain.connect():
                pass
        await plain.dispose()
        database = DatabaseSessionManager(config)
        async with database, database.session() as one, database.session() as other:
            for session in (one, other):
                asked = text("SELECT current_setting('port')::int")
                assert await session.scalar(asked) == primary.port
        silent.setblocking(False)
        knocks = 0
        with pytest.raises(BlockingIOError):
            while True:
                silent.accept()[0].close()
                knocks += 1
        # The second connection began where the first one ended: at the host that is there.
        assert knocks == {"primary": 2, "prefer-standby": 4}[attributes]
