"""SQLite: pragmas and the schema table; nobody counts anything there."""

from typing import Any

from toolkit.database.sqlite_reading import file_of, state_of
from toolkit.queries.catalog.judge import (
    all_empty,
    repeated_indexes,
    setting,
    unindexed_foreign_keys,
    without_primary_key,
)
from toolkit.queries.catalog.report import (
    MANY_ROWS,
    ForeignKey,
    Key,
    Reader,
    Table,
    TableIndex,
    quoter,
)
from toolkit.queries.finding import Confidence, Fix
from toolkit.report.quoting import identifier

quote = quoter("sqlite")
TABLES = """
SELECT name, sql FROM sqlite_schema
WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
  AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name
"""
HARMLESS = "SQLite numbers its rows itself (rowid)"


def read(reader: Reader) -> str:
    """Fill the reader; the database's name and version."""
    shadows = shadow_tables(reader)
    tables = {
        str(name): Table(str(name), None, *size(reader, str(name)))
        for name, _ in reader.rows(TABLES)
        if str(name) not in shadows
    }
    indexes = [index for table in tables.values() for index in read_indexes(reader, table)]
    keys = [key for table in tables.values() for key in read_foreign_keys(reader, table)]
    unindexed_foreign_keys(reader, keys, indexes, quote, concurrently=False)
    repeated_indexes(reader, indexes, quote, "sqlite")
    keyless = [table for table in tables.values() if not has_key(reader, table, indexes)]
    without_primary_key(reader, keyless, harmless=HARMLESS)
    statistics(reader, list(tables.values()))
    settings(reader)
    reader.notes.append("SQLite does not count how often an index is used: none is called unused")
    all_empty(reader, tables.values())
    version = reader.rows("SELECT sqlite_version()")[0][0]
    return f"SQLite {version}"


def shadow_tables(reader: Reader) -> set[str]:
    """What a virtual table (FTS5) keeps its data in."""
    rows = reader.rows("SELECT name FROM pragma_table_list WHERE type = 'shadow'")
    return {str(name) for (name,) in rows}


def size(reader: Reader, table: str) -> tuple[int, int]:
    """Rows, counted no further than it matters, and bytes (unknown here, hence none)."""
    count = reader.rows(
        f"SELECT count(*) FROM (SELECT 1 FROM {identifier(table)} LIMIT 100000)"  # noqa: S608
    )[0][0]
    return int(count), 0


def pragma(reader: Reader, name: str, argument: str) -> list[tuple[Any, ...]]:
    escaped = argument.replace("'", "''")
    return reader.rows(f"SELECT * FROM pragma_{name}('{escaped}')")  # noqa: S608


def read_indexes(reader: Reader, table: Table) -> list[TableIndex]:
    indexes = []
    made = reader.rows("SELECT name, sql FROM sqlite_schema WHERE type = 'index'")
    definitions = {str(name): text for name, text in made}
    for number, name, unique, origin, partial in pragma(reader, "index_list", table.name):
        keys: list[Key] = []
        for _, column_id, column, descending, collation, is_key in pragma(
            reader, "index_xinfo", str(name)
        ):
            if is_key:
                expression = column if int(column_id) >= 0 else None
                # The text of an expression is in no pragma: nothing equals it.
                text = quote(str(column)) if expression else f"<{name} {len(keys)}>"
                keys.append(Key(text, expression, (descending, collation)))
        definition = definitions.get(str(name)) or ""
        where = definition.upper().rpartition(" WHERE ")[2] if partial else ""
        indexes.append(
            TableIndex(
                name=str(name),
                table=table,
                keys=tuple(keys),
                unique=bool(unique),
                constraint=origin != "c",
                where=where,
                order=-int(number),
                definition=definition,
            )
        )
    indexes += rowid(reader, table)
    return indexes


def rowid(reader: Reader, table: Table) -> list[TableIndex]:
    """INTEGER PRIMARY KEY is the table itself, and no index says so."""
    columns = pragma(reader, "table_info", table.name)
    keys = [column for column in columns if column[5]]
    if len(keys) != 1 or str(keys[0][2]).upper() != "INTEGER":
        return []
    name = str(keys[0][1])
    key = Key(quote(name), name, (0, "BINARY"))
    return [TableIndex("the primary key", table, (key,), unique=True, constraint=True)]


def read_foreign_keys(reader: Reader, table: Table) -> list[ForeignKey]:
    parts: dict[int, list[tuple[Any, ...]]] = {}
    for row in pragma(reader, "foreign_key_list", table.name):
        parts.setdefault(int(row[0]), []).append(row)
    return [
        ForeignKey(
            f"foreign key ({', '.join(str(row[3]) for row in rows)})",
            table,
            tuple(str(row[3]) for row in sorted(rows, key=lambda row: int(row[1]))),
            str(rows[0][2]),
            str(rows[0][6]),
        )
        for _, rows in sorted(parts.items(), reverse=True)
    ]


def has_key(reader: Reader, table: Table, indexes: list[TableIndex]) -> bool:
    columns = pragma(reader, "table_info", table.name)
    if any(column[5] for column in columns):
        return True
    required = {str(column[1]) for column in columns if column[3]}
    return any(
        index.table == table and index.unique and set(index.columns) <= required
        for index in indexes
    )


def statistics(reader: Reader, tables: list[Table]) -> None:
    """ANALYZE was never run: the planner guesses."""
    large = [table for table in tables if table.rows >= MANY_ROWS]
    analysed = reader.rows("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'")[0][0]
    if large and not analysed:
        reader.add(
            "never-analysed",
            Confidence.SUSPECTED,
            "ANALYZE was never run: the planner guesses how many rows a condition leaves.",
            evidence=[f"{table.name}: {table.rows:,} rows or more" for table in large[:5]],
            fix=Fix("setting", "PRAGMA optimize  -- when the application closes connections"),
        )


def settings(reader: Reader) -> None:
    file = file_of(reader.url)
    # Read in its place (see sqlite_reading.py), a file at rest does not say that it has a WAL.
    is_wal = file is not None and state_of(file).wal
    mode = "wal" if is_wal else str(reader.rows("PRAGMA journal_mode")[0][0])
    if mode not in {"wal", "memory", "off"}:
        setting(
            reader,
            "journal_mode",
            Confidence.SUSPECTED,
            "Readers wait for writers and writers for readers: the journal is not a WAL.",
            "PRAGMA journal_mode = WAL  -- once; the file remembers it",
            seen=f"journal_mode = {mode!r}",
        )
