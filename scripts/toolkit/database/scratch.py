"""A scratch database: made for one run, reached by nobody else, always dropped.

PostgreSQL and MySQL: on the server that is named if its role may create databases,
else on a private server started from binaries on the machine. SQLite: a file.

A scratch is called `alembic_scratch_<pid>_<hex>`; the hex begins with a mark of this
machine. A run that was killed leaves it behind, and the next run drops every scratch
of this machine whose process is gone.
"""

import asyncio
import concurrent.futures
import contextlib
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from toolkit.database.errors import DatabaseError
from toolkit.database.private_server import NoBinaries, private_server
from toolkit.database.urls import (
    ASYNC_DRIVERS,
    SCRATCH_VARIABLE,
    SYNC_DRIVERS,
    TITLES,
    Kind,
    driver_for,
    installed,
    kind_of,
    mask,
    secrets_of,
)
from toolkit.project.facts import Problem
from toolkit.report.exits import Exit

PREFIX = "alembic_scratch_"
NAME = re.compile(rf"{PREFIX}(?P<pid>\d+)_(?P<machine>[0-9a-f]{{6}})[0-9a-f]{{8}}")
CONNECT_SECONDS = 10
STATEMENT_SECONDS = 60
INSTALL = {"postgresql": "asyncpg", "mysql": "aiomysql", "sqlite": "aiosqlite"}


@dataclass(frozen=True)
class Scratch:
    """An empty database of our own."""

    kind: Kind
    url: URL
    """With an installed driver, async where there is one."""
    origin: str
    """Where it is, in words and without a password."""
    notes: tuple[str, ...] = ()
    """Why a better place was not taken."""


@contextlib.contextmanager
def open_scratch(kind: Kind, *, server_url: URL | None) -> Iterator[Scratch]:
    """Make an empty database; drop it on the way out, also after an interrupt.

    `server_url` is a server to try first (the project's own); the environment variable
    SCRATCH_DATABASE_URL overrides it. Raises DatabaseError when no place can be had.
    """
    sweep_files()
    if kind == "sqlite":
        with sqlite_scratch() as scratch:
            yield scratch
        return
    require_driver(kind)
    notes: list[str] = []
    server = wanted_server(kind, server_url)
    if server is not None:
        name = scratch_name()
        admin = None
        try:
            admin = create_database(server, name)
        except (SQLAlchemyError, OSError, TimeoutError, ValueError) as error:
            notes.append(why_not(server, error))
            if os.environ.get(SCRATCH_VARIABLE):
                raise no_scratch(kind, notes) from None
        except BaseException:
            drop_quietly(server, name)
            raise
        if admin is not None:
            try:
                origin = f"on the server {server.host or 'local'}"
                yield Scratch(kind, admin.set(database=name), origin)
            finally:
                drop_quietly(admin, name)
            return
    with contextlib.ExitStack() as stack:
        try:
            private = stack.enter_context(private_server(kind, scratch_name()))
        except NoBinaries as error:
            notes.append(str(error))
            raise no_scratch(kind, notes) from None
        driver = driver_for(kind)
        admin = private.set(drivername=f"{kind}+{driver}")
        name = scratch_name()
        admin = create_database(admin, name)
        # The server goes, and its data with it: nothing to drop.
        yield Scratch(kind, admin.set(database=name), "on a private server", tuple(notes))


def wanted_server(kind: Kind, server_url: URL | None) -> URL | None:
    given = os.environ.get(SCRATCH_VARIABLE)
    if given:
        try:
            server_url = make_url(given)
        except SQLAlchemyError:
            server_url = None
        if server_url is None or kind_of(server_url.drivername) != kind:
            raise DatabaseError(
                Problem(
                    "scratch-url",
                    f"{SCRATCH_VARIABLE} is not the URL of a {TITLES[kind]} server.",
                    "Set it to one whose role may create databases, or unset it.",
                    Exit.NO_SCRATCH,
                )
            )
    if server_url is None or kind_of(server_url.drivername) != kind:
        return None
    return server_url.set(drivername=usable_driver(kind, server_url))


def usable_driver(kind: Kind, url: URL) -> str:
    """The URL's own driver if it says one, else one that is installed."""
    backend, _, named = url.drivername.partition("+")
    known = dict((*ASYNC_DRIVERS[kind], *SYNC_DRIVERS[kind]))
    driver = named if installed(known.get(named, named) or "-") else driver_for(kind)
    return f"{'mariadb' if backend == 'mariadb' else kind}+{driver}"


def require_driver(kind: Kind) -> None:
    if driver_for(kind) is None:
        raise DatabaseError(
            Problem(
                "driver",
                f"No {TITLES[kind]} driver is installed in this environment.",
                f"Install one: pip install {INSTALL[kind]}",
                Exit.MISSING_DEPENDENCY,
            )
        )


