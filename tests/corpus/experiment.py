"""What a revision does to a table with rows, and to the code that still runs: seen, not judged.

The tool reads a revision's trace on an empty database; here the same revision runs on rows, and
each of its verdicts has to agree with what happened (#15). Nothing of the tool is used for it.
"""

import re
import runpy
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from servers import mysql

DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "sqlite": "pysqlite"}
REFUSED = (sa.exc.SQLAlchemyError, NotImplementedError)
"""By the database, or by Alembic, or by the revision itself."""
Contents = Mapping[str, Mapping[tuple[Any, ...], Mapping[str, Any]]]
"""Table -> primary key -> column -> value."""


@dataclass
class Seen:
    """What happened."""

    failed: str = ""
    """The error of the upgrade."""
    broken: list[str] = field(default_factory=list)
    """Statements of the old code that the new schema refuses, or that store NULL for a value."""
    waited: list[str] = field(default_factory=list)
    """Those that had to wait for the open transaction of the upgrade."""
    lost: list[str] = field(default_factory=list)
    """Values and rows that are not there after the way up and down again."""
    no_way_back: str = ""
    """The error of the downgrade."""


@contextmanager
def engine_for(url: str) -> Iterator[sa.Engine]:
    address = make_url(url)
    kind = address.get_backend_name()
    kind = "mysql" if kind == "mariadb" else kind
    # A connection each: what one has set (foreign keys) is not for the next. On PostgreSQL that
    # goes with the transaction, and a connection costs more than all else does (#10).
    pool: dict[str, Any] = {} if kind == "postgresql" else {"poolclass": NullPool}
    # Only ends a hang: the driver's own 10 seconds are not enough on a busy machine.
    settings: dict[str, Any] = {} if kind == "sqlite" else {"connect_timeout": 300}
    if kind == "postgresql":
        settings["prepare_threshold"] = None  # the plan of before would be an error after it
    elif kind == "mysql":
        settings["ssl_disabled"] = not mysql.offers_tls(address.set(database=None))
    engine = sa.create_engine(
        address.set(drivername=f"{kind}+{DRIVERS[kind]}"), connect_args=settings, **pool
    )
    try:
        yield engine
    finally:
        engine.dispose()


def prepare(base: Path, url: str, rows: Sequence[str]) -> None:
    """Bring an empty database to the base revision, and fill it."""
    with engine_for(url) as engine:
        with migrating(engine):
            runpy.run_path(str(base))["upgrade"]()
        with engine.begin() as connection:
            for statement in rows:
                connection.exec_driver_sql(
                    statement.replace("%", "%%") if engine.driver == "psycopg" else statement
                )


def observe(path: Path, url: str, old_code: Sequence[str]) -> Seen:
    """Carry the revision out on a database with rows, and see what becomes of them."""
    module = runpy.run_path(str(path))
    seen = Seen()
    with engine_for(url) as engine:
        assert [one for one in old_code if refusal(engine, one)] == [], "the old code is wrong"
        before, old_types = contents(engine), types(engine)
        inserted = {one: stored(engine, one) for one in old_code}
        try:
            with migrating(engine):
                module["upgrade"]()
                if engine.dialect.name == "postgresql":  # elsewhere nobody asks who waited
                    seen.waited = [
                        one
                        for one in old_code
                        if "lock timeout" in refusal(engine, one, waits=False)
                    ]
        except REFUSED as error:
            seen.failed = str(error) or repr(error)
            return seen
        for one in old_code:
            if refusal(engine, one):
                seen.broken.append(one)
                continue
            now = stored(engine, one)
            lacks = [name for name, value in inserted[one].items() if value is not None]
            seen.broken += [f"{one}: {name} is NULL" for name in lacks if now.get(name, 0) is None]
        between, new_types = contents(engine), types(engine)
        try:
            with migrating(engine):
                module["downgrade"]()
        except REFUSED as error:
            seen.no_way_back = str(error) or repr(error)
        retyped = {key for key, kind in old_types.items() if new_types.get(key, kind) != kind}
        seen.lost = missing(before, between, contents(engine), retyped)
    return seen


@contextmanager
def migrating(engine: sa.Engine) -> Iterator[None]:
    """What `op` does here is done on this database, in one transaction, as in a file."""
    options = {
        "render_as_batch": engine.dialect.name == "sqlite",
        "transaction_per_migration": True,
    }
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        with Operations.context(context), context.begin_transaction(_per_migration=True):
            yield


