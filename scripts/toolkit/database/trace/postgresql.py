"""What a statement did to a PostgreSQL database: locks, rewrites, scans, rows, schema.

Everything is read in the transaction of the statement itself, before and after it, and by
oid: statistics of earlier transactions that the server has not flushed yet would else be
counted, and a dropped table has no name any more.

The scratch database is empty, and no rows are put into it. Locks, rewrites (a new
`relfilenode`) and scans (the counter of sequential scans) are the same on an empty table.
What needs rows to go wrong (NOT NULL without a default, duplicates under a new UNIQUE) is
told by the schema's change: with a row in the table the revision would stop there, and
nothing after it would be seen. How long a thing takes is never known here.

Outside of a transaction (`autocommit_block`) locks are gone when the statement is. What may
run inside one is put into a transaction of its own for the reading, which is what the
server would do anyway; CREATE INDEX CONCURRENTLY and its like are let be.
"""

import json
import re
from typing import Any

from sqlalchemy import Connection

from .postgresql_schema import LOOK, Names, Schema, changes_between, rewritten
from .postgresql_tables import Tables, as_copy, ident, tables
from .recorder import COMMENTS, Statement, driver_connection, first_word, read

KINDS = {"i": "index", "I": "index", "v": "view", "S": "sequence"}
COUNTED = ("inserted", "updated", "deleted")
ROWS_ONLY = {"INSERT", "UPDATE", "DELETE", "MERGE"}
SETTINGS = {"SET", "RESET", "PREPARE", "SHOW"}
OUTSIDE = re.compile(
    r"""\A(?:
      VACUUM | (?:CALL|DO)\b.*\b(?:COMMIT|ROLLBACK) | CLUSTER\s*;?\s*\Z
      | REINDEX\s+(?:\([^)]*\)\s*)?(?:DATABASE|SYSTEM|SCHEMA)
      | (?:CREATE|DROP)\s+(?:DATABASE|TABLESPACE|SUBSCRIPTION)
      | ALTER\s+(?:SYSTEM|DATABASE|SUBSCRIPTION)
    )\b | \bCONCURRENTLY\b""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
MEASURES = """
SELECT json_build_object(
 'locks', (SELECT json_agg(DISTINCT l.relation::bigint || ' ' || l.mode) FROM pg_catalog.pg_locks l
   WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted
     AND l.relation >= 16384),
 'counters', (SELECT json_object_agg(c.oid, json_build_array(
     pg_catalog.pg_stat_get_xact_numscans(c.oid),
     pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid),
     pg_catalog.pg_stat_get_xact_tuples_updated(c.oid),
     pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid)))
   FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'm', 'p') AND c.oid >= 16384),
 'limits', json_build_object('lock_timeout', current_setting('lock_timeout'),
   'TimeZone', current_setting('TimeZone'), 'server_version', current_setting('server_version')))
::text
"""

DEFAULT = """
SELECT pg_catalog.pg_get_expr(adbin, adrelid) FROM pg_catalog.pg_attrdef
WHERE adrelid = {} AND adnum = {}
"""

DOMAIN = """
SELECT t.typtype = 'd' FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE a.attrelid = {} AND a.attnum = {}
"""
KEYS = """
SELECT json_build_array((SELECT json_agg(pg_catalog.pg_get_indexdef({}, at, false) ORDER BY at)
    FROM generate_series(1, i.indnkeyatts) AS at),
  pg_catalog.pg_get_expr(i.indpred, i.indrelid))::text
FROM pg_catalog.pg_index i WHERE i.indexrelid = {}
"""

WRITABLE = "SELECT pg_catalog.pg_relation_is_updatable({}::regclass, false)"
PARTITION = """
SELECT pg_catalog.pg_get_partition_constraintdef(c.oid),
  pg_catalog.pg_get_expr(c.relpartbound, c.oid), n.nspname || '.' || p.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_inherits h ON h.inhrelid = c.oid
