"""Servers to plant connection faults on, and the door run against them."""

import contextlib
import io
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg
import pymysql
import pytest
from sqlalchemy import make_url

from projects import warm
from projects.shop import Shop
from servers import certificates, mysql, pgbouncer, postgres, private, standby
from toolkit.connection import command, timing
from toolkit.report import door

SCRIPTS = Path(__file__).parents[2] / "scripts"
DOOR = SCRIPTS / "test-connection.sh"
VARIABLE = "THE_DATABASE"
READ = "import os\n\nfrom sqlalchemy.ext.asyncio import create_async_engine\n\n"
# Whole, quoted in each way, and what is left of it where it is taken apart.
SECRETS = (
    private.PASSWORD,
    quote(private.PASSWORD, safe=""),
    quote_plus(private.PASSWORD),
    *("s3cr", "ss/w", "w%rd", "w%25rd"),
)


@dataclass(frozen=True)
class Run:
    """One way to call the door."""

    url: str | None
    arguments: tuple[str, ...] = ()
    cwd: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)
    variable: str = VARIABLE
    by_name: bool = True
    """Name the variable on the command line; otherwise the project has to lead to it."""
    apart: bool = False
    """In a process of its own."""
    whole: bool = False
    """With as many tasks, queries and connects as a person's run has."""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(self.out)
        return made

    def step(self, layer: str) -> dict[str, Any]:
        return next(step for step in self.document["steps"] if step["layer"] == layer)


def call(run: Run, folder: Path, *more: str) -> Ended:
    """Run the command; fails where the password is in what it says.

    In this process, unless `run` says otherwise: what a new one costs is most of a run that
    ends early. test_connection_door.py has the real door. What is not about them has few tasks,
    queries and connects: they are most of what any other run costs (#10).
    """
    named = ("--url-env", run.variable) if run.by_name else ()
    few = () if run.whole else ("--load", "5")
    arguments = [*few, *named, *run.arguments, *more]
    variables = {"VIRTUAL_ENV": sys.prefix, **run.environment}
    if run.url is not None:
        variables[run.variable] = run.url
    if run.apart:
        environment = {**without_database(os.environ), **variables}
        done = warm.door(DOOR, *arguments, cwd=run.cwd or folder, environment=environment)
        return checked(Ended(done.returncode, done.stdout, done.stderr))
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        for name in set(os.environ) - set(without_database(os.environ)):
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.chdir(run.cwd or folder)
        if not run.whole:
            patch.setattr(timing, "QUERIES", 10)
            patch.setattr(timing, "CONNECTS", 2)
        with door.opened(arguments):
            code = command.main(arguments)
    return checked(Ended(code, out.getvalue(), err.getvalue()))


def without_database(environment: Mapping[str, str]) -> dict[str, str]:
    """What says nothing of a database."""
    ours = ("DATABASE_", "TEST_", "PG")
    return {name: value for name, value in environment.items() if not name.startswith(ours)}


def checked(ended: Ended) -> Ended:
    for secret in SECRETS:
        assert secret not in ended.out + ended.err, "the password is printed"
    return ended


