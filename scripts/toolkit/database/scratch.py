"""A scratch database: made for one run, reached by nobody else, always dropped.

SQLite: a file. PostgreSQL and MySQL: on a private server, started from programs of this
machine, unless a person named another one. What runs in it is code that nobody has read, so
the server that holds other things is the last choice, and needs its conditions:

1. SCRATCH_DATABASE_URL or --scratch-url: an explicit wish
2. the project's own server, where --scratch-on or the project's configuration names it
3. a private server
4. the project's own server, on this machine and by no sign production
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from toolkit.database import private_rights
from toolkit.database.errors import DatabaseError
from toolkit.database.folders import PREFIX, new_name, own_folder, sweep_folders
from toolkit.database.places import (
    as_drivers_read,
    install_line,
    is_local,
    is_named,
    server_name,
    signs_here,
)
from toolkit.database.private_server import ROLE, NoBinaries, PrivateServer, private_server
from toolkit.database.session import FAILURES, Session, execute
from toolkit.database.shared_mysql import open_mysql
from toolkit.database.shared_postgresql import open_postgres
from toolkit.database.shared_server import NotHere, Shared, Signs, first_line
from toolkit.database.urls import (
    ASYNC_DRIVERS,
    SCRATCH_VARIABLE,
    SYNC_DRIVERS,
    TITLES,
    Kind,
    driver_for,
    installed,
    kind_of,
)
from toolkit.project.facts import Problem
from toolkit.report.exits import Exit

__all__ = ["PREFIX", "Scratch", "Wish", "execute", "open_scratch", "own_folder"]
INSTALL = {"postgresql": "asyncpg", "mysql": "aiomysql", "sqlite": "aiosqlite"}


@dataclass(frozen=True)
class Wish:
    """What was said about where a proof may run."""

    named: str | None = None
    """--scratch-on: the project's own server, by the name that is printed for it."""
    remembered: tuple[str, ...] = ()
    """The same in the project's configuration. It does not make production harmless."""
    root: Path | None = None
    """Of the project, whose `.env` may say that it is production."""
    beside: bool = False
    """Another database of the project's: what is named is for the one that it connects to."""


@dataclass(frozen=True)
class Scratch:
    """An empty database of our own."""

    kind: Kind
    url: URL
    """With an installed driver, async where there is one."""
    origin: str
    """Where it is, in words and without a password."""
    another: Callable[[], AbstractContextManager[URL]]
    """One more empty database beside it, for the same role."""
    notes: tuple[str, ...] = ()
    """Why a better place was not taken."""
    private: bool = True
    """Is everything there ours?"""
    on_demand: tuple[str, ...] = ()
    """What statements may take for granted and get made: extensions, roles, schemas."""
    check: Callable[[], None] = lambda: None
    """Raises DatabaseError if the server it is on is not as it was."""


@contextlib.contextmanager
def open_scratch(
    kind: Kind, *, server_url: URL | None, wish: Wish | None = None
) -> Iterator[Scratch]:
    """Make an empty database; drop it on the way out, also after an interrupt.

    `server_url` is the project's own server, or None. Raises DatabaseError when no place can
    be had, and at the end when a shared server is not as it was.
    """
    sweep_folders()
    if kind == "sqlite":
        with sqlite_scratch() as scratch:
            yield scratch
        return
    require_driver(kind)
    with ExitStack() as stack:
        yield find_place(stack, kind, server_url, wish or Wish())


def find_place(stack: ExitStack, kind: Kind, server_url: URL | None, wish: Wish) -> Scratch:
    """The best place that can be had, entered on `stack`. Raises DatabaseError."""
    reasons: list[str] = []

    def on_server(url: URL, signs: Signs) -> Scratch | None:
        try:
            return stack.enter_context(shared_scratch(kind, url, signs, reasons))
        except (NotHere, *FAILURES) as error:
            reasons.append(f"{server_name(url, kind)}: {first_line(error, url)}")
            return None

    given = os.environ.get(SCRATCH_VARIABLE)
    if given and not (wish.beside and kind_of(given.partition(":")[0]) != kind):
        found = on_server(given_server(kind, given), Signs([], binding=False))
        if found is None:
            raise no_scratch(kind, reasons)
        return found
    own = own_server(kind, server_url)
    signs = signs_here(own, wish.root) if own is not None else []
    named = wish.named is not None
    if named:
        require_name(kind, own, str(wish.named))
    remembered = own is not None and any(is_named(own, kind, one) for one in wish.remembered)
    if own is not None and (named or remembered):
        found = on_server(own, Signs(signs, binding=not named))
        if found is not None:
            return found
        if named:
            raise no_scratch(kind, reasons)
    try:
        return stack.enter_context(private_scratch(kind, reasons))
    except NoBinaries as error:
        reasons.append(str(error))
    if own is not None and not remembered:
        if is_local(own):
            found = on_server(own, Signs(signs, binding=True))
            if found is not None:
                return found
        else:
            reasons.append(f"{server_name(own, kind)} is not on this machine")
    raise no_scratch(kind, reasons, own)


