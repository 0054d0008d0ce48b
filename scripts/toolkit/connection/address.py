"""Scheme, driver and address: what can be told of a URL before anything is sent."""

import importlib
import importlib.metadata
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from toolkit.connection.engine_settings import EngineSettings
from toolkit.connection.steps import Layer, Status, Step, Verdict, judged, ok, stop
from toolkit.connection.translate import Tls, Translated, translate
from toolkit.database.urls import ASYNC_DRIVERS, KINDS, SYNC_DRIVERS, TITLES, Kind, kind_of
from toolkit.project.dependencies import install_line
from toolkit.project.facts import Project
from toolkit.report.exits import Exit
from toolkit.report.quoting import command

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

QUOTE = "Quote user and password: python -c 'import getpass, urllib.parse as u;" + (
    ' print(u.quote(getpass.getpass(), safe=""))\''
)
INSTALL = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "sqlalchemy": "sqlalchemy[asyncio]",
    "greenlet": "sqlalchemy[asyncio]",
}
EXAMPLE = {
    "postgresql": "postgresql+asyncpg://user:password@host:5432/database",
    "mysql": "mysql+aiomysql://user:password@host:3306/database",
    "sqlite": "sqlite+aiosqlite:///path/to/file.db",
}
PORTS: dict[Kind, int] = {"postgresql": 5432, "mysql": 3306}
FLOOR: dict[tuple[int, ...], tuple[int, ...]] = {(2, 0): (2, 0, 58), (2, 1): (2, 1, 9)}


@dataclass(frozen=True)
class Target:
    """A database as it is going to be connected to."""

    kind: Kind
    url: "URL"
    arguments: dict[str, Any]
    """For the driver: from the URL, and what the project gives its engine."""
    tls: Tls
    hosts: tuple[tuple[str, int], ...] = ()
    """Empty where a Unix socket is used, or where the driver chooses."""
    socket: str | None = None
    threaded: bool = False
    """The application is synchronous, and so is its driver."""
    install: str = "python -m pip install"

    @property
    def driver(self) -> str:
        return str(self.url.get_driver_name())


def check_driver(text: str, settings: EngineSettings, project: Project | None) -> tuple[str, Step]:
    """The scheme to use, with an async driver that imports. Raises Broken."""
    match = re.match(r"([A-Za-z][\w+.-]*)://", text)
    if match is None:
        stop(
            Layer.DRIVER,
            "This is no URL: it does not begin with a scheme and ://."
            + (" It begins with a quotation mark." if text[:1] in "'\"" else ""),
            f"Write it as {EXAMPLE['postgresql']}",
            code=Exit.URL,
        )
    scheme = match[1]
    kind = kind_of(scheme)
    backend, _, named = scheme.partition("+")
    if kind is None:
        stop(
            Layer.DRIVER,
            f"SQLAlchemy or this script has no database {backend!r}.",
            f"Write the scheme of yours: {', '.join(sorted(set(KINDS) - {'postgres'}))}.",
            code=Exit.URL,
        )
    threaded = is_threaded(kind, named, settings)
    needed = ["sqlalchemy"] if threaded else ["sqlalchemy", "greenlet"]
    versions = check_sqlalchemy(project, needed)
    verdicts: list[Verdict] = []
    if threaded:
        driver = choose_synchronous(kind, backend, named, settings, project)
    else:
        driver, verdicts = choose_driver(kind, backend, named, settings, project)
        verdicts += old_sqlalchemy(versions["sqlalchemy"])
    if not threaded or version_of(driver) != "not installed":  # sqlite3 is Python's own
        versions[driver] = version_of(driver)
    evidence = [", ".join(f"{name} {version}" for name, version in versions.items())]
    backend = "mariadb" if backend == "mariadb" else kind
    fine = f"{backend}+{driver}; it imports" + ("" if threaded else ", and so does greenlet")
    return f"{backend}+{driver}", judged(
        Layer.DRIVER, fine, verdicts, evidence, driver=driver, versions=versions
    )


def is_threaded(kind: Kind, named: str, settings: EngineSettings) -> bool:
    """Is it a synchronous application with a driver of that kind? Then it is tested so (#12)."""
    return settings.synchronous and (not named or named in dict(SYNC_DRIVERS[kind]))


def choose_synchronous(
    kind: Kind, backend: str, named: str, settings: EngineSettings, project: Project | None
) -> str:
    """The driver that create_engine takes. Raises Broken if it does not import."""
    from sqlalchemy.engine import make_url  # noqa: PLC0415  (may be missing: a fault itself)

    known = dict(SYNC_DRIVERS[kind])
    if backend == "postgres" and not settings.rewrites_url:
        stop(
            Layer.DRIVER,
            "SQLAlchemy has no dialect 'postgres', and nothing here rewrites the URL.",
            "Write postgresql:// in its place.",
            code=Exit.URL,
        )
    usual = make_url(f"{kind}://").get_dialect().driver
    driver = named or usual
    if settings.rewrites_url and not named and not imports(known.get(driver, driver)):
        driver = next((name for name, module in known.items() if imports(module)), driver)
    require(known.get(driver, driver), project, "the driver that create_engine takes")
    return driver


