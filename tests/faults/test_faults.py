"""Each fault of a server, while people read and write: `pytest -m faults` (#17).

During the fault every answer is right or a 503 with Retry-After, and none is waited for without an
end. After it all is well by itself, every acknowledged row is there, and neither the pool nor the
server holds anything. `load.py` asserts that; here is what goes wrong.
"""

import asyncio
import signal
from contextlib import AsyncExitStack, suppress
from typing import Any

import asyncpg
import pymysql
import pytest
from sqlalchemy import func, make_url, select
from sqlalchemy.exc import OperationalError

from errors import is_unavailable
from faults.fixtures import wait_until_ready
from faults.load import HANG, ITEM, PAD, SETTINGS, application, create_table
from health import check_ready
from servers import private, replication, small_disk
from servers.mysql import MySQLServer
from servers.postgres import SMALL_DISK, PostgresServer
from servers.proxy import Proxy
from session_manager import DatabaseConfig, DatabaseSessionManager

pytestmark = [
    pytest.mark.faults,
    pytest.mark.dialects("postgresql", "mysql"),
    pytest.mark.older_sqlalchemy_on("postgresql"),
    pytest.mark.sweep(every=2),  # the same on MariaDB
]
postgresql_only = pytest.mark.dialects("postgresql")

Victim = PostgresServer | MySQLServer
# A megabyte, in rows that are too short to be compressed.
BALLAST = "INSERT INTO ballast VALUES " + ", ".join(["(repeat('x', 1000))"] * 1000)
PATIENT = dict.fromkeys(SETTINGS.keys() - {"application_name", "pool_size", "max_overflow"}, 60)


async def terminate(victim: Victim, url: str) -> None:
    """End every connection to a database, from outside."""
    name = make_url(url).database
    if isinstance(victim, PostgresServer):
        statement = (
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        await asyncio.to_thread(victim.execute, statement)
        return
    listed = f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"
    for (identity,) in await asyncio.to_thread(victim.execute, listed):
        with suppress(pymysql.OperationalError):  # gone by itself
            await asyncio.to_thread(victim.execute, f"KILL {identity}")


async def test_every_backend_terminated(victim: Victim, victim_url: str) -> None:
    async with application(victim, victim_url) as load, load.under_way():
        for _ in range(5):
            await terminate(victim, victim_url)
            await load.see(10)


@postgresql_only
async def test_server_restarted_fast_under_load(victim: PostgresServer, victim_url: str) -> None:
    async with application(victim, victim_url) as load, load.under_way():
        await asyncio.to_thread(victim.restart)


@postgresql_only
async def test_server_restarted_immediately_under_load(
    victim: PostgresServer, victim_url: str
) -> None:
    """A crash and its recovery."""
    async with application(victim, victim_url) as load, load.under_way():
        await asyncio.to_thread(victim.restart, signal.SIGQUIT)


async def test_server_killed_and_started_again(victim: Victim, victim_url: str) -> None:
    assert victim.keeper is not None
    number = signal.SIGQUIT if isinstance(victim, PostgresServer) else signal.SIGKILL
    async with application(victim, victim_url) as load, load.under_way():
        await asyncio.to_thread(victim.keeper.stop, number)
        await load.see(20, 503)
        victim.keeper.start()
        await asyncio.to_thread(wait_until_ready, victim)


async def test_server_frozen(victim: Victim, victim_url: str) -> None:
    assert victim.keeper is not None
    async with application(victim, victim_url) as load, load.under_way():
        with victim.keeper.frozen():
            await load.see(15, 503)


async def test_latency(victim: Victim, victim_url: str) -> None:
    """As long as a statement may take, it only takes longer; beyond, it is given up."""
    async with (
        Proxy(victim.host, victim.port) as proxy,
        application(victim, victim_url, proxy.port) as load,
        load.under_way(),
    ):
        proxy.latency = 0.02
        await load.see(10, 200)
        await load.see(10, 201)
        proxy.latency = 5
        await load.see(15, 503)
        proxy.latency = 0


async def test_connections_reset(victim: Victim, victim_url: str) -> None:
    """Of one application; another one, which has its own way to the server, sees nothing of it."""
    other_url = victim.url(f"{make_url(victim_url).database}_other")
    victim.create_database(make_url(other_url).database or "")
    async with (
        Proxy(victim.host, victim.port) as proxy,
        application(victim, victim_url, proxy.port) as load,
        application(victim, other_url, **PATIENT) as other,
        load.under_way(),
        other.under_way(),
    ):
        for _ in range(5):
            assert proxy.reset()
            await load.see(10)
            await other.see(10)
    assert load.answers[503]
    assert not other.answers[503]
    victim.drop_database(make_url(other_url).database or "")


async def test_black_hole(victim: Victim, victim_url: str) -> None:
    """A firewall that drops what it does not know any more, without a word."""
    async with (
        Proxy(victim.host, victim.port) as proxy,
        application(victim, victim_url, proxy.port) as load,
        load.under_way(),
    ):
        proxy.swallow = True
        await load.see(15, 503)
        proxy.swallow = False


async def test_black_hole_in_the_middle_of_a_stream(victim: Victim, victim_url: str) -> None:
    await create_table(victim_url)
    async with Proxy(victim.host, victim.port) as proxy:
        url = make_url(victim_url).set(port=proxy.port)
        async with DatabaseSessionManager(DatabaseConfig(url, **SETTINGS)) as manager:
            async with manager.begin() as session:
                rows = [{"id": number, "pad": PAD} for number in range(1, 20_001)]
                await session.execute(ITEM.insert(), rows)
            with pytest.raises(OperationalError) as raised:
                async with asyncio.timeout(HANG), manager.session() as session:
                    read = 0
                    async for _ in await session.stream(select(ITEM).limit(20_000)):
                        read += 1
                        proxy.swallow = read > 10
            assert 10 < read < 20_000
            assert is_unavailable(raised.value)
            proxy.swallow = False
            async with manager.read_only_session() as session:
                assert await session.scalar(select(func.count()).select_from(ITEM)) == 20_000
            assert manager.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_server_down_at_start_up_and_back_later(victim: Victim, victim_url: str) -> None:
    assert victim.keeper is not None
    await create_table(victim_url)
    await asyncio.to_thread(victim.keeper.stop)
    try:
        async with application(victim, victim_url, create=False) as load:
            assert [await load.request() for _ in range(10)] == [503] * 10
            assert (await check_ready(load.manager)).status_code == 503
            victim.keeper.start()
            await asyncio.to_thread(wait_until_ready, victim)
            await load.be_well()
            assert (await check_ready(load.manager)).status_code == 200
            await load.nothing_is_left()
    finally:
        victim.keeper.start()


@postgresql_only
async def test_max_connections_reached(victim: PostgresServer, victim_url: str) -> None:
    """Another application has taken them all; then it gives them back."""
    url = make_url(victim_url).set(drivername="postgresql", database="postgres")
    terminate_all = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        f"WHERE datname = '{make_url(victim_url).database}'"
    )
    async with application(victim, victim_url) as load, load.under_way(), AsyncExitStack() as hog:

        async def take() -> Any:
            taken = await asyncpg.connect(url.render_as_string(hide_password=False), timeout=60)
            hog.push_async_callback(taken.close)
            return taken

        first = await take()
        while await first.fetchval(terminate_all):
            with suppress(asyncpg.TooManyConnectionsError):
                while True:
                    await take()
        await load.see(20, 503)


