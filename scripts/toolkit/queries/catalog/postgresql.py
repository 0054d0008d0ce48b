"""PostgreSQL: its catalog, and what it counted."""

import json

from toolkit.queries.catalog import postgresql_queries as queries
from toolkit.queries.catalog.judge import (
    all_empty,
    repeated_indexes,
    unindexed_foreign_keys,
    unused_indexes,
    without_primary_key,
)
from toolkit.queries.catalog.postgresql_state import (
    State,
    held_back,
    ids,
    never_analysed,
    qualified,
    quote,
    sequential_scans,
    settings,
    vacuum_lag,
)
from toolkit.queries.catalog.report import (
    ForeignKey,
    Key,
    Reader,
    Table,
    TableIndex,
    drop,
    index_name,
)
from toolkit.queries.finding import Confidence, Fix

ON_DELETE = {
    "a": "NO ACTION",
    "r": "RESTRICT",
    "c": "CASCADE",
    "n": "SET NULL",
    "d": "SET DEFAULT",
}


def read(reader: Reader) -> str:
    """Fill the reader; the database's name and version."""
    # Names of other schemas come out qualified, and nobody's function is in the way.
    reader.rows("SELECT set_config('search_path', 'pg_catalog', true)")
    found = {str(n): str(v) for n, v in reader.rows(queries.SETTINGS)}
    states = read_tables(reader)
    tables = {oid: state.table for oid, state in states.items()}
    deletes = {oid: state.deleted for oid, state in states.items()}
    keys = read_foreign_keys(reader, tables, deletes)
    indexes = read_indexes(reader, tables)
    unindexed_foreign_keys(reader, keys, indexes, quote, concurrently=True)
    gone = repeated_indexes(reader, indexes, quote, "postgresql")
    broken_indexes(reader, indexes)
    not_valid(reader, tables)
    without_primary_key(reader, [tables[int(oid)] for (oid,) in reader.rows(queries.WITHOUT_KEY)])
    days, unseen = age(reader)
    kept = [index for index in indexes if index.name not in gone]
    unused_indexes(reader, kept, keys, quote, "postgresql", days=days, unseen=unseen)
    plain = [state for state in states.values() if state.kind != "p"]
    sequential_scans(reader, plain, days)
    never_analysed(reader, plain, found)
    vacuum_lag(reader, plain, found, held_back(reader))
    ids(reader, tables)
    settings(reader, found)
    all_empty(reader, [state.table for state in plain])
    version = found["server_version"].split()[0]
    return f"PostgreSQL {version}"


def read_tables(reader: Reader) -> dict[int, State]:
    states: dict[int, State] = {}
    for row in reader.rows(queries.TABLES):
        oid, schema, name, kind, _, rows, size, pages, analysed, *rest = row
        if not rows and not analysed:
            rows = int(pages) * 50
        table = Table(str(name), None if schema == "public" else str(schema), int(rows), int(size))
        states[int(oid)] = State(table, str(kind), bool(analysed), *rest)
    partitioned(reader, states)
    return states


def partitioned(reader: Reader, states: dict[int, State]) -> None:
    """A partitioned table has no rows of its own: it gets its partitions' ones."""
    statement = (
        "SELECT p.oid::bigint, t.relid::oid::bigint FROM pg_class p,"
        " LATERAL pg_partition_tree(p.oid) t WHERE p.relkind = 'p' AND t.isleaf"
    )
    rows: dict[int, list[Table]] = {}
    for parent, leaf in reader.rows(statement):
        if parent in states and leaf in states and parent != leaf:
            rows.setdefault(int(parent), []).append(states[int(leaf)].table)
    for parent, leaves in rows.items():
        table = states[parent].table
        states[parent].table = Table(
            table.name,
            table.schema,
            sum(one.rows for one in leaves),
            sum(one.bytes for one in leaves),
        )