class Bench:
    """Private servers, each started when a fault first needs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.empty = folder / "nothing here"
        self.empty.mkdir()
        self._stack = contextlib.ExitStack()
        self._names = 0

    def close(self) -> None:
        self._stack.close()

    def name(self, prefix: str = "thing") -> str:
        self._names += 1
        return f"{prefix}{self._names}"

    # Servers

    @cached_property
    def pg(self) -> postgres.PostgresServer:
        found = postgres.binaries()
        assert found is not None
        server = self._stack.enter_context(postgres.private_postgres(found))
        server.create_database("shop")
        return server

    @cached_property
    def standby(self) -> postgres.PostgresServer:
        return self._stack.enter_context(standby.running_standby(self.pg))

    @cached_property
    def bouncer(self) -> pgbouncer.Bouncer:
        return self._stack.enter_context(pgbouncer.running_pgbouncer(self.pg))

    @cached_property
    def my(self) -> mysql.MySQLServer:
        program = mysql.find("mariadbd", "mysqld")
        assert program is not None
        made = certificates.make_certificate(
            self.folder, self.authority, "mariadb", alternative="IP:127.0.0.1"
        )
        folder = private.make_directory("asp-mc-", private.server_user("mysql"))
        self._stack.callback(shutil.rmtree, folder)
        for file in (made.file, made.key):
            shutil.copy(file, folder)
            (folder / file.name).chmod(0o644)
        options = (f"--ssl-cert={folder / made.file.name}", f"--ssl-key={folder / made.key.name}")
        server = self._stack.enter_context(mysql.private_mysql(program, *options))
        server.create_database("shop")
        return server

    @cached_property
    def stuck(self) -> str:
        """A role with a limit of 8 connections, 5 of which rest in a transaction."""
        role = self.role("LOGIN CONNECTION LIMIT 8")
        url = self.pg.admin
        for _ in range(5):
            connection = psycopg.connect(
                host=url.host,
                port=url.port,
                user=role,
                password=private.PASSWORD,
                dbname="shop",
            )
            self._stack.callback(connection.close)
            connection.execute("SELECT 1")
        return role

    @cached_property
    def authority(self) -> certificates.Certificate:
        return certificates.make_authority(self.folder)

    @cached_property
    def has_tls(self) -> bool:
        """Is this PostgreSQL built with TLS? Not all that come in a wheel are."""
        rows = self.pg.execute("SELECT setting FROM pg_settings WHERE name = 'ssl_library'")
        return bool(rows and rows[0][0])

    # PostgreSQL

    def url(self, database: str = "shop", driver: str = "asyncpg", **changes: Any) -> str:
        url = make_url(self.pg.url(database, driver))
        query = changes.pop("query", {})
        return url.set(**changes).update_query_dict(query).render_as_string(hide_password=False)

    def role(self, *options: str) -> str:
        """A new role that may log in with the tests' password."""
        name = self.name("role")
        password = private.PASSWORD.replace("'", "''")
        self.pg.execute(
            f"CREATE ROLE {name} PASSWORD '{password}' {' '.join(options or ['LOGIN'])}"
        )
        return name

    def database(self, options: str = "") -> str:
        name = self.name("database")
        self.pg.execute(f"CREATE DATABASE {name} {options}")
        return name

    def reload(self, setting: str, value: str | None) -> None:
        change = f"SET {setting} = '{value}'" if value is not None else f"RESET {setting}"
        self.pg.execute(f"ALTER SYSTEM {change}")
        self.pg.execute("SELECT pg_reload_conf()")

    @contextlib.contextmanager
    def tls(self, *, alternative: str = "IP:127.0.0.1", days: int = 30) -> Iterator[Path]:
        """The main server with TLS and a certificate; the authority's file."""
        name = self.name("certificate")
        made = certificates.make_certificate(
            self.folder, self.authority, name, alternative=alternative, days=days
        )
        assert self.pg.keeper is not None
        for file in (made.file, made.key):
            there = self.pg.keeper.directory / file.name
            shutil.copy(file, there)
            there.chmod(0o600)
            user = private.server_user("postgres")
            if user:
                shutil.chown(there, user)
            self.reload("ssl_cert_file" if file is made.file else "ssl_key_file", str(there))
        self.reload("ssl", "on")
        self.wait_for_tls(name)
        try:
            yield self.authority.file
        finally:
            self.reload("ssl", "off")
            self.wait_for_tls(None)

    def wait_for_tls(self, name: str | None) -> None:
        """Until new connections have what was reloaded."""
        wanted = "off" if name is None else name
        column = "current_setting('ssl')" if name is None else "current_setting('ssl_cert_file')"
        postgres.wait_for(f"SELECT {column} LIKE '%{wanted}%'", self.pg, "postgres")
        if name is not None:
            postgres.wait_for("SELECT current_setting('ssl') = 'on'", self.pg, "postgres")

    @contextlib.contextmanager
    def rule(self, line: str) -> Iterator[None]:
        """A first line in pg_hba.conf."""
        assert self.pg.keeper is not None
        path = self.pg.keeper.directory / "data" / "pg_hba.conf"
        before = path.read_text()
        path.write_text(f"{line}\n{before}")
        self.pg.execute("SELECT pg_reload_conf()")
        kind, database, user = line.split()[:3]
        rule = f"type = '{kind}' AND '{user}' = ANY(user_name) AND '{database}' = ANY(database)"
        postgres.wait_for(
            f"SELECT count(*) > 0 FROM pg_hba_file_rules WHERE {rule}", self.pg, "postgres"
        )
        try:
            yield
        finally:
            path.write_text(before)
            self.pg.execute("SELECT pg_reload_conf()")

    # MariaDB

    def my_url(self, database: str = "shop", **changes: Any) -> str:
        url = make_url(self.my.url(database))
        return url.set(**changes).render_as_string(hide_password=False)

    def account(self, grant: str = "ALL ON *.*", *options: str) -> str:
        name = self.name("user")
        password = private.PASSWORD.replace("'", "''")
        self.my.execute(f"CREATE USER '{name}'@'127.0.0.1' IDENTIFIED BY '{password}'")
        self.my.execute(f"GRANT {grant} TO '{name}'@'127.0.0.1' {' '.join(options)}")
        return name

    @contextlib.contextmanager
    def my_global(self, variable: str, value: str) -> Iterator[None]:
        admin = self.my.admin
        # One connection: the setting may keep the next one out.
        connection = pymysql.connect(
            host=admin.host,
            port=admin.port or 3306,
            user=admin.username,
            password=str(admin.password),
            autocommit=True,
            ssl_disabled=True,  # to be prepared for it costs more than all else here
        )
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(f"SELECT @@global.{variable}")
            (before,) = cursor.fetchone() or ("",)
            cursor.execute(f"SET GLOBAL {variable} = {value}")
            try:
                yield
            finally:
                again = before if isinstance(before, int) else f"'{before}'"
                cursor.execute(f"SET GLOBAL {variable} = {again}")

    # Projects and files

    def shop(self, **files: str) -> Shop:
        """A project; `db` and `main` replace the text of its modules."""
        shop = Shop(self.folder / self.name("shop "))
        for name, text in files.items():
            shop.write(f"app/{name}.py", text)
        return shop

    def engine_project(self, arguments: str = "") -> Shop:
        """A project that hands its URL to create_async_engine as it is."""
        text = f'engine = create_async_engine(os.environ["DATABASE_URL"]{arguments})\n'
        return self.shop(engine=READ + text)

    def file(self, content: bytes = b"") -> Path:
        path = self.folder / self.name("data ") / "app.db"
        path.parent.mkdir()
        path.write_bytes(content)
        return path


