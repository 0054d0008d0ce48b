"""A primary with hot standbys, for the tests of replicas and failover.

On it a commit waits for the log to be written (`synchronous_commit=on`): else the standbys get a
row when the log's writer wakes up, a quarter of a second later. Nothing waits for a disk.
"""

import contextlib
import os
import signal
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import private
from servers.postgres import PostgresServer, binaries, private_postgres
from servers.standby import running_standby


@dataclass
class Cluster:
    primary: PostgresServer
    standbys: list[PostgresServer]
    running: contextlib.ExitStack

    def add_standby(self) -> None:
        self.standbys.append(self.running.enter_context(running_standby(self.primary)))

    def fail_over(self) -> None:
        """The primary crashes, its first standby takes its place; others follow no more."""
        crash(self.primary)
        self.primary, *self.standbys = self.standbys
        promote(self.primary)

    def caught_up(self, *standbys: PostgresServer) -> None:
        """Wait until these standbys (or all) have replayed what the primary has written."""
        position = self.primary.execute("SELECT pg_current_wal_insert_lsn()::text")[0][0]
        for standby in standbys or self.standbys:
            until(standby, f"pg_last_wal_replay_lsn() >= '{position}'")

    def wait_for_a_standby(self) -> None:
        """From now on a commit returns when one of the standbys has it."""
        there = f"(SELECT count(*) = {len(self.standbys)} FROM pg_stat_replication"
        until(self.primary, f"{there})")
        self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
        self.primary.execute("SELECT pg_reload_conf()")
        until(self.primary, f"{there} WHERE sync_state = 'quorum')")

    def hosts(self, database: str, attributes: str = "primary") -> str:
        """One URL for all servers of the cluster, as libpq takes it."""
        servers = [self.primary, *self.standbys]
        places = ",".join(f"{one.host}:{one.port}" for one in servers)
        password = urllib.parse.quote(self.primary.password, safe="")
        return (
            f"postgresql://{self.primary.user}:{password}@{places}/{database}"
            f"?target_session_attrs={attributes}"
        )


@contextmanager
def running_cluster(standbys: int = 2, *settings: str) -> Iterator[Cluster]:
    """Servers of their own: what a test does to them, it does to nobody else."""
    found = binaries()
    if found is None or not (found / "pg_basebackup").exists():
        raise private.NoServer("No pg_basebackup beside initdb: no standby can be made.")
    # Else the checkpoint of one base backup may remove what the standby before has yet to read.
    settings = ("synchronous_commit=on", "wal_keep_size=1GB", *settings)
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(private_postgres(found, *settings, authentication="password"))
        cluster = Cluster(primary, [], stack)
        for _ in range(standbys):
            cluster.add_standby()
        yield cluster


def until(server: PostgresServer, condition: str) -> None:
    """Wait until a boolean expression is true on this server."""
    deadline = time.monotonic() + 60
    while not server.execute(f"SELECT {condition}")[0][0]:
        assert time.monotonic() < deadline, f"never true: {condition}"
        time.sleep(0.01)


def promote(standby: PostgresServer) -> None:
    """Make it a primary; returns when it takes writes."""
    standby.execute("SELECT pg_promote(true, 60)")
    until(standby, "NOT pg_is_in_recovery()")


def crash(server: PostgresServer) -> None:
    """End it as a power cut would: no checkpoint, no goodbye. It stays down."""
    assert server.keeper is not None
    pid = int((server.keeper.directory / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and not is_zombie(pid):
        assert time.monotonic() < deadline, "the server is still there"
        time.sleep(0.005)


def is_zombie(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    return True


__all__ = ["Cluster", "crash", "promote", "running_cluster", "running_standby", "until"]
