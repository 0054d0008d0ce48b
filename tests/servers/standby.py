"""A hot standby of a private PostgreSQL."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from servers import private
from servers.postgres import PostgresServer, binaries, fetch, left, reachable_binaries


@contextmanager
def running_standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    """A server in recovery with the primary's databases and roles."""
    found = binaries()
    assert found is not None
    user = private.server_user("postgres")
    directory = private.make_directory("asp-sb-", user)
    keeper: private.Keeper | None = None
    try:
        programs = reachable_binaries(found, directory, user)
        data, port = directory / "data", private.free_port()
        private.run_as(
            user,
            [
                str(programs / "pg_basebackup"),
                *("-h", primary.host, "-p", str(primary.port), "-U", primary.user),
                *("-D", str(data), "-X", "stream", "-c", "fast", "--no-sync", "-R"),
            ],
            cwd=directory,
            env={**os.environ, "PGPASSWORD": primary.password, "LC_ALL": "C.UTF-8"},
        )
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(port)]
        for option in (
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={directory}",
            "fsync=off",
            "wal_retrieve_retry_interval=100ms",  # it is back soon when the primary was away
        ):
            command += ["-c", option]
        keeper = private.Keeper(directory, user, signal.SIGINT, command)
        admin = primary.admin.set(port=port)

        def in_recovery() -> bool:
            rows = private.run_async(lambda: fetch(admin, "SELECT pg_is_in_recovery()"))
            return bool(rows[0][0])

        assert private.wait_ready(in_recovery, keeper)
        with left(PostgresServer(admin, primary.version, keeper)) as server:
            yield server
    finally:
        if keeper is not None:
            keeper.close()
        shutil.rmtree(directory, ignore_errors=True)