@contextlib.contextmanager
def listener(answer: bytes | None, *, speaks_first: bool = False) -> Iterator[int]:
    """A port where somebody else listens. `answer` None: it accepts, and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        stopped = threading.Event()

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(60)
                    with contextlib.suppress(OSError):
                        if not speaks_first:
                            connection.recv(64)
                        if answer is None:
                            stopped.wait(60)
                        else:
                            connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stopped.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@contextlib.contextmanager
def firewalled() -> Iterator[int]:
    """A port that drops what comes, as a firewall does: its queue of connections is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(server.getsockname())
        yield server.getsockname()[1]


@contextlib.contextmanager
def slow_line(port: int, delay: float) -> Iterator[int]:
    """A port that leads to another one; what the server says comes `delay` seconds later."""

    def copy(source: socket.socket, target: socket.socket, wait: float) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                time.sleep(wait)
                target.sendall(data)
        for side in (source, target):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def lead(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=copy, args=(server, client, delay), daemon=True)
            back.start()
            copy(client, server, 0)
            back.join()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = door.accept()
                threading.Thread(target=lead, args=(client,), daemon=True).start()

    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(16)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield door.getsockname()[1]
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@contextlib.contextmanager
def module_that_is_missing(name: str) -> Iterator[dict[str, str]]:
    """Variables under which Python does not find a package that is installed."""
    with tempfile.TemporaryDirectory() as folder:
        text = f"raise ModuleNotFoundError(\"No module named '{name}'\", name={name!r})\n"
        (Path(folder) / f"{name}.py").write_text(text)
        yield {"PYTHONPATH": folder}