def given_server(kind: Kind, given: str) -> URL:
    try:
        url: URL | None = make_url(given)
    except (SQLAlchemyError, ValueError):
        url = None
    if url is None or kind_of(url.drivername) != kind:
        raise DatabaseError(
            Problem(
                "scratch-url",
                f"{SCRATCH_VARIABLE} is not the URL of a {TITLES[kind]} server.",
                "Set it to one whose role may make roles and databases, or unset it.",
                Exit.NO_SCRATCH,
            )
        )
    return url.set(drivername=usable_driver(kind, url))


def own_server(kind: Kind, server_url: URL | None) -> URL | None:
    if server_url is None or kind_of(server_url.drivername) != kind:
        return None
    url = server_url.set(drivername=usable_driver(kind, server_url))
    return as_drivers_read(url) if kind == "postgresql" else url


def require_name(kind: Kind, own: URL | None, named: str) -> None:
    """Raise DatabaseError unless --scratch-on names the project's server: a script that has the
    flag must not open another server when the project's address changes.
    """
    if own is not None and is_named(own, kind, named):
        return
    unknown = "not known: its URL is not set, or PGHOSTADDR or PGSERVICE goes before it"
    known = server_name(own, kind) if own is not None else unknown
    raise DatabaseError(
        Problem(
            "scratch-on",
            "--scratch-on does not name the project's server.",
            f"That is {known}; the option takes its name in this form, without a password.",
            Exit.USAGE,
        )
    )


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


def no_scratch(kind: Kind, reasons: list[str], own: URL | None = None) -> DatabaseError:
    allow = f"--scratch-on {server_name(own, kind)} allows the project's own; " if own else ""
    return DatabaseError(
        Problem(
            "no-scratch",
            f"No scratch {TITLES[kind]} database can be made: {'; '.join(reasons)}.",
            f"{install_line(kind)} -- a private server is started from its programs for each run."
            f" Or: {allow}the environment variable {SCRATCH_VARIABLE} names a server whose role"
            " may make roles and databases.",
            Exit.NO_SCRATCH,
        )
    )


@contextlib.contextmanager
def shared_scratch(kind: Kind, url: URL, signs: Signs, reasons: list[str]) -> Iterator[Scratch]:
    """On a server that holds other things. Raises NotHere or one of FAILURES before it begins."""
    server = open_postgres(url) if kind == "postgresql" else open_mysql(url)
    try:
        found = signs.check(server.signs())
        notes = [*reasons, *(f"{server.name}: {sign}" for sign in found)]
        shared = Shared(server)
        address = shared.begin()
        try:
            yield Scratch(
                kind,
                address,
                f"on the server {server.name}",
                another=shared.another,
                notes=tuple(notes),
                private=False,
                on_demand=server.on_demand,
                check=shared.compare,
            )
        except Exception:
            shared.drop(str(address.database))
            shared.compare()  # what it did weighs more than that it failed
            raise
        except BaseException:  # an interrupt
            server.session.hurried = True
            shared.drop(str(address.database))
            raise
        shared.drop(str(address.database))
        shared.compare()
    finally:
        server.session.close()


@contextlib.contextmanager
def private_scratch(kind: Kind, reasons: list[str]) -> Iterator[Scratch]:
    """On a server of our own. Raises NoBinaries. The server goes, and its data with it."""
    name = new_name()
    statements = private_rights.mysql_private(ROLE, name) if kind == "mysql" else []
    with private_server(kind, statements) as server:
        driver = f"{kind}+{driver_for(kind)}"
        if kind == "postgresql":
            template = server.administrator.set(drivername=driver, database="template1")
            made = [
                *private_rights.postgres_private(ROLE),
                f'CREATE DATABASE "{name}" OWNER {ROLE}',
            ]
            try:
                run_all(template, made)
            except FAILURES as error:
                said = first_line(error, template)
                raise NoBinaries(f"the private server is of no use: {said}") from None
        yield Scratch(
            kind,
            server.role.set(drivername=driver, database=name),
            "on a private server",
            another=lambda: private_another(kind, server, driver),
            notes=tuple(reasons),
            on_demand=("extensions", "roles", "schemas"),
        )


@contextlib.contextmanager
def private_another(kind: Kind, server: PrivateServer, driver: str) -> Iterator[URL]:
    name = new_name()
    if kind == "postgresql":
        administrator = server.administrator.set(drivername=driver, database="postgres")
        run_all(administrator, [f'CREATE DATABASE "{name}" OWNER {ROLE}'])
    else:
        administrator = server.administrator.set(drivername=driver)
        run_all(administrator, private_rights.mysql_database(ROLE, name))
    yield server.role.set(drivername=driver, database=name)


def run_all(url: URL, statements: list[str]) -> None:
    session = Session(url)
    try:
        for statement in statements:
            session.run(statement)
    finally:
        session.close()


@contextlib.contextmanager
def sqlite_scratch() -> Iterator[Scratch]:
    with own_folder() as folder:
        number = iter(range(1, 1000))

        def url(name: str) -> URL:
            driver = driver_for("sqlite") or "pysqlite"
            return URL.create(f"sqlite+{driver}", database=str(folder / name))

        @contextlib.contextmanager
        def another() -> Iterator[URL]:
            yield url(f"scratch{next(number)}.db")

        yield Scratch("sqlite", url("scratch.db"), "in a temporary file", another)
