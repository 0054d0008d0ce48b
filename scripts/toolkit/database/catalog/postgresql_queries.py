"""The statements that read a PostgreSQL catalog: five, whatever the number of tables.

Each row ends with an object as text. Sizes, owners, rights and statistics are left out.
"""

# ruff: noqa: S608  (put together from constants of this file)

OWN = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"


def own(catalog: str, oid: str) -> str:
    """A schema of the user's, and no object of an extension."""
    return (
        f"{OWN} AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{catalog}'::regclass"
        f" AND e.objid = {oid} AND e.deptype = 'e')"
    )


RELATIONS = f"""
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized_view'
            WHEN 'c' THEN 'type' WHEN 'f' THEN 'foreign_table' ELSE 'table' END,
       n.nspname, c.relname, jsonb_build_object(
    'persistence', c.relpersistence,
    'storage_parameters', COALESCE((SELECT jsonb_object_agg(split_part(o, '=', 1),
            substr(o, strpos(o, '=') + 1))
        FROM (SELECT unnest(c.reloptions) UNION ALL SELECT 'toast.' || unnest(t.reloptions)) p(o)),
        '{{}}'),
    'tablespace', s.spcname,
    'row_security', c.relrowsecurity::int + c.relforcerowsecurity::int,
    'replica_identity', c.relreplident,
    'partition_by', CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
    'partition_bound', pg_get_expr(c.relpartbound, c.oid),
    'inherits', (SELECT jsonb_agg(i.inhparent::regclass::text ORDER BY i.inhseqno)
                 FROM pg_inherits i WHERE i.inhrelid = c.oid),
    'definition', CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
    'comment', obj_description(c.oid, 'pg_class'))::text
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'c', 'f') AND {own("pg_class", "c.oid")}
"""

SEQUENCE = """
    'type', format_type(s.seqtypid, NULL), 'start', s.seqstart, 'increment', s.seqincrement,
    'minimum', s.seqmin, 'maximum', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle"""

COLUMNS = f"""
SELECT c.relkind::text, n.nspname, c.relname, a.attname, jsonb_build_object(
    'order', a.attnum,
    'type', format_type(a.atttypid, a.atttypmod),
    'nullable', NOT a.attnotnull,
    'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
    'generated', CASE WHEN a.attgenerated <> '' THEN jsonb_build_object(
        'expression', pg_get_expr(d.adbin, d.adrelid), 'stored', a.attgenerated = 's') END,
    'identity', NULLIF(a.attidentity, ''),
    'serial', NULL,
    'collation', CASE WHEN a.attcollation <> y.typcollation
                      THEN a.attcollation::regcollation::text END,
    'storage', CASE WHEN a.attstorage <> y.typstorage THEN a.attstorage END,
    'statistics', NULLIF(a.attstattarget, -1),
    'options', a.attoptions,
    'comment', col_description(c.oid, a.attnum),
    'sequence', q.sequence)::text
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type y ON y.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN (
    SELECT e.refobjid, e.refobjsubid,
           jsonb_build_object('regclass', s.seqrelid::regclass::text, {SEQUENCE}) AS sequence
    FROM pg_sequence s
    JOIN pg_depend e ON e.classid = 'pg_class'::regclass AND e.objid = s.seqrelid
        AND e.refclassid = 'pg_class'::regclass AND e.deptype IN ('a', 'i')
) q ON q.refobjid = a.attrelid AND q.refobjsubid = a.attnum
WHERE c.relkind IN ('r', 'p', 'c', 'f') AND a.attnum > 0 AND NOT a.attisdropped
    AND {own("pg_class", "c.oid")}
"""

NAMES_OF = """(SELECT COALESCE(jsonb_agg(a.attname ORDER BY k.place), '[]')
        FROM unnest({numbers}) WITH ORDINALITY k(number, place)
        JOIN pg_attribute a ON a.attrelid = {relation} AND a.attnum = k.number)"""

# PostgreSQL 18 keeps NOT NULL here, too ('n'): that is an attribute of the column.
CONSTRAINTS = f"""
SELECT n.nspname, c.relname, o.conname, o.contype::text, jsonb_build_object(
    'definition', regexp_replace(pg_get_constraintdef(o.oid), ' NOT VALID$', ''),
    'validated', o.convalidated,
    'comment', obj_description(o.oid, 'pg_constraint'),
    'parts', jsonb_build_object(
        'columns', {NAMES_OF.format(numbers="o.conkey", relation="o.conrelid")},
        'referred_schema', rn.nspname, 'referred_table', r.relname,
        'referred_columns', {NAMES_OF.format(numbers="o.confkey", relation="o.confrelid")}))::text
FROM pg_constraint o
JOIN pg_class c ON c.oid = o.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class r ON r.oid = o.confrelid
LEFT JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE o.contype IN ('p', 'u', 'f', 'c', 'x') AND {own("pg_class", "c.oid")}
"""