def check_sqlalchemy(project: Project | None, modules: Sequence[str]) -> dict[str, str]:
    versions = {"Python": ".".join(str(part) for part in sys.version_info[:3])}
    for module in modules:
        require(module, project, "SQLAlchemy needs it for asyncio" if module == "greenlet" else "")
        versions[module] = version_of(module)
    return versions


def old_sqlalchemy(version: str) -> list[Verdict]:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    floor = FLOOR.get(numbers[:2])
    if floor is None or numbers >= floor:
        return []
    wanted = ".".join(str(part) for part in floor)
    message = f"SQLAlchemy {version} loses connections of cancelled requests; {wanted} does not."
    return [Verdict(Status.WARNING, message, f"Raise it to {wanted}.")]


def choose_driver(
    kind: Kind, backend: str, named: str, settings: EngineSettings, project: Project | None
) -> tuple[str, list[Verdict]]:
    """An async driver that imports, and what is wrong with the scheme's own choice."""
    known = dict(ASYNC_DRIVERS[kind])
    synchronous = {name for name, _ in SYNC_DRIVERS[kind]} - set(known)
    rewritten = bool(settings.rewrites_url)
    cure = EXAMPLE[kind].partition("://")[0]
    if backend == "postgres" and not rewritten:
        stop(
            Layer.DRIVER,
            "SQLAlchemy has no dialect 'postgres', and nothing here rewrites the URL.",
            f"Write {cure}:// (normalize_url of database_url.py does that by itself).",
            code=Exit.URL,
        )
    if named in known:
        require(known[named], project, "the driver that the URL names")
        return named, []
    if named and named not in synchronous:
        stop(
            Layer.DRIVER,
            f"There is no async driver {named!r} for {TITLES[kind]}.",
            f"Write {cure}:// (known here: {', '.join(known)}).",
            code=Exit.URL,
        )
    driver = next((name for name, module in known.items() if imports(module)), None)
    if driver is None:
        require(next(iter(known.values())), project, f"an async driver for {TITLES[kind]}")
    said = f"names the synchronous driver {named}" if named else "names no driver"
    message = f"The URL {said}: plain create_async_engine refuses it. Tested with {driver}."
    if rewritten:
        return str(driver), []
    if settings.rewrites_url is False:
        stop(
            Layer.DRIVER,
            f"The URL {said}, and the project hands it to create_async_engine as it is.",
            f"Write {backend}+{driver}:// (normalize_url of database_url.py does that).",
            code=Exit.URL,
        )
    return str(driver), [Verdict(Status.WARNING, message, f"Write {backend}+{driver}://")]


