"""What a migration starts from: one Alembic set-up, its head, the kind of database."""

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from toolkit.database.alembic_process import AlembicResult, run_alembic
from toolkit.database.urls import (
    KINDS,
    SYNC_DRIVERS,
    TITLES,
    Kind,
    async_driver_kinds,
    kind_of,
    placeholder_url,
)
from toolkit.files.reading import Unreadable, content_of
from toolkit.migration.refusal import Refusal
from toolkit.project.commands import alembic_line
from toolkit.project.databases import guess
from toolkit.project.dependencies import install_line
from toolkit.project.errors import require_decided, unreadable_models
from toolkit.project.facts import AlembicSetup, MappedClass, Project
from toolkit.project.reach import unimported_models
from toolkit.project.root import read_text
from toolkit.report.exits import Exit
from toolkit.report.quoting import script, word

Say = Callable[[str], None]

CREATED = re.compile(r"\.create_table\(\s*[\"']([^\"']+)")
INSTALLABLE = {
    "asyncpg": "asyncpg",
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "aiosqlite": "aiosqlite",
    "aiomysql": "aiomysql",
    "asyncmy": "asyncmy",
    "pymysql": "pymysql",
    "MySQLdb": "mysqlclient",
    "greenlet": "greenlet",
    "alembic": "alembic",
    "sqlalchemy": "sqlalchemy[asyncio]",
}


@dataclass(frozen=True)
class Situation:
    """Everything that the steps after it need to know."""

    setup: AlembicSetup
    kind: Kind
    server: URL | None
    """The server that env.py would connect to; None where the project does not say."""
    head: Mapping[str, Any] | None
    """revision, path, message, parent; None before the first migration. Of several branches one."""
    destination: Path
    script_location: Path
    prepends_path: bool
    """Does the ini put the import root on sys.path?"""
    hooks: bool
    """Does it name post-write hooks?"""
    branches: bool = False
    """Has the history several heads, on purpose?"""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Placeholders for settings that demand a URL."""
    notes: tuple[str, ...] = ()


def choose_setup(project: Project, ini: Path | None = None) -> AlembicSetup:
    """The Alembic set-up that is meant; raises Refusal when there is none or several, and
    ProjectError where Alembic cannot read its ini.
    """
    require_decided(project, "alembic")
    if ini is not None:
        wanted = ini.resolve()
        for setup in project.alembic:
            if setup.ini.resolve() == wanted and setup.env.is_file():
                return setup
        known = ", ".join(shown(setup.ini, project.root) for setup in project.alembic)
        raise Refusal(
            "no-alembic",
            Exit.USAGE,
            f"--ini {ini} is not an Alembic set-up of this project.",
            f"Found here: {known}." if known else "There is none here: run setup-alembic.sh.",
        )
    usable = [setup for setup in project.alembic if setup.env.is_file()]
    if not usable:
        raise Refusal(
            "no-alembic",
            Exit.NO_PROJECT,
            f"{project.root} has no Alembic set-up (an ini and the env.py that it names).",
            f"Set it up first: {script('setup-alembic.sh')}",
        )
    if len(usable) > 1:
        raise Refusal(
            "several-ini",
            Exit.AMBIGUOUS,
            "The project has several Alembic set-ups.",
            "Choose one with --ini FILE.",
            [shown(setup.ini, project.root) for setup in usable],
        )
    return usable[0]


def shown(path: Path | str, root: Path) -> str:
    """A path as the user knows it: below the project's root where it is."""
    path = Path(path)
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def look(
    project: Project,
    setup: AlembicSetup,
    dialect: str | None,
    timeout: float,
    say: Say,
    *,
    branches: bool = False,
) -> Situation:
    """Load env.py as far as its first connection, and read the history's heads.

    Raises Refusal when the project's code does not load or there are several heads; with
    `branches`, several that have a label each are those of branches, and all right.
    """
    notes: list[str] = []
    environment: dict[str, str] = {}
    result = probe(project, setup, environment, timeout)
    unset = unset_names(project)
    if unset and needs_settings(result, unset):
        try:
            kind, why = guess_kind(project, dialect)
        except Refusal as refusal:
            # Whether a setting is missing is a guess, so the error itself is shown too.
            place = shown(result.error.get("where") or "", project.root)
            refusal.details = (f"the code stops with {result.message} at {place}",)
            raise
        url = placeholder_url(kind, prefer_async=setup.is_async)
        attempt = dict.fromkeys(unset, url)
        second = probe(project, setup, attempt, timeout)
        if second.report.get("seen"):
            result, environment = second, attempt
            notes.append(f"{', '.join(unset)} is not set; working with {TITLES[kind]} ({why})")
            say(notes[-1])
    refuse_broken(project, setup, result)
    report = result.report
    heads = report.get("heads", [])
    if not (branches and all(head["labels"] for head in heads)):
        refuse_heads(project, setup, heads)
    seen = report.get("seen")
    if not seen:
        raise Refusal(
            "no-connection",
            Exit.BROKEN_PROJECT,
            f"{shown(setup.env, project.root)} ended without asking for a database.",
            "Does it catch its own errors? Its last lines are below.",
            result.stderr.strip().splitlines()[-5:],
        )
    found = kind_of(seen["dialect"])
    if found is None or (dialect and KINDS[dialect] != found and not environment):
        raise Refusal(
            "dialect",
            Exit.USAGE,
            f"The project connects to {seen['dialect']}.",
            "This script knows PostgreSQL, SQLite and MySQL/MariaDB."
            if found is None
            else "Leave --dialect out: it is for projects whose URL is not set.",
        )
    return Situation(
        setup=setup,
        kind=found,
        server=None if environment else server_url(seen, found),
        head=heads[0] if heads else None,
        branches=len(heads) > 1,
        destination=Path(report["destination"]),
        script_location=Path(report["script_location"]),
        prepends_path=report["prepends_path"],
        hooks=report["hooks"],
        environment=environment,
        notes=tuple(notes),
    )