def refusal(engine: sa.Engine, statement: str, *, waits: bool = True) -> str:
    """Why it did not run; nothing of it stays. Without `waits` a held lock is a reason.

    That there is no connection is none: that is raised.
    """
    with engine.connect() as connection:
        try:
            if not waits:
                connection.exec_driver_sql("SET lock_timeout = '30ms'")
            done = connection.exec_driver_sql(statement)
            swallowed = statement.startswith("INSERT") and not done.rowcount
        except sa.exc.DBAPIError as error:
            return str(error.orig) or repr(error.orig)
        finally:
            connection.rollback()
    return "no row" if swallowed and "ON CONFLICT" not in statement else ""


def stored(engine: sa.Engine, statement: str) -> Mapping[str, Any]:
    """The row that an INSERT with a key makes, defaults and all; nothing of it stays."""
    found = re.match(r"INSERT INTO (\w+) \(id, .*\) VALUES \((\d+), [^()]*\)$", statement)
    if found is None:
        return {}
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
        made = connection.exec_driver_sql(f"SELECT * FROM {found[1]} WHERE id = {found[2]}")
        row = made.mappings().one_or_none() or {}
        connection.rollback()
    return dict(row)


def types(engine: sa.Engine) -> dict[tuple[str, str], str]:
    """Of all columns, as the database says them."""
    return {
        (str(table), column["name"]): repr(column["type"])
        for (_, table), columns in sa.inspect(engine).get_multi_columns().items()
        for column in columns
    }


def contents(engine: sa.Engine) -> Contents:
    """Every row of every table, in all schemas that are nobody's system."""
    quoted = engine.dialect.identifier_preparer.quote
    read: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
    with engine.connect() as connection:
        found = sa.inspect(connection)
        others = [name for name in found.get_schema_names() if name == "archive"]
        for schema in (None, *others):
            keys = found.get_multi_pk_constraint(schema)
            for (_, name), of_table in found.get_multi_columns(schema).items():
                columns = [column["name"] for column in of_table]
                key = keys.get((schema, name), {}).get("constrained_columns") or columns
                table = ".".join(quoted(one) for one in (schema, name) if one)
                statement = f"SELECT {', '.join(map(quoted, columns))} FROM {table}"
                rows = [
                    dict(zip(columns, row, strict=True))
                    for row in connection.exec_driver_sql(statement)
                ]
                read[table] = {tuple(str(row[one]) for one in key): row for row in rows}
    return read


def missing(
    before: Contents, between: Contents, after: Contents, retyped: Set[tuple[str, str]]
) -> list[str]:
    """What was there and is not: tables, rows, values that are NULL now, were gone between, or
    did not come through another type as they were."""
    found = []
    for table, rows in before.items():
        now, then = after.get(table), between.get(table, {})
        if now is None:
            found += [table] if rows else []
            continue
        if gone := [key for key in rows if key not in now]:
            found.append(f"{table}: {len(gone)} rows")
        lost = {
            column
            for key, row in rows.items()
            if key in now
            for column, value in row.items()
            if value is not None
            and (
                now[key].get(column) is None
                or (
                    (column not in then.get(key, ()) or (table, column) in retyped)
                    and now[key][column] != value
                )
            )
        }
        found += [f"{table}.{column}" for column in sorted(lost)]
    return found


def disagreement(expected: frozenset[tuple[str, str]], seen: Seen, kind: str) -> list[str]:
    """Where the verdicts of a revision's first line are not what was seen."""
    verdicts = {verdict for _, verdict in expected}
    found = []
    if ("fails" in verdicts) != bool(seen.failed):
        found.append(f"fails: {seen.failed or 'it ran'}")
    if seen.failed:
        return found
    if ("breaks-old-code" in verdicts) != bool(seen.broken) and "data-loss" not in verdicts:
        found.append(f"breaks-old-code: {seen.broken}")
    if ("data-loss" in verdicts) != bool(seen.lost) and "irreversible" not in verdicts:
        found.append(f"data-loss: {seen.lost}")
    if bool(seen.no_way_back) and not verdicts & {"irreversible", "data-loss"}:
        found.append(f"no way back: {seen.no_way_back}")
    if kind == "postgresql" and "blocks" in verdicts and not seen.waited:
        found.append("blocks: nobody waited")
    return found
