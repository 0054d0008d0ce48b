"""MySQL and MariaDB: information_schema, and performance_schema where it counts."""

from collections import defaultdict
from typing import Any

from toolkit.queries.catalog.judge import (
    all_empty,
    near_the_end,
    repeated_indexes,
    setting,
    unindexed_foreign_keys,
    unused_indexes,
    without_primary_key,
)
from toolkit.queries.catalog.report import ForeignKey, Key, Reader, Table, TableIndex, quoter
from toolkit.queries.finding import Confidence

quote = quoter("mysql")

TABLES = """
SELECT table_name, coalesce(table_rows, 0), coalesce(data_length, 0) + coalesce(index_length, 0),
       engine, auto_increment
FROM information_schema.tables
WHERE table_schema = database() AND table_type = 'BASE TABLE' ORDER BY table_name
"""
INDEXES = """
SELECT table_name, index_name, non_unique, seq_in_index, column_name, sub_part, collation,
       index_type{expression}
FROM information_schema.statistics
WHERE table_schema = database() AND index_schema = database()
ORDER BY table_name, index_name, seq_in_index
"""
FOREIGN_KEYS = """
SELECT k.table_name, k.constraint_name, k.column_name, k.referenced_table_name, r.delete_rule
FROM information_schema.key_column_usage k
JOIN information_schema.referential_constraints r
  ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name
    AND r.table_name = k.table_name
WHERE k.table_schema = database() AND k.referenced_table_name IS NOT NULL
ORDER BY k.table_name, k.constraint_name, k.ordinal_position
"""
NULLABLE = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = database() AND is_nullable = 'YES'
"""
AUTO_INCREMENT = """
SELECT table_name, column_name, column_type FROM information_schema.columns
WHERE table_schema = database() AND locate('auto_increment', extra) > 0
"""
USE = """
SELECT object_name, index_name, count_star
FROM performance_schema.table_io_waits_summary_by_index_usage
WHERE object_schema = database() AND index_name IS NOT NULL
"""
VARIABLES = """
SHOW GLOBAL VARIABLES WHERE variable_name IN ('performance_schema', 'slow_query_log',
    'innodb_stats_persistent', 'innodb_stats_auto_recalc', 'long_query_time',
    'max_statement_time', 'max_execution_time', 'version')
"""
ENDS = {"tinyint": 7, "smallint": 15, "mediumint": 23, "int": 31, "bigint": 63}


def read(reader: Reader) -> str:
    """Fill the reader; the database's name and version."""
    mariadb = bool(getattr(reader.connection.dialect, "is_mariadb", False))
    variables = {str(n).lower(): str(v) for n, v in reader.rows(VARIABLES)}
    found = reader.rows(TABLES)
    tables = {str(row[0]): Table(str(row[0]), None, int(row[1]), int(row[2])) for row in found}
    scans = index_use(reader, variables)
    indexes = read_indexes(reader, tables, scans, mariadb=mariadb)
    keys = read_foreign_keys(reader, tables)
    # InnoDB makes an index for each foreign key itself; other engines check none.
    unindexed_foreign_keys(reader, keys, indexes, quote, concurrently=False)
    gone = repeated_indexes(reader, indexes, quote, "mysql")
    without_primary_key(reader, without_key(reader, tables, indexes))
    if scans is not None:
        days = float(reader.rows("SHOW GLOBAL STATUS LIKE 'Uptime'")[0][1]) / 86400
        unseen = ["counted since the server started; what replicas use is not seen"]
        kept = [index for index in indexes if index.name not in gone]
        unused_indexes(reader, kept, keys, quote, "mysql", days=days, unseen=unseen)
    else:
        reader.notes.append(
            "unused indexes were not judged: performance_schema is off or may not be read"
        )
    ids(reader, tables, {str(row[0]): row[4] for row in found})
    settings(reader, variables)
    all_empty(reader, tables.values())
    version = variables["version"].split("-")[0]
    return f"{'MariaDB' if mariadb else 'MySQL'} {version}"


def index_use(reader: Reader, variables: dict[str, str]) -> dict[tuple[str, str], int] | None:
    """How often each index was used; None where nobody counts or we may not see."""
    if variables.get("performance_schema") != "ON" or not may_read(reader):
        return None
    return {(str(table), str(index)): int(count) for table, index, count in reader.rows(USE)}


def may_read(reader: Reader) -> bool:
    """Without a right the view is refused; asked in the catalog, not by failing."""
    rows = reader.rows(
        "SELECT count(*) FROM information_schema.tables"
        " WHERE table_schema = 'performance_schema'"
        " AND table_name = 'table_io_waits_summary_by_index_usage'"
    )
    return bool(rows[0][0])