def probe(
    project: Project,
    setup: AlembicSetup,
    environment: Mapping[str, str],
    timeout: float,
    **extra: Any,  # noqa: ANN401
) -> AlembicResult:
    """Run env.py as far as its first connection. `sources`: is one of them handed over?"""
    return run_alembic(
        project,
        ["current"],
        None,
        ini=setup.ini,
        extra={"action": "probe", **extra},
        environment=environment,
        timeout=timeout,
    )


def with_metadata_of_env(project: Project, timeout: float = 60.0) -> Project:
    """The project with the metadatas that its env.py hands to Alembic, as its run tells (#12)."""
    setups = [setup for setup in project.alembic if setup.env.is_file()]
    if len(setups) != 1:
        return project
    sources = [source.reference for source in project.metadata]
    result = probe(project, setups[0], {}, timeout, sources=sources)
    meant = tuple(result.report.get("meant", ()))
    if not meant:
        return project
    undecided = {name: one for name, one in project.undecided.items() if name != "base"}
    first = sorted(project.metadata, key=lambda source: source.reference not in meant)
    return replace(project, metadata=tuple(first), meant=meant, undecided=undecided)


def tables_of_env(project: Project, setup: AlembicSetup, timeout: float = 60.0) -> int:
    """How many tables env.py hands to Alembic on its way to a database; 0 if it gets to none."""
    report = probe(project, setup, {}, timeout).report
    return int(report.get("tables", 0)) if report.get("seen") else 0


def imported_by_env(
    project: Project, setup: AlembicSetup, modules: Sequence[str], timeout: float = 60.0
) -> tuple[list[str], bool]:
    """Those of the modules that a run of env.py imports, and whether it got to its end."""
    report = probe(project, setup, {}, timeout, modules=list(modules)).report
    return list(report.get("imported", ())), bool(report.get("seen"))


def works_synchronously(
    project: Project, setup: AlembicSetup, timeout: float = 60.0
) -> tuple[bool, str]:
    """Does env.py, which is synchronous, connect with a driver that is so as well? (#12)

    An asynchronous driver fails there; one that is not installed would be the right one. Where
    the project's code stops before, nobody knows: env.py is not blamed, and the text says so.
    """
    result = probe(project, setup, {}, timeout)
    unset = unset_names(project)
    if unset and needs_settings(result, unset):
        try:
            kind, _ = guess_kind(project, None)
        except Refusal:
            return False, ""
        # Asynchronous, as the application's is: does env.py make another of it?
        result = probe(project, setup, dict.fromkeys(unset, placeholder_url(kind)), timeout)
    seen = result.report.get("seen")
    modules = {module for drivers in SYNC_DRIVERS.values() for _, module in drivers}
    if not seen and str(result.error.get("missing_module") or "") in modules:
        return True, ""
    if not seen:
        place, env = shown(result.error.get("where") or "", project.root), setup.env
        if not place or place.rpartition(":")[0] == shown(env, project.root):
            return False, ""
        return True, (
            f"{shown(env, project.root)} was not seen to connect, for the code stops with"
            f" {result.message} at {place}"
        )
    kind_seen = kind_of(seen["dialect"])
    return kind_seen is not None and (
        seen["falls_back"] or seen["driver"] in dict(SYNC_DRIVERS[kind_seen])
    ), ""