def read_indexes(reader: Reader, tables: dict[int, Table]) -> list[TableIndex]:
    indexes = []
    for row in reader.rows(queries.INDEXES):
        oid, name, method, unique, constraint, valid, where, size, scans, order, text = row[:11]
        count, parts, inherited, in_progress = row[11:]
        if oid not in tables or inherited or in_progress:
            continue
        keys = [Key(str(k[0]), k[1], tuple(k[2:])) for k in json.loads(str(parts))]
        indexes.append(
            TableIndex(
                name=str(name),
                table=tables[int(oid)],
                keys=tuple(keys[: int(count)]),
                method=str(method),
                unique=bool(unique),
                constraint=bool(constraint),
                valid=bool(valid),
                where=str(where),
                include=tuple(key.text for key in keys[int(count) :]),
                bytes=int(size),
                scans=None if scans is None else int(scans),
                order=int(order),
                definition=str(text),
            )
        )
    return indexes


def read_foreign_keys(
    reader: Reader, tables: dict[int, Table], deletes: dict[int, int]
) -> list[ForeignKey]:
    keys = []
    for oid, name, parent, action, deleted, parent_oid, columns in reader.rows(
        queries.FOREIGN_KEYS
    ):
        if int(oid) in tables:
            parent_table = tables.get(int(parent_oid))
            keys.append(
                ForeignKey(
                    str(name),
                    tables[int(oid)],
                    tuple(json.loads(str(columns))),
                    parent_table.full_name if parent_table else str(parent),
                    ON_DELETE[str(action)],
                    int(deleted) or deletes.get(int(parent_oid), 0),
                )
            )
    return keys


def broken_indexes(reader: Reader, indexes: list[TableIndex]) -> None:
    for index in indexes:
        if index.valid:
            continue
        text = drop(index, quote, "postgresql").text.partition("\n")[0]
        if index.unique:
            why = "probably since there are duplicates, and then it would fail again"
            text += f"\n-- these rows are in its way:\n{duplicates(index)}"
        else:
            why = "it did not finish"
            text += f"\n{index.definition.replace('INDEX ', 'INDEX CONCURRENTLY ', 1)};"
        columns = tuple(filter(None, index.columns))
        # Nobody may have declared it: the line of a column is that of another index then.
        own = index.name == index_name(index.table.name, columns)
        reader.add(
            "invalid-index",
            Confidence.PROVED,
            f"{index.name} is invalid: a CREATE INDEX CONCURRENTLY failed ({why}). No query uses"
            " it, and writes keep it up all the same.",
            evidence=[index.definition, str(index.table)],
            table=index.table,
            column=index.keys[0].column if own else None,
            index=index.name,
            fix=Fix("ddl", text),
        )


def duplicates(index: TableIndex) -> str:
    """The query for the values that a unique index cannot have, as a comment of its fix."""
    keys = ", ".join(key.text for key in index.keys)
    where = f" WHERE {index.where}" if index.where else ""
    rest = f"{where} GROUP BY {keys} HAVING count(*) > 1;"
    return f"-- SELECT {keys}, count(*) FROM {qualified(index.table)}{rest}"  # noqa: S608


def not_valid(reader: Reader, tables: dict[int, Table]) -> None:
    for oid, name, kind, text in reader.rows(queries.NOT_VALID):
        table = tables.get(int(oid))
        if table is None:
            continue
        what = "foreign key" if kind == "f" else "check"
        qualified = ".".join(quote(part) for part in (table.schema, table.name) if part)
        reader.add(
            "constraint-not-valid",
            Confidence.PROVED,
            f"The {what} {name} of {table.full_name} was never validated: older rows may break"
            " it, and the planner does not rely on it.",
            evidence=[f"{name} {text}"],
            table=table,
            fix=Fix("ddl", f"ALTER TABLE {qualified} VALIDATE CONSTRAINT {quote(str(name))};"),
        )


def age(reader: Reader) -> tuple[float | None, list[str]]:
    """Days since the statistics began, None if unknown; and whose use they do not show."""
    since_reset, since_start = reader.rows(queries.AGE)[0]
    days = since_reset
    if days is None and reader.rows(queries.MAY_STAT)[0][0]:
        days = reader.rows(queries.CREATED)[0][0]
    if days is None:
        days = since_start
    replicas, recovering = reader.rows(queries.REPLICAS)[0]
    unseen = []
    if recovering:
        unseen.append("this is a replica: what the primary uses is not seen")
    elif replicas:
        unseen.append(
            f"what {replicas} replica{'s' if replicas > 1 else ''} use is not seen: ask them too"
        )
    else:
        unseen.append("no replica is known to this server; one would not be seen")
    return (None if days is None else float(days)), unseen
