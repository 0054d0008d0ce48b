"""How the tables of the given database are made, for a copy of them without its rules.

Constraints other than the primary key, triggers and defaults are left out: they decide what may
be written, not how it is read.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from toolkit.queries.plans.model import Place
from toolkit.queries.plans.postgresql.plain import EXTENSIONS as PLAIN_EXTENSIONS
from toolkit.report.quoting import identifier, literal, qualified

COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
           format_type(coalesce(nullif(e.typbasetype, 0), nullif(t.typbasetype, 0)), -1),
           coalesce(nullif(t.typelem, 0), t.oid)::bigint, coalesce(e.typtype, t.typtype)::text,
           coalesce(o.collname, ''), coalesce(co.nspname, ''), coalesce(a.attstattarget, -1)::int
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
    LEFT JOIN pg_collation o ON o.oid = a.attcollation AND o.collname <> 'default'
    LEFT JOIN pg_namespace co ON co.oid = o.collnamespace
    WHERE a.attrelid = :oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
ENUMS = """
    SELECT n.nspname, t.typname, l.enumlabel
    FROM pg_enum l JOIN pg_type t ON t.oid = l.enumtypid
    JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE t.oid = ANY(:oids) ORDER BY t.oid, l.enumsortorder
"""
INDEXES = """
    SELECT pg_get_indexdef(i.indexrelid), i.indisprimary, c.relname, i.indisunique
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = :oid AND i.indisvalid ORDER BY i.indisprimary DESC, c.relname
"""
STATISTICS = "SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxrelid = :oid"
EXTENSIONS = """
    SELECT e.extname, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = ANY(:plain)
"""
# As JSON, since newer versions have more of these columns and other names for them.
LOCALE = """
    SELECT d.datcollate, d.datctype, coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'),
           coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', ''),
           current_setting('server_version_num')::int / 10000
    FROM pg_database d WHERE d.datname = current_database()
"""
# Plans depend on these; the given database's session has them from its role and database, too.
SETTINGS = """
    SELECT name, setting FROM pg_settings
    WHERE context = 'user' AND (category LIKE 'Query Tuning%' OR name IN
        ('work_mem', 'hash_mem_multiplier', 'temp_buffers', 'jit', 'TimeZone', 'DateStyle',
         'IntervalStyle', 'max_parallel_workers_per_gather', 'default_statistics_target',
         'effective_io_concurrency'))
"""


@dataclass(frozen=True)
class Copied:
    """One table and the statements that make it."""

    place: Place
    columns: tuple[str, ...]
    text_columns: tuple[str, ...]
    """Their definitions with text for a type: where the scratch server lacks that."""
    definitions: tuple[str, ...]
    indexes: tuple[str, ...]
    """Run after the rows are there; one that fails is left out."""


@dataclass(frozen=True)
class Locale:
    """How a database sorts text."""

    collate: str
    ctype: str
    provider: str
    """`c` is the operating system's, `i` ICU's, `b` PostgreSQL's own."""
    locale: str

    def __str__(self) -> str:
        return self.locale or self.collate

    @property
    def clause(self) -> str:
        """For CREATE DATABASE."""
        words = f"LC_COLLATE {literal(self.collate)} LC_CTYPE {literal(self.ctype)}"
        if self.provider == "i":
            words += f" LOCALE_PROVIDER icu ICU_LOCALE {literal(self.locale)}"
        elif self.provider == "b":
            words += f" LOCALE_PROVIDER builtin BUILTIN_LOCALE {literal(self.locale)}"
        return words


def read_locale(connection: Connection) -> tuple[Locale, int]:
    """Of the database of this connection, and the server's major version."""
    *parts, version = connection.exec_driver_sql(LOCALE).one()
    return Locale(*parts), int(version)


@dataclass(frozen=True)
class Schema:
    """Everything that is needed before the rows."""

    tables: tuple[Copied, ...]
    schemas: tuple[str, ...]
    extensions: tuple[tuple[str, str], ...]
    types: tuple[str, ...]
    search_path: tuple[str, ...]
    locale: Locale
    version: int
    """Of the server, the major one."""
    settings: dict[str, str] = field(default_factory=dict)


def read_schema(connection: Connection, oids: dict[int, Place]) -> Schema:
    """The definitions of these tables (oid to place)."""
    tables, enums = [], set()
    for oid, place in sorted(oids.items()):
        table, types = read_table(connection, oid, place)
        tables.append(table)
        enums |= types
    labels: dict[tuple[str, str], list[str]] = {}
    for schema, name, label in connection.execute(text(ENUMS), {"oids": sorted(enums)}):
        labels.setdefault((schema, name), []).append(label)
    rows = connection.execute(text(EXTENSIONS), {"plain": list(PLAIN_EXTENSIONS)})
    extensions = [(str(name), str(schema)) for name, schema in rows]
    path = connection.exec_driver_sql("SELECT unnest(current_schemas(false))").scalars()
    settings = {name: value for name, value in connection.execute(text(SETTINGS))}
    locale, version = read_locale(connection)
    schemas = {place.schema for place in oids.values()} | {schema for schema, _ in labels}
    schemas |= {schema for _, schema in extensions}
    return Schema(
        tuple(tables),
        tuple(sorted(schemas - {"pg_catalog"})),
        tuple(extensions),
        tuple(
            f"CREATE TYPE {qualified(schema, name)} AS ENUM ({quoted_texts(all_)})"
            for (schema, name), all_ in labels.items()
        ),
        tuple(path),
        locale,
        version,
        settings,
    )