def no_scratch(kind: Kind, notes: list[str]) -> DatabaseError:
    return DatabaseError(
        Problem(
            "no-scratch",
            f"No scratch {TITLES[kind]} database can be made: {'; '.join(notes)}.",
            f"Set the environment variable {SCRATCH_VARIABLE} to a {TITLES[kind]} server whose role"
            " may create databases (--scratch-url for a URL without a password), or install the"
            f" {TITLES[kind]} server's programs on this machine.",
            Exit.NO_SCRATCH,
        )
    )


def why_not(server: URL, error: BaseException) -> str:
    reason = str(getattr(error, "orig", None) or error or type(error).__name__)
    first_line = mask(reason, secrets_of(os.environ, [server])).strip().splitlines()
    return f"{server.host or 'the local server'}: {first_line[0] if first_line else 'no answer'}"


def machine() -> str:
    """Six hex digits for this host and process-id space: pids mean nothing elsewhere."""
    space = ""
    with contextlib.suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:6]


def scratch_name() -> str:
    return f"{PREFIX}{os.getpid()}_{machine()}{secrets.token_hex(4)}"


def is_left_over(name: str) -> bool:
    """Was this made on this machine by a process that is gone?"""
    found = NAME.match(name)
    return bool(found) and found["machine"] == machine() and not alive(int(found["pid"]))  # type: ignore[index]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextlib.contextmanager
def sqlite_scratch() -> Iterator[Scratch]:
    folder = Path(tempfile.gettempdir(), scratch_name())
    try:
        folder.mkdir(mode=0o700)
        driver = driver_for("sqlite") or "pysqlite"
        url = URL.create(f"sqlite+{driver}", database=str(folder / "scratch.db"))
        yield Scratch("sqlite", url, "in a temporary file")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_files() -> None:
    """Remove what dead runs of this user left in the temporary folders."""
    for parent in {tempfile.gettempdir(), "/tmp"}:  # noqa: S108  (private servers' sockets)
        for entry in Path(parent).glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                facts = entry.lstat()
                ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid()
                if ours and is_left_over(entry.name):
                    shutil.rmtree(entry, ignore_errors=True)


def create_database(server: URL, name: str) -> URL:
    """Create `name`, sweep what dead runs left; the URL that administers both."""
    kind = kind_of(server.drivername)
    if kind == "mysql":
        admin = server.set(database=None)
        statement = f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4"
    else:
        admin = maintenance_url(server)
        statement = f'CREATE DATABASE "{name}"'
    execute(admin, statement)
    with contextlib.suppress(SQLAlchemyError, OSError, TimeoutError):
        for (left,) in execute(admin, LIST[kind or "postgresql"]):
            if is_left_over(str(left)):
                drop_quietly(admin, str(left))
    return admin


LIST = {
    "postgresql": "SELECT datname FROM pg_database",
    "mysql": "SELECT schema_name FROM information_schema.schemata",
}


def maintenance_url(server: URL) -> URL:
    """A database of this PostgreSQL server that exists: the project's own may not yet."""
    error: Exception | None = None
    for database in dict.fromkeys((server.database or "postgres", "postgres", "template1")):
        candidate = server.set(database=database)
        try:
            execute(candidate, "SELECT 1")
        except (SQLAlchemyError, OSError) as failed:
            error = error or failed
            if "does not exist" not in str(failed):
                break
        else:
            return candidate
    assert error is not None
    raise error


def drop_quietly(admin: URL, name: str) -> None:
    """Drop a scratch database; a server that is gone took it along or keeps it for the sweep."""
    with contextlib.suppress(SQLAlchemyError, OSError, TimeoutError):
        if kind_of(admin.drivername) == "mysql":
            execute(admin, f"DROP DATABASE IF EXISTS `{name}`")
            return
        execute(
            admin,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"  # noqa: S608
            f" WHERE datname = '{name}' AND pid <> pg_backend_pid()",
        )
        execute(admin, f'DROP DATABASE IF EXISTS "{name}"')


def execute(url: URL, statement: str) -> list[Any]:
    """Run one statement in autocommit mode; its rows."""
    if url.get_dialect().is_async:
        # In a thread: the caller may itself be inside an event loop.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, execute_async(url, statement)).result()
    engine = create_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=time_limit(url)
    )
    try:
        with warnings.catch_warnings(), engine.connect() as connection:
            warnings.simplefilter("ignore")
            result = connection.execute(text(statement))
            return list(result) if result.returns_rows else []
    finally:
        engine.dispose()


async def execute_async(url: URL, statement: str) -> list[Any]:
    engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    connection = await engine.connect()
            except (SQLAlchemyError, OSError):
                raise
            except Exception as error:  # asyncpg's own, which SQLAlchemy 2.0 lets through
                raise OperationalError(None, None, error) from None
            try:
                async with asyncio.timeout(STATEMENT_SECONDS):
                    result = await connection.execute(text(statement))
                    return list(result) if result.returns_rows else []
            finally:
                await connection.close()
    finally:
        await engine.dispose()


def time_limit(url: URL) -> dict[str, int]:
    name = "timeout" if url.get_driver_name() == "pg8000" else "connect_timeout"
    return {name: CONNECT_SECONDS}