JOIN pg_catalog.pg_class p ON p.oid = h.inhparent
JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace WHERE c.oid = {}
"""


def make_reader(_connection: Connection) -> "PostgresReader":
    return PostgresReader()


class PostgresReader:
    """Compares the schema, the locks and the counters before and after each statement."""

    def __init__(self) -> None:
        self._schema: Schema | None = None
        """As it was last seen; None when it has to be read again."""
        self._names = Names()
        self._tables: Tables | None = None
        """As they were when the revision began; None until a statement may want them."""
        self._locks: set[str] = set()
        self._counters: dict[str, list[int]] = {}
        self._transaction: object = None
        """Which one the locks and counters are of; None when they are to be read again."""
        self._wrapped = False

    def begin_revision(self, connection: Connection) -> None:
        self._schema = look(connection)
        self._names.begin(self._schema)
        self._transaction = self._tables = None

    def before_statement(self, connection: Connection, statement: Statement) -> str:
        sql = str(statement["sql"])
        self._wrapped = not statement["in_transaction"] and may_be_wrapped(sql)
        if self._wrapped:
            read(connection, "BEGIN")
        if self._schema is None:
            self._schema = look(connection)
        if self._tables is None and first_word(sql) not in SETTINGS:
            self._tables = tables(connection)
        if self._transaction != statement["segment"]:  # in autocommit, each has its own
            self._measure(connection)
            self._transaction = statement["segment"]
        return sql

    def after_statement(self, connection: Connection, statement: Statement) -> None:
        before = self._schema
        assert before is not None
        locks, counters = self._locks, self._counters
        if first_word(statement["sql"]) not in ROWS_ONLY:
            self._schema = look(connection)
        statement["limits"] = self._measure(connection)
        after = self._schema
        assert after is not None
        self._names.remember(after)
        statement["changes"] = changes_between(before, after, self._names)
        statement["rewrites"] = rewritten(before, after, self._names)
        self._define(connection, statement)
        if self._wrapped:
            read(connection, "COMMIT")
        self._note_locks(statement, self._locks - locks)
        statement["tables"] = self._known_tables(statement)
        self._note_counters(statement, counters)

    def after_error(self, connection: Connection, statement: Statement) -> None:
        statement["changes"] = []
        if self._wrapped:
            read(connection, "ROLLBACK")
        self._transaction = self._schema = None

    def rolled_back(self, _connection: Connection) -> None:
        self._transaction = self._schema = None

    def end_revision(self, connection: Connection) -> None:
        # The next revision's locks are to be its own, also where env.py runs all of them
        # in one transaction.
        driver = driver_connection(connection)
        if not connection.in_transaction() or getattr(driver, "autocommit", False) is True:
            return
        read(connection, "COMMIT")
        if connection.dialect.driver == "asyncpg":
            # Other drivers begin a transaction by themselves with the next statement.
            read(connection, "BEGIN")

    def _measure(self, connection: Connection) -> dict[str, str]:
        """Read the locks that are held and the counters; the limits that hold."""
        found = json.loads(read(connection, MEASURES)[0][0])
        self._locks = set(found["locks"] or ())
        self._counters = found["counters"] or {}
        limits: dict[str, str] = found["limits"]
        return limits

    def _known_tables(self, statement: Statement) -> Tables:
        """Of the tables that it touched, and their partitions and parents."""
        known = self._tables or {}
        names = {self._names.of(lock.partition(" ")[0]) for lock in self._locks}
        for change in statement["changes"]:
            names |= {change.get("table"), change.get("relation"), change.get("refers_to")}
        names |= {known[name]["parent"] for name in names if name in known}
        return {name: known[name] for name in sorted(filter(None, names)) if name in known}

    def _note_locks(self, statement: Statement, new: set[str]) -> None:
        for lock in sorted(new):
            oid, _, mode = lock.partition(" ")
            if oid in self._names.known:
                statement["locks"].append(
                    {
                        "relation": self._names.of(oid),
                        "mode": mode,
                        "existed": self._names.existed(oid),
                        "kind": KINDS.get(self._names.kind(oid), "table"),
                    }
                )

    def _note_counters(self, statement: Statement, before: dict[str, list[int]]) -> None:
        for oid, now in self._counters.items():
            if oid not in self._names.known:
                continue
            scans, *rows = (a - b for a, b in zip(now, before.get(oid, [0] * 4), strict=True))
            if scans > 0:
                statement["scans"].append(self._names.of(oid))
            if any(rows):
                statement["rows"][self._names.of(oid)] = dict(zip(COUNTED, rows, strict=True))

    def _define(self, connection: Connection, statement: Statement) -> None:
        """Add the definitions of what is new: the safe rewrite needs them."""
        functions = {"index-created": "pg_get_indexdef", "constraint-added": "pg_get_constraintdef"}
        for change in statement["changes"]:
            if change["what"] == "column-added" and change["table"] in statement["rewrites"]:
                rows = read(connection, DOMAIN.format(*change["key"].split(".")))
                change["domain"] = bool(rows and rows[0][0])
            if change["what"] == "column-added" and change["default"]:
                rows = read(connection, DEFAULT.format(*change["key"].split(".")))
                change["expression"] = str(rows[0][0]) if rows else ""
            if change["what"] == "column-type" and change["table"] in statement["rewrites"]:
                self._define_copy(connection, change)
            if change["what"] == "index-created":
                change["keys"], change["predicate"] = json.loads(
                    read(connection, KEYS.replace("{}", str(int(change["oid"]))))[0][0]
                )
            if change["what"] == "relation-created" and change["kind"] == "v":
                # 4, 8 and 16: UPDATE, INSERT, DELETE.
                ((events,),) = read(connection, WRITABLE.format(int(change["oid"])))
                change["writable"] = events & 28 == 28
            if change["what"] == "partition-attached":
                rows = read(connection, PARTITION.replace("{}", str(int(change["oid"]))))
                change["condition"], change["bound"], change["parent"] = rows[0]
            function = functions.get(change["what"])
            if function is not None:
                oid = int(change["oid"])
                (row,) = read(connection, f"SELECT pg_catalog.{function}({oid})")
                change["definition"] = str(row[0])

    def _define_copy(self, connection: Connection, change: dict[str, Any]) -> None:
        columns = (self._tables or {}).get(change["table"], {}).get("columns", {})
        copy = f"{change['column']}_new"[:63]
        if copy not in columns:
            schema, _, name = change["table"].partition(".")
            table = f"{ident(schema)}.{ident(name)}"
            change["copy"] = as_copy(connection, table, change["column"], copy)


def look(connection: Connection) -> Schema:
    schema: Schema = {
        kind: rows or {} for kind, rows in json.loads(read(connection, LOOK)[0][0]).items()
    }
    return schema


def may_be_wrapped(sql: str) -> bool:
    """May this run inside of a transaction, and mean the same there?"""
    found = COMMENTS.match(sql)
    plain = sql[found.end() :] if found else sql
    return first_word(plain) not in SETTINGS and not OUTSIDE.search(plain)