def needs_settings(result: AlembicResult, unset: Sequence[str]) -> bool:
    """Did the code stop for want of one of these settings, as far as one can tell?"""
    error = result.error
    named = re.fullmatch(r"KeyError: '([A-Z][A-Z0-9_]*)'", result.message)
    if named and named[1] not in unset:  # no URL helps there (#12)
        return False
    code_is_wrong = {"SyntaxError", "ModuleNotFoundError", "ImportError", "IndentationError"}
    return bool(
        error
        and not result.report.get("seen")
        and "heads" in result.report
        and error.get("type") not in code_is_wrong
    )


def guess_kind(project: Project, dialect: str | None) -> tuple[Kind, str]:
    """The kind of database where no URL is set, and the reason for it."""
    if dialect:
        return KINDS[dialect], "--dialect"
    named = {kind for scheme in project.schemes if (kind := kind_of(scheme))}
    if len(named) == 1:
        return named.pop(), "the source names it"
    listed, file = guess(project), project.dependency_file
    if file is not None and len(meant := [one for one in listed if one != "sqlite"] or listed) == 1:
        return meant[0], f"{file.name} lists its driver"
    kinds = async_driver_kinds()
    servers = [kind for kind in kinds if kind != "sqlite"]
    if len(servers) > 1:
        raise Refusal(
            "dialect",
            Exit.AMBIGUOUS,
            "The database's URL is not set, and drivers of several databases are installed.",
            "Say which is meant: --dialect postgresql|sqlite|mysql, or set the URL.",
        )
    kind = kinds[0] if kinds else "sqlite"
    return kind, "its driver is installed"


def unset_names(project: Project) -> list[str]:
    """The variables that probably hold the URL and are not set."""
    return [name for name in url_names(project) if name not in os.environ]


def url_names(project: Project) -> list[str]:
    """The variables that probably hold the URL."""
    names = ["DATABASE_URL"]
    for source in project.urls:
        if source.kind == "environment":
            names.append(source.reference.removeprefix("env:"))
        elif source.kind == "settings":
            attribute = re.split(r"[.:]", source.reference)[-1].removesuffix("()")
            names.append(attribute.upper())
    return [name for name in dict.fromkeys(names) if re.fullmatch(r"[A-Z][A-Z0-9_]*", name)]


def refuse_broken(project: Project, setup: AlembicSetup, result: AlembicResult) -> None:
    """Raise Refusal when the project's own code did not load."""
    error = result.error
    if not error or result.report.get("seen"):
        return
    place = [f"at {shown(error['where'], project.root)}"] if error.get("where") else []
    missing = str(error.get("missing_module") or "")
    package = INSTALLABLE.get(missing.partition(".")[0])
    if package:
        raise Refusal(
            "missing-dependency",
            Exit.MISSING_DEPENDENCY,
            f"{missing} is not installed in this environment.",
            f"Install with: {install_line(project, [package])}",
            place,
        )
    unimported = unimported_models(project, setup)
    if unimported:
        # The worse of the two: who only makes the code load would get a DROP TABLE.
        refusal = models_missing(project, setup, unimported)
        refusal.details = (*refusal.details, f"not run: the code stops with {result.message}")
        raise refusal
    remedy = "Repair it, then run this again."
    if missing:
        remedy = (
            f"If {missing.partition('.')[0]} is a dependency, install the project's dependencies"
            " into this environment; if it is the project's own code, repair the import."
        )
    elif error.get("type") in {"ValidationError", "KeyError", "SettingsError"}:
        remedy = (
            "A setting is missing or not as it has to be: put it right in the environment or .env."
            " The database's address may be any: no connection goes there."
        )
    raise Refusal(
        "project-does-not-load",
        Exit.BROKEN_PROJECT,
        f"The project's code does not load: {result.message}",
        remedy,
        place,
    )


def refuse_unimported(project: Project, setup: AlembicSetup, result: AlembicResult) -> None:
    """Raise Refusal where a foreign key leads to a table whose model env.py leaves out (#12)."""
    if "NoReferencedTableError" not in result.message:
        return
    if unimported := unimported_models(project, setup):
        raise models_missing(project, setup, unimported)


def refuse_unregistered(
    project: Project, setup: AlembicSetup, mapped: Sequence[MappedClass], report: Mapping[str, Any]
) -> None:
    """Raise Refusal if autogenerate's report says that classes are not in the metadata."""
    dropped = {one.get("table") for one in report["operations"] if one["op"] == "DropTable"}
    if project.choices.get("base") or "base" in project.undecided:
        # What env.py leaves out may belong elsewhere, but not where its table is dropped (#12).
        left_out = [one for one in project.mapped if one.table and one.table in dropped]
        if left_out:
            raise models_missing(project, setup, left_out)
    if hidden := [path for path in project.hidden if names_one_of(path, dropped)]:
        raise unreadable_models([shown(path, project.root) for path in hidden])
    if report["missing"]:
        names = {(one["module"], one["name"]) for one in report["missing"]}
        missing = [one for one in mapped if (one.module, one.name) in names]
        raise models_missing(project, setup, missing, empty=not report["tables"])


