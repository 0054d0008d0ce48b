"""What may be planned on the given database, and run on a copy: tables, and plain functions.

To plan a statement is to run a part of it: PostgreSQL calls IMMUTABLE and STABLE functions to
estimate, and asks a foreign server for its plan. So nothing is planned that calls what somebody
wrote for this database, or that is no table. What is in no list here is left out (#11).
"""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from sqlalchemy import Connection, text

from toolkit.queries.plans.query import Query
from toolkit.queries.plans.words import words_of

EXTENSIONS = (
    "bloom", "btree_gin", "btree_gist", "citext", "cube", "dict_int", "dict_xsyn",
    "earthdistance", "fuzzystrmatch", "h3", "hll", "hstore", "intarray", "ip4r", "isn", "ltree",
    "pg_bigm", "pg_trgm", "pg_uuidv7", "pgcrypto", "postgis", "rum", "seg", "tsm_system_rows",
    "tsm_system_time", "unaccent", "uuid-ossp", "vector",
)  # fmt: skip
"""Types, operators and functions that compute. Others reach files or servers, or run texts."""
COMPUTES = (
    "clock_timestamp", "gen_random_uuid", "random", "random_normal", "timeofday", "uuidv4",
    "uuidv7",
)  # fmt: skip
"""Those of PostgreSQL's own volatile functions that only give a value."""
OF_THE_SERVER = 16384
"""Oids below are PostgreSQL's own."""
# Functions of PostgreSQL that are not volatile change nothing.
FUNCTIONS = f"""
    SELECT DISTINCT p.proname FROM pg_proc p
    LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
      AND d.deptype = 'e'
    LEFT JOIN pg_extension e ON e.oid = d.refobjid
    WHERE p.proname = ANY(:names) AND CASE
      WHEN p.oid < {OF_THE_SERVER} THEN p.provolatile = 'v' AND p.proname <> ALL(:computes)
      ELSE coalesce(e.extname <> ALL(:extensions), true) END
"""  # noqa: S608  (a number)
OPERATORS = f"""
    SELECT DISTINCT o.oprname FROM pg_operator o
    LEFT JOIN pg_depend d ON d.classid = 'pg_operator'::regclass AND d.objid = o.oid
      AND d.deptype = 'e'
    LEFT JOIN pg_extension e ON e.oid = d.refobjid
    WHERE o.oid >= {OF_THE_SERVER} AND coalesce(e.extname <> ALL(:extensions), true)
      AND NOT EXISTS (SELECT 1 FROM pg_operator s
                      WHERE s.oprname = o.oprname AND s.oid < {OF_THE_SERVER})
"""  # noqa: S608
RELATIONS = f"""
    WITH RECURSIVE above(oid) AS (
        SELECT i.inhparent FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE c.relkind = 'f'
      UNION SELECT i.inhparent FROM pg_inherits i JOIN above a ON a.oid = i.inhrelid
    )
    SELECT c.oid::bigint, c.relname, 'is no table but a view or foreign'
    FROM pg_class c WHERE c.relkind IN ('v', 'f') AND c.oid >= {OF_THE_SERVER}
    UNION ALL SELECT c.oid::bigint, c.relname, 'has a part on another server'
    FROM pg_class c WHERE c.oid IN (SELECT oid FROM above)
    UNION ALL SELECT c.oid::bigint, c.relname,
      'has a policy or rule that calls ' || p.proname || ', a function of this database'
    FROM pg_class c JOIN (
        SELECT 'pg_policy'::regclass AS catalog, oid, polrelid AS relation FROM pg_policy
        WHERE row_security_active(polrelid)
      UNION ALL SELECT 'pg_rewrite'::regclass, oid, ev_class FROM pg_rewrite
    ) r ON r.relation = c.oid
    JOIN pg_depend d ON d.classid = r.catalog AND d.objid = r.oid
      AND d.refclassid = 'pg_proc'::regclass
    JOIN pg_proc p ON p.oid = d.refobjid
    WHERE c.relkind IN ('r', 'p')
"""  # noqa: S608


@dataclass
class Strange:
    """What statements must not reach, on one database."""

    functions: set[str]
    """Of those that the statements may call."""
    operators: set[str]
    relations: dict[int, str]
    """By oid: `log is no table but a view or foreign`."""
    names: dict[str, set[int]]
    """Oids of these relations by their names."""


def read_strange(connection: Connection, queries: Sequence[Query]) -> Strange:
    calls = {name for query in queries for name in words_of(query, "postgresql").calls}
    values = {"names": sorted(calls), "computes": list(COMPUTES), "extensions": list(EXTENSIONS)}
    functions = connection.execute(text(FUNCTIONS), values).scalars()
    operators = connection.execute(text(OPERATORS), {"extensions": list(EXTENSIONS)}).scalars()
    found = Strange(set(functions), set(operators), {}, {})
    for oid, name, why in connection.execute(text(RELATIONS)):
        found.relations[int(oid)] = f"{name} {why}"
        found.names.setdefault(str(name), set()).add(int(oid))
    return found


def why_not(query: Query, strange: Strange, tables: Callable[[], Set[int] | None]) -> str:
    """Why the statement is neither planned nor run; empty where it is plain.

    `tables` gives the oids of the relations that it names, or None where that can't be told.
    """
    words = words_of(query, "postgresql")
    if not words.understood:
        return "its spelling hides what it calls"
    if called := sorted(words.calls & strange.functions):
        return f"it calls {called[0]}, and what that does beyond giving a value is not known"
    if used := sorted(one for one in strange.operators if any(one in s for s in words.operators)):
        return f"it uses {used[0]}, an operator of this database"
    named = {oid for name in words.names & set(strange.names) for oid in strange.names[name]}
    if named:
        known = tables()
        named &= named if known is None else known
    return strange.relations[min(named)] if named else ""