async def test_disk_full_on_the_server(victim: Victim, victim_url: str) -> None:
    """Of the table, not of the log: reading goes on. Then somebody makes room."""
    assert victim.keeper is not None
    name = make_url(victim_url).database
    folder = victim.keeper.directory / SMALL_DISK
    where = f"DATA DIRECTORY='{folder}'"
    if not small_disk.available(private.server_user("postgres")):
        pytest.skip("a small disk needs Linux's namespaces (unshare), which are not to be had here")
    if isinstance(victim, PostgresServer):
        where = f"TABLESPACE {name}"
        victim.execute(f"CREATE TABLESPACE {name} LOCATION '{folder}'")
    for table in ("items (id INTEGER PRIMARY KEY, pad VARCHAR(1000))", "ballast (pad TEXT)"):
        victim.execute(f"CREATE TABLE {table} {where}", name)
    async with application(victim, victim_url, create=False) as load, load.under_way():
        with pytest.raises((asyncpg.DiskFullError, pymysql.OperationalError), match=r"full|space"):
            while True:
                await asyncio.to_thread(victim.execute, BALLAST, name)
        await load.see(15, 503)
        await load.see(15, 200)
        victim.execute("DROP TABLE ballast", name)
    victim.execute("DROP TABLE items", name)
    if isinstance(victim, PostgresServer):
        victim.execute(f"DROP TABLESPACE {name}")


@postgresql_only
async def test_read_only_after_a_failover(victim: PostgresServer, victim_url: str) -> None:
    """The server it has come to only reads, until somebody makes it the primary."""
    async with application(victim, victim_url) as load, load.under_way():
        victim.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        victim.execute("SELECT pg_reload_conf()")
        await terminate(victim, victim_url)
        await load.see(15, 503)
        await load.see(15, 200)
        for statement in ("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()"):
            victim.execute(statement)


@postgresql_only
async def test_the_server_it_has_come_to_is_a_standby_until_it_is_promoted() -> None:
    """A name or an address moved to the new server before it took writes."""
    with replication.running_cluster(1) as cluster:
        cluster.primary.create_database("faults")
        cluster.wait_for_a_standby()
        (standby,) = cluster.standbys
        url = cluster.primary.url("faults")
        async with (
            Proxy(cluster.primary.host, cluster.primary.port) as proxy,
            application(standby, url, proxy.port) as load,
            load.under_way(),
        ):
            proxy.target = (standby.host, standby.port)
            proxy.reset()
            await load.see(15, 503)
            await load.see(15, 200)
            await asyncio.to_thread(replication.promote, standby)