def read_table(connection: Connection, oid: int, place: Place) -> tuple[Copied, set[int]]:
    names, definitions, as_text, indexes, enums = [], [], [], [], set()
    for (
        name,
        kind,
        required,
        base,
        type_oid,
        category,
        collation,
        schema,
        target,
    ) in connection.execute(text(COLUMNS), {"oid": oid}):
        if category == "e":
            enums.add(int(type_oid))
        if category == "d" and base:
            kind = base  # noqa: PLW2901  (a domain is its base type with a check)
        more = f" COLLATE {qualified(schema, collation)}" if collation else ""
        more += " NOT NULL" if required else ""
        names.append(name)
        definitions.append(f"{identifier(name)} {kind}{more}")
        as_text.append(f"{identifier(name)} text")
        if target >= 0:
            column = f"{qualified(place.schema, place.name)} ALTER COLUMN {identifier(name)}"
            indexes.append(f"ALTER TABLE {column} SET STATISTICS {target}")
    for definition, primary, index, unique in connection.execute(text(INDEXES), {"oid": oid}):
        # Of a partitioned table it says ON ONLY, and builds nothing that is used.
        indexes.append(definition.replace(" ON ONLY ", " ON ", 1))
        if primary and unique:
            constraint = f"{qualified(place.schema, place.name)} ADD PRIMARY KEY USING INDEX"
            indexes.append(f"ALTER TABLE {constraint} {identifier(index)}")
    indexes += connection.execute(text(STATISTICS), {"oid": oid}).scalars()
    table = Copied(place, tuple(names), tuple(as_text), tuple(definitions), tuple(indexes))
    return table, enums


def make_schema(connection: Connection, schema: Schema) -> list[str]:
    """Make types and empty tables on the scratch copy; what could not be had, a line each."""
    notes = []
    for name in schema.schemas:
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {identifier(name)}")
    for name, place in schema.extensions:
        if not extend(connection, name, place):
            notes.append(f"the scratch server has no extension {name}, or not for this role")
    for statement in schema.types:
        connection.exec_driver_sql(statement)
    path = ", ".join(map(identifier, schema.search_path)) or "public"
    connection.exec_driver_sql(f"SET search_path = {path}")
    for table in schema.tables:
        name = qualified(table.place.schema, table.place.name)
        if attempt(connection, f"CREATE UNLOGGED TABLE {name} ({', '.join(table.definitions)})"):
            continue
        columns = [
            known if possible(connection, f"CREATE TEMP TABLE _one ({known})") else plain
            for known, plain in zip(table.definitions, table.text_columns, strict=True)
        ]
        connection.exec_driver_sql(f"CREATE UNLOGGED TABLE {name} ({', '.join(columns)})")
        notes.append(f"the scratch server lacks a type of {table.place.name}: it is text there")
    return notes


def make_indexes(connection: Connection, table: Copied) -> list[str]:
    failed = [one for one in table.indexes if not attempt(connection, one)]
    return [f"{len(failed)} of {table.place.name}'s own indexes can't be made"] if failed else []


def session(connection: Connection, schema: Schema, milliseconds: int) -> None:
    """Give the scratch session what plans depend on."""
    run = connection.exec_driver_sql
    for name, value in schema.settings.items():
        attempt(connection, f"SET {identifier(name)} = {literal(value)}")
    run(f"SET search_path = {', '.join(map(identifier, schema.search_path)) or 'public'}")
    run("SET standard_conforming_strings = on")
    run(f"SET statement_timeout = {milliseconds}")


def extend(connection: Connection, name: str, place: str | None = None) -> bool:
    """Make an extension, on a private server with the administrator's help; is it there?"""
    wanted = f"{literal(name)}, {literal(place) if place else 'current_schema()'}, NULL"
    attempt(connection, f"SELECT pg_catalog.alembic_scratch_extension({wanted})")
    within = "" if place is None else f" SCHEMA {identifier(place)}"
    statement = f"CREATE EXTENSION IF NOT EXISTS {identifier(name)}{within} CASCADE"
    return attempt(connection, statement)


def attempt(connection: Connection, statement: str) -> bool:
    """Run it in a savepoint; did it work?"""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(statement)
    except DBAPIError:
        return False
    return True


def possible(connection: Connection, statement: str) -> bool:
    """Would it work?"""
    savepoint = connection.begin_nested()
    try:
        connection.exec_driver_sql(statement)
    except DBAPIError:
        return False
    finally:
        savepoint.rollback()
    return True


def quoted_texts(values: Iterable[str]) -> str:
    return ", ".join(map(literal, values))