def read_indexes(
    reader: Reader,
    tables: dict[str, Table],
    scans: dict[tuple[str, str], int] | None,
    *,
    mariadb: bool,
) -> list[TableIndex]:
    statement = INDEXES.format(expression="" if mariadb else ", expression")
    parts: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for row in reader.rows(statement):
        parts[str(row[0]), str(row[1])].append(row)
    indexes = []
    for number, ((table, name), rows) in enumerate(parts.items()):
        if table not in tables:
            continue
        keys = []
        for row in rows:
            column, length, direction = row[4], row[5], row[6]
            expression = row[8] if len(row) > 8 else None
            text = quote(str(column)) if column is not None else f"({expression})"
            # The first bytes only: equality is not told by those alone.
            whole = column if length is None else None
            keys.append(Key(text, whole, (length, direction)))
        indexes.append(
            TableIndex(
                name=name,
                table=tables[table],
                keys=tuple(keys),
                method=str(rows[0][7]).lower(),
                unique=not int(rows[0][2]),
                constraint=name == "PRIMARY",
                scans=None if scans is None else scans.get((table, name), 0),
                order=number,
            )
        )
    return indexes


def read_foreign_keys(reader: Reader, tables: dict[str, Table]) -> list[ForeignKey]:
    parts: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for row in reader.rows(FOREIGN_KEYS):
        parts[str(row[0]), str(row[1])].append(row)
    return [
        ForeignKey(
            name,
            tables[table],
            tuple(str(row[2]) for row in rows),
            str(rows[0][3]),
            {"RESTRICT": "NO ACTION"}.get(str(rows[0][4]), str(rows[0][4])),
        )
        for (table, name), rows in parts.items()
        if table in tables
    ]


def without_key(reader: Reader, tables: dict[str, Table], indexes: list[TableIndex]) -> list[Table]:
    """No primary key, and no unique one without NULL, which InnoDB would take instead."""
    nullable = {(str(table), str(column)) for table, column in reader.rows(NULLABLE)}
    keyed = {
        index.table.name
        for index in indexes
        if index.unique
        and all(c is not None and (index.table.name, c) not in nullable for c in index.columns)
    }
    return [table for name, table in tables.items() if name not in keyed]


def ids(reader: Reader, tables: dict[str, Table], next_ids: dict[str, Any]) -> None:
    for name, column, type_ in reader.rows(AUTO_INCREMENT):
        value = next_ids.get(str(name))
        bits = ENDS.get(str(type_).split("(")[0].split()[0])
        if value is None or bits is None:
            continue
        end = 2 ** (bits + ("unsigned" in str(type_))) - 1
        table = tables[str(name)]
        seen = "the next is"
        near_the_end(reader, table, str(column), type_, used=int(value), end=end, seen=seen)


def settings(reader: Reader, variables: dict[str, str]) -> None:
    def say(name: str, confidence: Confidence, message: str, fix: str) -> None:
        seen = f"{name} = {variables.get(name, '')!r}"
        setting(reader, name, confidence, message, fix, seen=seen)

    if variables.get("performance_schema") == "OFF":
        say(
            "performance_schema",
            Confidence.PROVED,
            "performance_schema is off: the server does not know which statements take its time.",
            "[mysqld]\nperformance_schema = ON  # and a restart",
        )
        if variables.get("slow_query_log") == "OFF":
            say(
                "slow_query_log",
                Confidence.SUSPECTED,
                "Slow statements are not logged.",
                "SET GLOBAL slow_query_log = ON; SET GLOBAL long_query_time = 0.5;",
            )
    if variables.get("innodb_stats_auto_recalc") == "OFF":
        say(
            "innodb_stats_auto_recalc",
            Confidence.PROVED,
            "InnoDB does not renew its statistics: plans grow old with them.",
            "SET GLOBAL innodb_stats_auto_recalc = ON;",
        )
    limits = [variables.get("max_statement_time"), variables.get("max_execution_time")]
    if all(limit is None or float(limit) == 0 for limit in limits):
        say(
            "max_statement_time" if limits[0] is not None else "max_execution_time",
            Confidence.SUSPECTED,
            "Statements may run for ever: one bad plan can take all connections.",
            "SET GLOBAL max_statement_time = 30;"
            if limits[0] is not None
            else "SET GLOBAL max_execution_time = 30000;",
        )
