"""The statements that read PostgreSQL's catalog and statistics (12 and later)."""

# ruff: noqa: S608  (put together from constants of this file)

OWN = (
    "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM"
    " pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')"
)

# reltuples is -1 before the first ANALYZE (0 in old versions); n_live_tup counts from the
# writes. Where both are unknown, a page of 8 kB is taken to hold 50 rows.
TABLES = f"""
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relispartition,
       greatest(c.reltuples, s.n_live_tup, 0)::bigint,
       pg_total_relation_size(c.oid), pg_relation_size(c.oid) / 8192,
       c.reltuples > 0 OR s.last_analyze IS NOT NULL OR s.last_autoanalyze IS NOT NULL,
       coalesce(s.seq_scan, 0), coalesce(s.seq_tup_read, 0), coalesce(s.idx_scan, 0),
       coalesce(s.n_dead_tup, 0), coalesce(s.n_tup_del, 0),
       coalesce(s.n_tup_ins + s.n_tup_upd + s.n_tup_del, 0),
       coalesce((SELECT p.option_value FROM pg_options_to_table(c.reloptions) p
                 WHERE p.option_name = 'autovacuum_enabled'), 'true'),
       (SELECT p.option_value::bigint FROM pg_options_to_table(c.reloptions) p
        WHERE p.option_name = 'autovacuum_vacuum_threshold'),
       (SELECT p.option_value::float FROM pg_options_to_table(c.reloptions) p
        WHERE p.option_name = 'autovacuum_vacuum_scale_factor'),
       s.last_vacuum::text, s.last_autovacuum::text
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND {OWN}
ORDER BY 2, 3
"""

# A partition's index belongs to the parent's (pg_inherits), and goes with that.
INDEXES = f"""
SELECT i.indrelid::bigint, x.relname, m.amname, i.indisunique,
       i.indisprimary OR i.indisreplident OR i.indisexclusion OR i.indisclustered OR EXISTS (
           SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid AND o.contype <> 'f'),
       i.indisvalid AND i.indisready, coalesce(pg_get_expr(i.indpred, i.indrelid), ''),
       pg_relation_size(i.indexrelid), s.idx_scan, i.indexrelid::bigint,
       pg_get_indexdef(i.indexrelid), i.indnkeyatts,
       (SELECT jsonb_agg(jsonb_build_array(
            pg_get_indexdef(i.indexrelid, k, false),
            (SELECT a.attname FROM pg_attribute a
             WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[k - 1]),
            CASE WHEN k <= i.indnkeyatts THEN i.indclass[k - 1]::bigint END,
            CASE WHEN k <= i.indnkeyatts THEN i.indcollation[k - 1]::bigint END,
            CASE WHEN k <= i.indnkeyatts THEN i.indoption[k - 1] END) ORDER BY k)
        FROM generate_series(1, i.indnatts) k)::text,
       EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indexrelid),
       EXISTS (SELECT FROM pg_stat_progress_create_index g
               WHERE g.index_relid = i.indexrelid)
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_am m ON m.oid = x.relam
LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = i.indexrelid
WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND {OWN}
ORDER BY x.oid
"""

FOREIGN_KEYS = f"""
SELECT o.conrelid::bigint, o.conname, o.confrelid::regclass::text, o.confdeltype::text,
       coalesce(s.n_tup_del, 0), o.confrelid::bigint,
       (SELECT jsonb_agg(a.attname ORDER BY k.place)
        FROM unnest(o.conkey) WITH ORDINALITY k(number, place)
        JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.number)::text
FROM pg_constraint o
JOIN pg_class c ON c.oid = o.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_all_tables s ON s.relid = o.confrelid
WHERE o.contype = 'f' AND o.conparentid = 0 AND {OWN}
ORDER BY o.oid
"""

NOT_VALID = f"""
SELECT o.conrelid::bigint, o.conname, o.contype::text, pg_get_constraintdef(o.oid)
FROM pg_constraint o
JOIN pg_class c ON c.oid = o.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT o.convalidated AND o.conparentid = 0 AND o.contype IN ('f', 'c') AND {OWN}
ORDER BY o.oid
"""

WITHOUT_KEY = f"""
SELECT c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' AND {OWN}
  AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid)
  AND NOT EXISTS (
    SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
      AND i.indpred IS NULL AND i.indexprs IS NULL
      AND (i.indisprimary OR NOT EXISTS (
        SELECT FROM unnest(i.indkey) k(number) JOIN pg_attribute a
          ON a.attrelid = c.oid AND a.attnum = k.number WHERE NOT a.attnotnull)))
ORDER BY 1
"""

# The column's type bounds what its sequence may give, whatever the sequence's own type is.
SEQUENCES = f"""
SELECT a.attrelid::bigint, a.attname, format_type(a.atttypid, NULL),
       least(q.seqmax, CASE a.atttypid WHEN 'int2'::regtype THEN 32767
                                       WHEN 'int4'::regtype THEN 2147483647
                                       ELSE 9223372036854775807 END),
       CASE WHEN has_sequence_privilege(q.seqrelid, 'SELECT,USAGE')
            THEN pg_sequence_last_value(q.seqrelid) END
FROM pg_sequence q
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = q.seqrelid
    AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT q.seqcycle AND q.seqincrement > 0 AND {OWN}
ORDER BY q.seqrelid
"""

# reset_val: what a connection begins with, not the limits that this one has set.
SETTINGS = """
SELECT name, reset_val FROM pg_settings WHERE name IN ('shared_preload_libraries',
    'track_io_timing', 'track_counts', 'autovacuum', 'random_page_cost', 'statement_timeout',
    'log_min_duration_statement', 'enable_seqscan', 'enable_indexscan', 'enable_nestloop',
    'enable_hashjoin', 'autovacuum_vacuum_threshold', 'autovacuum_vacuum_scale_factor',
    'fsync', 'server_version', 'idle_in_transaction_session_timeout')
"""

# Without a reset the statistics are as old as the database; since when that is, only its
# file knows, which few roles may look at. The server's start is then the least it can be.
AGE = """
SELECT extract(epoch FROM now() - d.stats_reset)::float / 86400,
       extract(epoch FROM now() - pg_postmaster_start_time())::float / 86400
FROM pg_stat_database d WHERE d.datname = current_database()
"""
CREATED = """
SELECT extract(epoch FROM now() - (pg_stat_file(
    'base/' || d.oid || '/PG_VERSION', true)).modification)::float / 86400
FROM pg_database d WHERE d.datname = current_database()
"""
MAY_STAT = "SELECT has_function_privilege('pg_stat_file(text,boolean)', 'EXECUTE')"

REPLICAS = """
SELECT (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical')
     + (SELECT count(*) FROM pg_stat_replication), pg_is_in_recovery()
"""

HELD_BACK = """
SELECT extract(epoch FROM now() - min(xact_start))::float
FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND backend_xmin IS NOT NULL
"""

EXTENSION = "SELECT count(*) FROM pg_extension WHERE extname = 'pg_stat_statements'"
