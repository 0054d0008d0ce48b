"""What a safe form has to know of a table: its key, columns, indexes, constraints, partitions.

Read once a revision, before its first statement that could need it: the forms replace the
statement, so they begin with the table as it was (#15).
"""

import json
from typing import Any

from sqlalchemy import Connection

from .recorder import read

Tables = dict[str, dict[str, Any]]
"""Full name -> facts, named as in TABLES."""

# `uses` are the columns that an index or a constraint reads, also inside an expression.
TABLES = r"""
WITH t AS (
  SELECT c.*, n.nspname FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_'
    AND n.nspname <> 'information_schema' AND c.relname !~ '^alembic_version'
), used AS (
  SELECT d.classid, d.objid, d.refobjid, json_agg(DISTINCT a.attname) AS uses
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
  WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0
  GROUP BY 1, 2, 3
)
SELECT json_object_agg(t.nspname || '.' || t.relname, json_build_object(
 'kind', t.relkind,
 'row_security', t.relrowsecurity,
 'policies', EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = t.oid),
 'key', (SELECT json_agg(a.attname ORDER BY k.at)
   FROM pg_catalog.pg_index i, unnest(i.indkey) WITH ORDINALITY k(number, at)
   JOIN pg_catalog.pg_attribute a ON a.attnum = k.number
   WHERE i.indrelid = t.oid AND i.indisprimary AND a.attrelid = t.oid AND k.at <= i.indnkeyatts),
 'columns', (SELECT json_object_agg(a.attname, json_build_object(
     'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
     'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid), 'identity', a.attidentity,
     'generated', a.attgenerated))
   FROM pg_catalog.pg_attribute a
   LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped),
 'indexes', (SELECT json_object_agg(x.relname, json_build_object(
     'definition', pg_catalog.pg_get_indexdef(x.oid), 'unique', i.indisunique,
     'partial', i.indpred IS NOT NULL, 'uses', coalesce(used.uses, '[]'::json)))
   FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
   LEFT JOIN used ON used.objid = x.oid AND used.refobjid = t.oid
     AND used.classid = 'pg_catalog.pg_class'::regclass
   WHERE i.indrelid = t.oid AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
     WHERE k.conindid = x.oid AND k.contype IN ('p', 'u', 'x'))),
 'constraints', (SELECT json_object_agg(k.conname, json_build_object(
     'type', k.contype, 'definition', pg_catalog.pg_get_constraintdef(k.oid),
     'uses', coalesce(used.uses, '[]'::json)))
   FROM pg_catalog.pg_constraint k
   LEFT JOIN used ON used.objid = k.oid AND used.refobjid = t.oid
     AND used.classid = 'pg_catalog.pg_constraint'::regclass
   WHERE k.conrelid = t.oid AND k.contype IN ('c', 'f', 'p', 'u', 'x')),
 'parent', (SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_inherits h
   JOIN pg_catalog.pg_class c ON c.oid = h.inhparent
   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE h.inhrelid = t.oid AND t.relispartition),
 'bound', pg_catalog.pg_get_expr(t.relpartbound, t.oid),
 'default_partition', EXISTS (SELECT FROM pg_catalog.pg_partitioned_table p
   WHERE p.partrelid = t.oid AND p.partdefid <> 0),
 'nested', EXISTS (SELECT FROM pg_catalog.pg_inherits h
   JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid
   WHERE h.inhparent = t.oid AND c.relkind = 'p')
))::text FROM t
"""

# What hangs on a column, written by the server as if the column had another name already.
COPY = r"""
WITH c AS (
  SELECT a.attrelid AS t, a.attnum AS n FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = '{table}'::regclass AND a.attname = '{copy}'
)
SELECT json_build_object(
 'indexes', (SELECT json_agg(json_build_object(
     'name', x.relname, 'definition', pg_catalog.pg_get_indexdef(x.oid), 'unique', i.indisunique)
     ORDER BY x.relname)
   FROM c JOIN pg_catalog.pg_index i ON i.indrelid = c.t
   JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
   WHERE EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = x.oid AND d.refobjid = c.t
       AND d.refobjsubid = c.n AND d.classid = 'pg_catalog.pg_class'::regclass)
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
       WHERE k.conindid = x.oid AND k.contype IN ('p', 'u', 'x'))),
 'constraints', (SELECT json_agg(json_build_object(
     'name', k.conname, 'type', k.contype, 'definition', pg_catalog.pg_get_constraintdef(k.oid),
     'valid', k.convalidated, 'table', k.conrelid::regclass::text, 'own', k.conrelid = c.t)
     ORDER BY k.contype, k.conname)
   FROM c JOIN pg_catalog.pg_constraint k
     ON (k.conrelid = c.t AND c.n = ANY (k.conkey)) OR (k.confrelid = c.t AND c.n = ANY (k.confkey))
   WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND k.conparentid = 0),
 'others', (SELECT json_agg(pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid))
   FROM c JOIN pg_catalog.pg_depend d ON d.refobjid = c.t AND d.refobjsubid = c.n
     AND d.refclassid = 'pg_catalog.pg_class'::regclass
   LEFT JOIN pg_catalog.pg_class r ON r.oid = d.objid AND d.classid = d.refclassid
   LEFT JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid
     AND d.classid = 'pg_catalog.pg_attrdef'::regclass
   WHERE NOT coalesce(r.relkind IN ('i', 'I', 'S'), false)
     AND d.classid <> 'pg_catalog.pg_constraint'::regclass
     AND NOT coalesce(f.adnum = c.n, false)),
 'default', (SELECT pg_catalog.pg_get_expr(f.adbin, f.adrelid) FROM c
   JOIN pg_catalog.pg_attrdef f ON f.adrelid = c.t AND f.adnum = c.n),
 'plain_sequence', (SELECT q.seqincrement = 1 AND q.seqcache = 1 AND q.seqstart = 1
     AND NOT q.seqcycle FROM pg_catalog.pg_sequence q WHERE q.seqrelid
     = pg_catalog.pg_get_serial_sequence('{table}', '{copy}')::regclass),
 'sequence', pg_catalog.pg_get_serial_sequence('{table}', '{copy}'))::text
"""


def tables(connection: Connection) -> Tables:
    found: Tables = json.loads(read(connection, TABLES)[0][0] or "{}")
    return found


def as_copy(connection: Connection, table: str, column: str, copy: str) -> dict[str, Any] | None:
    """What a second column called `copy` needs to take the place of `column`; None where the
    server does not rename it (a partition's own column). Leaves nothing behind."""
    read(connection, "SAVEPOINT toolkit_copy")
    try:
        read(connection, f"ALTER TABLE {table} RENAME COLUMN {ident(column)} TO {ident(copy)}")
        sql = COPY.replace("{table}", table.replace("'", "''"))
        rows = read(connection, sql.replace("{copy}", copy.replace("'", "''")))
        found: dict[str, Any] = {**json.loads(rows[0][0]), "name": copy}
        return found
    except Exception:  # each driver has its own; the savepoint undoes whatever it was
        return None
    finally:
        read(connection, "ROLLBACK TO SAVEPOINT toolkit_copy")
        read(connection, "RELEASE SAVEPOINT toolkit_copy")


def ident(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
