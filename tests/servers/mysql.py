"""A MariaDB or MySQL for the tests: TEST_MYSQL_URL's, or a private one."""

import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
from sqlalchemy import make_url
from sqlalchemy.engine import URL

from servers import private, small_disk

NO_MYSQL = (
    "No MariaDB or MySQL for the tests: set TEST_MYSQL_URL or run `make system-deps`. "
    "Every MySQL test is SKIPPED."
)
SMALL_DISK = "small"
SYSTEM_PATH = "/usr/sbin:/usr/local/sbin:/opt/homebrew/bin:/usr/libexec"


@dataclass
class MySQLServer:
    """A running server and an account that may create databases."""

    admin: URL
    version: str
    keeper: private.Keeper | None

    @property
    def host(self) -> str:
        return self.admin.host or "127.0.0.1"

    @property
    def port(self) -> int:
        return self.admin.port or 3306

    @property
    def user(self) -> str:
        return self.admin.username or ""

    @property
    def password(self) -> str:
        return str(self.admin.password or "")

    def url(self, database: str, driver: str = "aiomysql") -> str:
        url = self.admin.set(drivername=f"mysql+{driver}", database=database)
        return url.render_as_string(hide_password=False)

    def execute(self, statement: str, database: str | None = None) -> Any:
        return query(self.admin, [statement], database)

    def execute_all(self, statements: Sequence[str], database: str) -> None:
        """On one connection: each of its own takes longer than most statements do (#10)."""
        query(self.admin, statements, database)

    def create_database(self, name: str) -> None:
        self.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS `{name}`")


def query(admin: URL, statements: Sequence[str], database: str | None = None) -> Any:
    """The rows of the last one."""
    return run(admin, statements, database, tls=offers_tls(admin))


@functools.cache
def offers_tls(admin: URL) -> bool:
    """Asked once: to be prepared for it costs PyMySQL ten times what a connection does."""
    return bool(run(admin, ["SHOW SESSION STATUS LIKE 'Ssl_cipher'"], None, tls=True)[0][1])


def run(admin: URL, statements: Sequence[str], database: str | None, *, tls: bool) -> Any:
    connection = pymysql.connect(
        host=admin.host,
        port=admin.port or 3306,
        user=admin.username,
        password=str(admin.password or ""),
        database=database,
        autocommit=True,
        connect_timeout=300,  # only ends a hang
        ssl_disabled=not tls,
    )
    with closing(connection), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall()


def find(*names: str) -> str | None:
    path = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def available() -> bool:
    return bool(os.environ.get("TEST_MYSQL_URL") or find("mariadbd", "mysqld"))


@contextmanager
def running_mysql() -> Iterator[MySQLServer]:
    given = os.environ.get("TEST_MYSQL_URL")
    if given:
        admin = make_url(given)
        yield MySQLServer(admin, server_version(admin), None)
        return
    program = find("mariadbd", "mysqld")
    if program is None:
        raise private.NoServer(NO_MYSQL)
    with private_mysql(program) as server:
        yield server


@contextmanager
def private_mysql(
    program: str, *options: str, small_disk_megabytes: int = 0
) -> Iterator[MySQLServer]:
    """A server on a free port with throw-away data; `options` as on its command line.

    With a small disk, that is at `SMALL_DISK` below the server's directory.
    """
    user = private.server_user("mysql")
    directory = private.make_directory("asp-my-", user)
    keeper: private.Keeper | None = None
    try:
        initialise(program, directory, user)
        port = private.free_port()
        before: list[str] = []
        if small_disk_megabytes:
            folder = private.make_folder(directory / SMALL_DISK, user)
            before = small_disk.before(folder, small_disk_megabytes)
        keeper = private.Keeper(
            directory,
            user,
            signal.SIGTERM,
            [
                *before,
                program,
                "--no-defaults",
                f"--datadir={directory / 'data'}",
                f"--socket={directory / 'mysql.sock'}",
                f"--port={port}",
                "--bind-address=127.0.0.1",
                f"--pid-file={directory / 'mysql.pid'}",
                f"--tmpdir={directory}",
                "--skip-name-resolve",
                "--innodb-flush-log-at-trx-commit=0",
                # MariaDB's default lacks what MySQL 8 refuses: be as strict as MySQL.
                "--sql-mode=ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,"
                "NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
                *options,
            ],
        )
        start = URL.create("mysql", "root", "", "127.0.0.1", port)
        private.wait_ready(lambda: server_version(start), keeper)
        account = "'tests'@'127.0.0.1'"
        made = f"CREATE USER {account} IDENTIFIED BY '{private.PASSWORD}'"
        query(start, [made, f"GRANT ALL ON *.* TO {account} WITH GRANT OPTION"])
        admin = start.set(username="tests", password=private.PASSWORD)
        yield MySQLServer(admin, server_version(admin), keeper)
    finally:
        if keeper is not None:
            keeper.close()
        shutil.rmtree(directory, ignore_errors=True)


def initialise(program: str, directory: Path, user: str) -> None:
    data = directory / "data"
    installer = find("mariadb-install-db") if "mariadb" in Path(program).name else None
    if installer:
        command = [
            installer,
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ]
    else:
        command = [program, "--no-defaults", "--initialize-insecure", f"--datadir={data}"]
    # In a folder that servers share, each that starts removes the others' temporary tables (#10).
    command.append(f"--tmpdir={directory}")
    try:
        private.run_as(user, command, cwd=directory)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{command[0]} failed: {error.stdout}{error.stderr}") from error


def server_version(admin: URL) -> str:
    return str(query(admin, ["SELECT VERSION()"])[0][0])
