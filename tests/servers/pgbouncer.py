"""A private PgBouncer before a private PostgreSQL."""

import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from servers import private
from servers.mysql import SYSTEM_PATH
from servers.postgres import PostgresServer

NO_PGBOUNCER = (
    "No PgBouncer for the tests: install it (apt-get install pgbouncer). "
    "Every PgBouncer test is SKIPPED."
)


@dataclass
class Bouncer:
    """A running PgBouncer; its `*` database leads to the server behind it."""

    server: PostgresServer
    port: int

    def url(self, database: str, driver: str = "asyncpg") -> str:
        url = self.server.admin.set(
            drivername=f"postgresql+{driver}", port=self.port, database=database
        )
        return url.render_as_string(hide_password=False)


def program() -> str | None:
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path=SYSTEM_PATH)


@contextmanager
def running_pgbouncer(
    server: PostgresServer,
    *,
    mode: str = "transaction",
    server_port: int | None = None,
    patience: int = 20,
) -> Iterator[Bouncer]:
    """`server_port`: where PgBouncer looks for the server, to lead it astray; `patience`: the
    seconds after which it gives a client up that waits for it.
    """
    found = program()
    if found is None:
        raise private.NoServer(NO_PGBOUNCER)
    user = private.server_user("postgres")
    directory = private.make_directory("asp-pb-", user)
    port = private.free_port()
    behind = f"host={server.host} port={server_port or server.port}"
    quoted = server.password.replace('"', '""')
    files = {
        "pgbouncer.ini": f"""
[databases]
* = {behind}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {directory / "users.txt"}
pool_mode = {mode}
default_pool_size = 5
server_login_retry = 0
query_wait_timeout = {patience}
""",
        "users.txt": f'"{server.user}" "{quoted}"\n',
    }
    for name, text in files.items():
        (directory / name).write_text(text)
        if user:
            shutil.chown(directory / name, user)
    keeper: private.Keeper | None = None
    try:
        command = [found, str(directory / "pgbouncer.ini")]
        keeper = private.Keeper(directory, user, signal.SIGTERM, command)
        private.wait_ready(lambda: connectable(port), keeper)
        yield Bouncer(server, port)
    finally:
        if keeper is not None:
            keeper.close()
        shutil.rmtree(directory, ignore_errors=True)


def connectable(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), 1).close()