def imports(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def require(module: str, project: Project | None, why: str) -> None:
    """Raise Broken if `module` does not import."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        package = INSTALL.get(module, module)
        there = version_of(module) != "not installed"
        said = f"{module} does not import: {error}" if there else f"{module} is not installed"
        stop(
            Layer.DRIVER,
            f"{said}{f' ({why})' if why else ''}.",
            f"Install it: {install(project, package)}",
            [f"Python: {sys.executable}"],
        )


def install(project: Project | None, package: str) -> str:
    if project is not None:
        return install_line(project, [package])
    return command([sys.executable, "-m", "pip", "install", package])


def version_of(module: str) -> str:
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def check_url(text: str, scheme: str, settings: EngineSettings) -> tuple[Target, Step]:
    """The address, once it is certain that it is the one that was meant. Raises Broken."""
    from sqlalchemy.engine import make_url  # noqa: PLC0415  (may be missing: a fault itself)
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    kind = kind_of(scheme)
    assert kind is not None
    body = text.partition("://")[2]
    if kind != "sqlite":
        refuse_misread(text, body)
    try:
        url = make_url(text).set(drivername=scheme)
    except (ArgumentError, ValueError):
        # The error's text may quote a part of the password.
        stop(
            Layer.URL,
            "The URL is not scheme://user:password@host:port/database, with a number as port.",
            QUOTE,
        )
    verdicts = [] if kind == "sqlite" else read_otherwise(text, url)
    if "\ufffd" in f"{url.username}{url.password}":
        stop(Layer.URL, "A % in the user or password quotes no character: write %25.", QUOTE)
    given = dict(settings.connect_args)
    translated = translate(url, kind, given)
    verdicts += refused_parameters(translated, settings)
    target = Target(
        kind,
        translated.url,
        {**translated.arguments, **{n: v for n, v in given.items() if n != "password"}},
        translated.tls,
        *places(translated.url, kind),
        threaded=is_threaded(kind, str(url.get_driver_name()), settings),
    )
    if kind == "sqlite":
        return target, judged(Layer.URL, "a file", verdicts, [])
    names = [f"user {url.username or '(none)'}", f"database {url.database or '(none)'}"]
    if not url.database:
        message = "The URL names no database; the driver takes one by itself, or none."
        verdicts.append(Verdict(Status.WARNING, message, "End it with /name."))
    where = target.socket or ", ".join(f"{host}:{port}" for host, port in target.hosts)
    fine = f"{where or 'the address that the driver chooses'}, {', '.join(names)}"
    return target, judged(Layer.URL, fine, verdicts, [] if not verdicts else [fine])


def refuse_misread(text: str, body: str) -> None:
    """Raise Broken where a password that is not quoted has moved the address."""
    before_query, _, query = body.partition("?")
    # A raw ? in the password: what seems to be the query has no parameter before its @.
    in_query = "@" in query and "=" not in query.partition("@")[0]
    if before_query.count("@") + in_query > 1:
        stop(
            Layer.URL,
            "There is more than one @ in the URL: one in the password (or user) is not quoted, so"
            " that a part of the password is taken for the host.",
            f"{QUOTE}   # and write %40 for an @",
        )
    if "@" not in body and re.match(r"[^/:@\[\]]+:[^/@]*$", body):
        stop(
            Layer.URL,
            "The URL ends after what looks like user:password. Was it cut off at a # or a blank"
            " in the password? Files like .env and YAML begin a comment there.",
            f"{QUOTE}   # and write %23 for a #; or put the whole value in quotes",
        )
    if text != text.strip() or "\n" in text:
        stop(
            Layer.URL,
            "There is white space round the URL, which becomes a part of the database's name.",
            "Take the blank or the newline out.",
        )


def read_otherwise(text: str, url: "URL") -> list[Verdict]:
    """A warning where other programs read another address than SQLAlchemy does."""
    userinfo = text.partition("://")[2].rpartition("@")[0]
    special = sorted({character for character in userinfo if character in "#/?["})
    if not special:
        return []
    try:
        host = urlsplit(text).hostname
    except ValueError:
        host = None
    if host == url.host:
        return []
    return [
        Verdict(
            Status.WARNING,
            f"The user or password has an unquoted {' and '.join(special)}: SQLAlchemy reads it as"
            " it is meant, while pydantic, urllib, psql and asyncpg's own DSN end the address"
            " there and connect to another host.",
            QUOTE,
        )
    ]


def refused_parameters(translated: Translated, settings: EngineSettings) -> list[Verdict]:
    if not translated.refused or settings.rewrites_url:
        return []
    names = ", ".join(translated.refused)
    driver = translated.url.get_driver_name()
    message = f"create_async_engine with {driver} refuses the URL's {names} (TypeError)."
    status = Status.WARNING if settings.rewrites_url is None else Status.BROKEN
    tested = "Tested as database_url.py would translate it. " if status == "warning" else ""
    return [Verdict(status, f"{message} {tested}".strip(), translated.cure)]


def places(url: "URL", kind: Kind) -> tuple[tuple[tuple[str, int], ...], str | None]:
    """Hosts with ports, or the Unix socket."""
    if kind == "sqlite":
        return (), None
    port = url.port or PORTS[kind]
    if kind == "mysql":
        socket = url.query.get("unix_socket")
        if isinstance(socket, str):
            return (), socket
        return ((url.host or "localhost", port),), None
    hosts = several(url.query.get("host"))
    ports = several(url.query.get("port"))
    if not url.port and os.environ.get("PGPORT", "").isdecimal():
        port = int(os.environ["PGPORT"])
    if not hosts and url.host:
        return ((url.host, port),), None
    if not hosts and os.environ.get("PGHOST"):
        hosts = os.environ["PGHOST"].split(",")
    found: list[tuple[str, int]] = []
    for index, entry in enumerate(hosts):
        if entry.startswith("/"):
            number = int(ports[0]) if ports else port
            return (), f"{entry}/.s.PGSQL.{number}"
        name, _, own = entry.partition(":")
        chosen = own or (ports[min(index, len(ports) - 1)] if ports else port)
        found.append((name, int(chosen)))
    return tuple(found), None


def several(value: str | Sequence[str] | None) -> list[str]:
    values = [value] if isinstance(value, str) else list(value or ())
    return [part for text in values for part in text.split(",")]


def no_address(target: Target) -> Step:
    return ok(Layer.NAME, f"none is needed: {target.socket or 'the driver chooses'}")