INDEXES = f"""
SELECT n.nspname, c.relname, x.relname, jsonb_build_object(
    'definition', pg_get_indexdef(i.indexrelid),
    'valid', i.indisvalid,
    'tablespace', s.spcname,
    'comment', obj_description(i.indexrelid, 'pg_class'),
    'parts', jsonb_build_object(
        'method', m.amname,
        'where', pg_get_expr(i.indpred, i.indrelid),
        'with', x.reloptions,
        'keys', (SELECT jsonb_agg(jsonb_build_object(
                'text', pg_get_indexdef(i.indexrelid, k, true),
                'column', (SELECT a.attname FROM pg_attribute a
                           WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[k - 1]),
                'option', i.indoption[k - 1],
                'class', (SELECT p.opcname FROM pg_opclass p
                          WHERE p.oid = i.indclass[k - 1] AND NOT p.opcdefault)) ORDER BY k)
            FROM generate_series(1, i.indnkeyatts) k),
        'include', (SELECT COALESCE(jsonb_agg(pg_get_indexdef(i.indexrelid, k, true)
                ORDER BY k), '[]')
            FROM generate_series(i.indnkeyatts + 1, i.indnatts) k)))::text
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = x.relnamespace
JOIN pg_am m ON m.oid = x.relam
LEFT JOIN pg_tablespace s ON s.oid = x.reltablespace
WHERE NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid
                  AND o.contype IN ('p', 'u', 'x'))
    AND {own("pg_class", "c.oid")}
"""

OTHERS = f"""
SELECT 'enum', n.nspname, NULL, t.typname, jsonb_build_object(
    'values', (SELECT jsonb_agg(l.enumlabel ORDER BY l.enumsortorder)
               FROM pg_enum l WHERE l.enumtypid = t.oid),
    'comment', obj_description(t.oid, 'pg_type'))::text
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype = 'e' AND {own("pg_type", "t.oid")}
UNION ALL
SELECT 'domain', n.nspname, NULL, t.typname, jsonb_build_object(
    'type', format_type(t.typbasetype, t.typtypmod), 'nullable', NOT t.typnotnull,
    'collation', CASE WHEN t.typcollation <> b.typcollation
                      THEN t.typcollation::regcollation::text END,
    'default', t.typdefault, 'checks', (SELECT jsonb_agg(pg_get_constraintdef(o.oid)
        ORDER BY pg_get_constraintdef(o.oid)) FROM pg_constraint o
        WHERE o.contypid = t.oid AND o.contype = 'c'))::text
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
JOIN pg_type b ON b.oid = t.typbasetype
WHERE t.typtype = 'd' AND {own("pg_type", "t.oid")}
UNION ALL
SELECT 'sequence', n.nspname, NULL, c.relname, jsonb_build_object({SEQUENCE},
    'owned_by', (SELECT e.refobjid::regclass::text || '.' || a.attname FROM pg_depend e
        JOIN pg_attribute a ON a.attrelid = e.refobjid AND a.attnum = e.refobjsubid
        WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'a'
            AND e.refclassid = 'pg_class'::regclass),
    'parts', jsonb_build_object('regclass', c.oid::regclass::text))::text
FROM pg_sequence s
JOIN pg_class c ON c.oid = s.seqrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {own("pg_class", "c.oid")} AND NOT EXISTS (SELECT FROM pg_depend i
    WHERE i.classid = 'pg_class'::regclass AND i.objid = c.oid AND i.deptype = 'i')
UNION ALL
SELECT 'trigger', n.nspname, c.relname, t.tgname, jsonb_build_object(
    'definition', pg_get_triggerdef(t.oid), 'enabled', t.tgenabled)::text
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND {own("pg_trigger", "t.oid")}
UNION ALL
SELECT 'function', n.nspname, NULL,
    p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
    jsonb_build_object('definition', pg_get_functiondef(p.oid))::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prokind IN ('f', 'p') AND {own("pg_proc", "p.oid")}
UNION ALL
SELECT 'policy', n.nspname, c.relname, p.polname, jsonb_build_object(
    'command', p.polcmd, 'permissive', p.polpermissive,
    'roles', p.polroles::regrole[]::text, 'using', pg_get_expr(p.polqual, p.polrelid),
    'check', pg_get_expr(p.polwithcheck, p.polrelid))::text
FROM pg_policy p
JOIN pg_class c ON c.oid = p.polrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {OWN}
UNION ALL
SELECT 'statistics', n.nspname, NULL, s.stxname, jsonb_build_object(
    'definition', pg_get_statisticsobjdef(s.oid))::text
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
WHERE {own("pg_statistic_ext", "s.oid")}
UNION ALL
SELECT 'extension', NULL, NULL, e.extname, jsonb_build_object('in_schema', n.nspname)::text
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname <> 'plpgsql'
UNION ALL
SELECT 'schema', NULL, NULL, n.nspname, '{{}}' FROM pg_namespace n
WHERE {OWN} AND NOT EXISTS (SELECT FROM pg_depend e
    WHERE e.classid = 'pg_namespace'::regclass AND e.objid = n.oid AND e.deptype = 'e')
"""
