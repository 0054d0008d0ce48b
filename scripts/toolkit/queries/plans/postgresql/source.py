"""The given PostgreSQL database: plans without running anything, and its tables. Only read."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from toolkit.queries.plans.model import Column, ExistingIndex, Limits, Place, Table
from toolkit.queries.plans.query import Query
from toolkit.queries.plans.values import NotRestored
from toolkit.report.quoting import qualified

LOCK_MS = 1000
TABLES = """
    SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, greatest(c.reltuples, 0)::bigint,
           pg_total_relation_size(c.oid), pg_table_is_visible(c.oid),
           has_table_privilege(c.oid, 'SELECT')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY(:oids)
"""
# The parent stands for its partitions: the statements name it.
ROOTS = "SELECT coalesce(pg_partition_root(to_regclass(:name)), to_regclass(:name))::oid::bigint"
ONE = "SELECT to_regclass(:name)::oid::bigint"
COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), t.typtype::text, s.n_distinct
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_stats s
      ON s.schemaname = :schema AND s.tablename = :name AND s.attname = a.attname
    WHERE a.attrelid = :oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
INDEXES = """
    SELECT c.relname, i.indisunique, am.amname,
           coalesce(pg_get_expr(i.indpred, i.indrelid, true), ''),
           i.indnkeyatts::int, i.indisvalid,
           ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, true)
                 FROM generate_series(1, i.indnatts) k),
           i.indoption::smallint[]
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam
    WHERE i.indrelid = :oid ORDER BY c.relname
"""
TAKEN = "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(:schema)::oid"


@dataclass(frozen=True)
class Source:
    """What the given database says."""

    plans: list[dict[str, Any] | None]
    """Of each statement; None where it can't be planned."""
    reasons: list[str]
    """Why not, or that it is a generic plan; empty where all is well."""


def begin(connection: Connection, limits: Limits) -> None:
    """One snapshot, in which nothing can be written and nothing waits for long."""
    run = connection.exec_driver_sql
    run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    run(f"SET LOCAL statement_timeout = {int(limits.statement_seconds * 1000)}")
    run(f"SET LOCAL lock_timeout = {LOCK_MS}")
    run("SET LOCAL standard_conforming_strings = on")


def read_plans(connection: Connection, queries: Sequence[Query]) -> Source:
    """The plans of the given database with its own statistics; nothing is run."""
    plans, reasons = [], []
    for query in queries:
        plan, reason = explained(connection, query)
        plans.append(plan)
        reasons.append(reason)
    return Source(plans, reasons)


def explained(connection: Connection, query: Query) -> tuple[dict[str, Any] | None, str]:
    try:
        with connection.begin_nested():
            return explain(connection, query.inlined), ""
    except NotRestored as error:
        reason = f"a parameter ({error}) was not kept: its plan is a generic one"
    except DBAPIError as error:
        return None, reason_of(error)
    try:
        with connection.begin_nested():
            return generic(connection, query), reason
    except DBAPIError as error:
        return None, reason_of(error)


def explain(connection: Connection, sql: str, options: str = "VERBOSE") -> dict[str, Any]:
    result = connection.exec_driver_sql(f"EXPLAIN ({options}, FORMAT JSON) {sql}").scalar_one()
    document = json.loads(result) if isinstance(result, str) else result
    plan: dict[str, Any] = document[0]
    return plan


def generic(connection: Connection, query: Query) -> dict[str, Any]:
    """The plan for any value. PREPARE does it on every version and with every driver: those
    that use the extended protocol take the `$1` of EXPLAIN (GENERIC_PLAN) for their own.
    """
    run = connection.exec_driver_sql
    run("SET LOCAL plan_cache_mode = force_generic_plan")
    run(f"PREPARE _plans_of_statements AS {query.numbered}")
    try:
        nulls = ", ".join(["NULL"] * (max(query.slots, default=-1) + 1))
        return explain(connection, f"EXECUTE _plans_of_statements({nulls})".replace("()", ""))
    finally:
        run("DEALLOCATE _plans_of_statements")


def reason_of(error: DBAPIError) -> str:
    """What the server said, where that can't hold a value: names, or only the code."""
    original: Any = error.orig
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None) or ""
    known = {"57014": "it takes too long", "55P03": "a lock is not to be had"}
    if state in known:
        return known[state]
    if state[:2] == "42" or state[:2] == "3F":
        words = str(original).splitlines()[0]
        return words.partition(">: ")[2] or words
    return f"the server refuses it (SQLSTATE {state or 'unknown'})"


def resolve(connection: Connection, names: Iterable[Place], query: str = ROOTS) -> dict[Place, int]:
    """The oid of each table that is found under its name; partitions give their root's."""
    found = {}
    for place in sorted(names):
        parts = [part for part in (place.schema, place.name) if part]
        name = qualified(*parts)
        oid = connection.execute(text(query), {"name": name}).scalar_one()
        if oid is not None:
            found[place] = int(oid)
    return found


def read_tables(connection: Connection, oids: Iterable[int]) -> dict[int, tuple[Table, str]]:
    """Each table, and why it can't be copied (empty where it can)."""
    found = {}
    rows = connection.execute(text(TABLES), {"oids": sorted(set(oids))})
    for oid, schema, name, kind, count, size, visible, readable in rows:
        why = ""
        if kind not in ("r", "p", "m"):
            why = f"{name} is no table but a view or foreign"
        elif not readable:
            why = f"the role may not read {name}"
        columns = read_columns(connection, oid, schema, name, count)
        indexes = read_indexes(connection, oid)
        taken = connection.execute(text(TAKEN), {"schema": f'"{schema}"'}).scalars()
        table = Table(
            Place(schema, name),
            columns,
            indexes,
            int(count),
            int(size),
            "" if visible else schema,
            frozenset(taken),
        )
        found[int(oid)] = (table, why)
    return found


def read_columns(
    connection: Connection, oid: int, schema: str, name: str, rows: int
) -> dict[str, Column]:
    found = {}
    values = {"oid": oid, "schema": schema, "name": name}
    for column, kind, typtype, distinct in connection.execute(text(COLUMNS), values):
        share = distinct is not None and distinct < 0  # of the rows, negative
        enum = typtype == "e" or kind == "boolean"
        found[column] = Column(column, kind, -distinct * rows if share else distinct, enum)
    return found


def read_indexes(connection: Connection, oid: int) -> tuple[ExistingIndex, ...]:
    found = []
    rows = connection.execute(text(INDEXES), {"oid": oid})
    for name, unique, method, where, number, valid, names, options in rows:
        keys = [key_text(key, option) for key, option in zip(names[:number], options, strict=False)]
        if all(key.endswith(" DESC") for key in keys):
            keys = [key.removesuffix(" DESC") for key in keys]  # read backwards it is the same
        if valid:
            include = tuple(names[number:])
            found.append(ExistingIndex(name, tuple(keys), unique, method, where, include))
    return tuple(found)


def key_text(name: str, option: int) -> str:
    """With the direction as `Key.text` writes it."""
    descending, first = bool(option & 1), bool(option & 2)
    text_of_key = f"{name} DESC" if descending else name
    if descending != first:
        text_of_key += " NULLS FIRST" if first else " NULLS LAST"
    return text_of_key
