"""Servers that may be killed, frozen and filled up, as nothing else of the suite uses them."""

import uuid
from collections.abc import Iterator

import pytest

from servers import mysql, postgres, private, small_disk

# Few, so that to take them all is cheap.
MAX_CONNECTIONS = 20
DISK_MEGABYTES = 12


@pytest.fixture(scope="module")
def victim(
    dialect: str, pytestconfig: pytest.Config
) -> Iterator[postgres.PostgresServer | mysql.MySQLServer]:
    """A private server, in which what was acknowledged is on the disk."""
    if dialect == "postgresql":
        found = postgres.binaries()
        if found is None:
            pytest.skip("the server of TEST_POSTGRES_URL is not harmed")
        settings = (f"max_connections={MAX_CONNECTIONS}", "synchronous_commit=on")
        megabytes = DISK_MEGABYTES * small_disk.available(private.server_user("postgres"))
        with postgres.private_postgres(found, *settings, small_disk_megabytes=megabytes) as server:
            yield server
        return
    program = mysql.find("mariadbd", "mysqld")
    if program is None:
        pytest.skip(mysql.NO_MYSQL)
    options = (f"--max-connections={MAX_CONNECTIONS}", "--innodb-flush-log-at-trx-commit=2")
    megabytes = DISK_MEGABYTES * small_disk.available(private.server_user("mysql"))
    with mysql.private_mysql(program, *options, small_disk_megabytes=megabytes) as server:
        yield server


@pytest.fixture
def victim_url(victim: postgres.PostgresServer | mysql.MySQLServer) -> Iterator[str]:
    """An empty database on it."""
    name = f"faults_{uuid.uuid4().hex[:12]}"
    victim.create_database(name)
    yield victim.url(name)
    victim.drop_database(name)


def wait_until_ready(server: postgres.PostgresServer | mysql.MySQLServer) -> None:
    assert server.keeper is not None
    private.wait_ready(lambda: server.execute("SELECT 1"), server.keeper)