def names_one_of(path: Path, tables: Collection[str | None]) -> bool:
    """May a file that cannot be read have one of these tables?"""
    if not tables:
        return False
    try:
        content = content_of(path).replace(b"\0", b"").decode("utf-8", "replace")
    except (OSError, Unreadable):
        return True
    return any(re.search(rf"\b{re.escape(str(table))}\b", content) for table in tables)


def models_missing(
    project: Project, setup: AlembicSetup, missing: Sequence[MappedClass], *, empty: bool = False
) -> Refusal:
    """`empty`: the metadata that env.py has holds no table at all."""
    tables = sorted({str(one.table or one.name) for one in missing})
    modules = sorted({one.module for one in missing})
    env = shown(setup.env, project.root)
    return Refusal(
        "models-missing",
        Exit.MODELS_MISSING,
        f"{len(missing)} mapped {'class is' if len(missing) == 1 else 'classes are'} not in the"
        f" metadata that {env} hands to Alembic"
        + (", which has no tables at all" if empty else "")
        + f". The migration would treat {', '.join(tables)} as deleted: DROP TABLE where it"
        " exists.",
        f"Import them in {env}: "
        + "; ".join(f"import {module}" for module in modules)
        + " (or let setup-alembic.sh write that). If they belong to another database, name the"
        " base that is meant with --base MODULE:NAME.",
        [
            f"{shown(one.path, project.root)}:{one.line} class {one.name}"
            + (f" (table {one.table})" if one.table else "")
            for one in missing
        ],
    )


def refuse_heads(project: Project, setup: AlembicSetup, heads: list[dict[str, Any]]) -> None:
    """Raise Refusal when the history has more than one head."""
    if len(heads) <= 1:
        return
    first, *others = (head["revision"] for head in heads)
    merge = alembic_line(project, setup, ["merge", "-m", "merge heads", first, *others])
    remedy = (
        f"Either join them: {merge} -- or, where one was never deployed, put it behind the other:"
        f" set down_revision = {first!r} in its first file."
    )
    if twice := created_twice([Path(head["path"]) for head in heads]):
        path = shown(heads[-1]["path"], project.root)
        stamp = alembic_line(project, setup, ["stamp", "--purge", first])
        remedy = (
            f"They can't be joined, since each creates {', '.join(twice)}: keep one, say {first},"
            f" and remove the other: git rm {word(path)}. A database that has run that one is told"
            f" so: {stamp}"
        )
    elif all(head["labels"] for head in heads):  # branches that are meant (#13)
        at = f"{heads[0]['labels'][0]}@head"
        write = ["revision", "--autogenerate", "--head", at, "-m", "MESSAGE"]
        remedy = (
            f"They are branches on purpose, each with a label, which this script checks and does"
            f" not write: {alembic_line(project, setup, write)} -- or, if they are not: {merge}"
        )
    raise Refusal(
        "several-heads",
        Exit.SEVERAL_HEADS,
        f"The migration history has {len(heads)} heads, so a new one would have no one parent.",
        remedy,
        [
            f"{head['revision']} ({head['message'] or 'no message'}) in"
            f" {shown(head['path'], project.root)}, after {head['parent'] or 'nothing'}"
            for head in heads
        ],
    )


def created_twice(files: Sequence[Path]) -> list[str]:
    """Tables that each of these revisions creates: joined, the second would fail (#12)."""
    found = [set(CREATED.findall(read_text(file))) for file in files]
    return sorted(set.intersection(*found)) if found else []


def server_url(seen: Mapping[str, Any], kind: Kind) -> URL | None:
    """The address that env.py asked for, as a URL; None for SQLite."""
    if kind == "sqlite":
        return None
    query = {name: seen[name] for name in ("unix_socket", "ssl") if seen.get(name)}
    if "ssl" in query and seen["driver"] != "asyncpg":
        query["sslmode"] = query.pop("ssl")
    host = seen["host"]
    if kind == "postgresql" and host and host.startswith("/"):
        query["host"], host = host, None
    return URL.create(
        f"{seen['dialect']}+{seen['driver']}",
        username=seen["user"],
        password=seen["password"],
        host=host,
        port=seen["port"],
        database=seen["database"],
        query=query,
    )
