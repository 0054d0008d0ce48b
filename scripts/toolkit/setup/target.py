"""A look into the project's own database, only when --check-database asks for it."""

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from toolkit.database.scratch import execute
from toolkit.database.sqlite_reading import name_in, readable
from toolkit.database.urls import kind_of
from toolkit.migration.situation import choose_setup, probe, server_url
from toolkit.project.commands import alembic_line
from toolkit.project.facts import Project
from toolkit.report.masking import mask

TABLES = {
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = ANY(current_schemas(false))",
    "mysql": "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
}


@dataclass(frozen=True)
class Target:
    """What was seen there; `tables` is None where it could not be reached."""

    tables: tuple[str, ...] | None
    message: str


def look_at_target(project: Project, ini: Path, timeout: float = 120.0) -> Target:
    """Read the names of the tables where env.py would connect. Reads, never writes."""
    seen = probe(project, choose_setup(project, ini), {}, timeout).report.get("seen")
    kind = kind_of(seen["dialect"]) if seen else None
    if not seen or kind is None:
        return Target(None, "the project's own database was not looked at: its URL is not set")
    try:
        if kind == "sqlite":
            names = _sqlite_tables(ini.parent / name_in(str(seen["database"]))[0])
        else:
            url = server_url(seen, kind)
            assert url is not None
            names = [str(row[0]) for row in execute(url, TABLES[kind])]
    except (SQLAlchemyError, sqlite3.Error, OSError, TimeoutError) as error:
        reason = mask(str(getattr(error, "orig", None) or error), {str(seen.get("password") or "")})
        return Target(None, f"the project's own database cannot be read: {reason.splitlines()[0]}")
    return Target(tuple(sorted(names)), "")


def advice(project: Project, tables: Sequence[str], has_revisions: bool) -> str:
    """What to do with a database that has these tables."""
    upgrade, stamp = (
        alembic_line(project, project.alembic[0], [verb, "head"]) for verb in ("upgrade", "stamp")
    )
    own = [name for name in tables if name != "alembic_version"]
    if "alembic_version" in tables:
        return "the project's own database is under Alembic's control"
    if not own:
        return f"the project's own database is empty: `{upgrade}` makes its tables"
    names = ", ".join(own[:5]) + (" ..." if len(own) > 5 else "")
    first = "" if has_revisions else "generate the first migration, then "
    return (
        f"the project's own database has tables ({names}) and no alembic_version: {first}run "
        f"`{stamp}` on it once instead of `{upgrade}` (stamp only notes "
        "the revision: nothing is created or dropped)"
    )


def _sqlite_tables(path: Path) -> list[str]:
    if not path.is_file():  # opening it would create it
        return []
    with readable(path) as uri, contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
        rows = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return [str(row[0]) for row in rows if not str(row[0]).startswith("sqlite_")]
