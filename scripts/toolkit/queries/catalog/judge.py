"""Verdicts about indexes and keys that are the same on every database."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from toolkit.database.sizes import in_units
from toolkit.database.urls import Kind
from toolkit.queries.catalog.report import (
    ForeignKey,
    Quote,
    Reader,
    Table,
    TableIndex,
    create,
    drop,
    index_name,
)
from toolkit.queries.finding import Confidence, Fix, Index

NEAR_THE_END = 0.7
"""The part of a key's numbers that is used."""
# A lookup by equality, which is what a foreign key asks for.
EQUALITY = {"btree", "hash", "BTREE", "HASH"}


def covers(index: TableIndex, key: ForeignKey) -> bool:
    """Can the database find the children of one parent with this index?

    Its leading columns have to be the key's, in any order. A partial index serves if all that
    it leaves out is NULL, which has no parent.
    """
    if not index.valid or index.method not in EQUALITY:
        return False
    wanted = set(key.columns)
    if index.where and not leaves_out_nulls_only(index.where, wanted):
        return False
    leading = index.columns[: len(wanted)]
    if index.method.lower() == "hash" and len(index.keys) != len(wanted):
        return False
    return None not in leading and set(leading) == wanted


def leaves_out_nulls_only(where: str, columns: set[str]) -> bool:
    bare = where.replace("(", "").replace(")", "").replace('"', "").replace("`", "")
    parts = [part.strip() for part in bare.split(" AND ")]
    return all(part in {f"{column} IS NOT NULL" for column in columns} for part in parts)


def unindexed_foreign_keys(
    reader: Reader,
    keys: Iterable[ForeignKey],
    indexes: Sequence[TableIndex],
    quote: Quote,
    *,
    concurrently: bool,
) -> None:
    by_table = group(indexes)
    for key in keys:
        if any(covers(index, key) for index in by_table[key.table.full_name]):
            continue
        tiny = key.table.is_tiny
        evidence = [str(key.table)]
        if key.parent_deletes:
            evidence.append(f"{key.parent_deletes:,} rows were deleted from {key.parent}")
        action = f" (ON DELETE {key.on_delete})" if key.on_delete != "NO ACTION" else ""
        evidence.append(f"{key.name} references {key.parent}{action}")
        if tiny:
            evidence.append(
                "so few rows are read as fast without an index: it matters when there are more"
            )
        columns = ", ".join(key.columns)
        index = Index(
            index_name(key.table.name, key.columns),
            key.table.name,
            tuple(quote(column) for column in key.columns),
            key.table.schema,
        )
        reader.add(
            "foreign-key-without-index",
            Confidence.SUSPECTED if tiny else Confidence.PROVED,
            f"No index begins with {key.table.full_name} ({columns}): each delete in {key.parent},"
            " and each query for the children of a row, reads the whole table.",
            evidence=evidence,
            table=key.table,
            column=key.columns[0],
            fix=create(index, quote, concurrently=concurrently),
        )


def repeated_indexes(
    reader: Reader,
    indexes: Sequence[TableIndex],
    quote: Quote,
    dialect: Kind,
) -> set[str]:
    """Indexes that another one makes superfluous; their names. Never unique ones."""
    options = reader.locator.foreign_options
    superfluous: set[str] = set()
    for found in group(indexes).values():
        gone: set[str] = set()
        for index in sorted(found, key=lambda one: (len(one.keys), -one.order)):
            if index.unique or index.constraint or not index.valid:
                continue
            other = next(
                (
                    o
                    for o in found
                    if o.name not in gone
                    and makes_superfluous(o, index)
                    # Elsewhere, say in production, they may be two.
                    and options(o.name, dialect) == options(index.name, dialect)
                ),
                None,
            )
            if other is None:
                continue
            gone.add(index.name)
            same = len(other.keys) == len(index.keys)
            words = "is the same as" if same else "is the beginning of"
            columns = ", ".join(key.text for key in index.keys)
            reader.add(
                "duplicate-index" if same else "prefix-covered-index",
                Confidence.PROVED,
                f"{index.name} ({columns}) {words} {other.name}: it costs each write and serves"
                " no query that the other does not.",
                evidence=[
                    index.definition or f"{index.name} ({columns})",
                    other.definition
                    or f"{other.name} ({', '.join(key.text for key in other.keys)})",
                    *([f"it takes {in_units(index.bytes)}"] if index.bytes else []),
                ],
                table=index.table,
                column=index.keys[0].column,
                index=index.name,
                fix=drop(index, quote, dialect),
            )
        superfluous |= gone
    return superfluous


def makes_superfluous(other: TableIndex, index: TableIndex) -> bool:
    """Does `other` serve all that `index` serves?"""
    if other.name == index.name or not other.valid:
        return False
    if (other.method, other.where) != (index.method, index.where):
        return False
    exact = index.method.lower() != "btree"  # only there do leading columns serve alone
    if exact and len(other.keys) != len(index.keys):
        return False
    if other.keys[: len(index.keys)] != index.keys:
        return False
    held = {*other.include, *(key.text for key in other.keys)}
    return set(index.include) <= held


def group(indexes: Iterable[TableIndex]) -> dict[str, list[TableIndex]]:
    found: dict[str, list[TableIndex]] = defaultdict(list)
    for index in indexes:
        found[index.table.full_name].append(index)
    return found


def unused_indexes(
    reader: Reader,
    indexes: Sequence[TableIndex],
    keys: Sequence[ForeignKey],
    quote: Quote,
    dialect: str,
    *,
    days: float | None,
    unseen: Sequence[str],
) -> None:
    """Indexes that no query used while the server counted."""
    if days is None or days < reader.statistics_days:
        age = "of an unknown age" if days is None else f"{in_days(days)} old"
        reader.notes.append(
            f"unused indexes were not judged: the statistics are {age}, and"
            f" {reader.statistics_days:g} days are needed to tell"
        )
        return
    for index in indexes:
        if index.scans != 0 or index.unique or index.constraint or not index.valid:
            continue
        if index.table.is_tiny or supports_foreign_key(index, keys):
            continue
        reader.add(
            "unused-index",
            Confidence.MEASURED,
            f"No query used {index.name} in {in_days(days)}, and each write to"
            f" {index.table.full_name} keeps it up.",
            evidence=[
                index.definition or ", ".join(key.text for key in index.keys),
                f"0 scans in {in_days(days)}"
                + (f"; it takes {in_units(index.bytes)}" if index.bytes else ""),
                str(index.table),
                *unseen,
            ],
            table=index.table,
            column=index.keys[0].column,
            index=index.name,
            fix=drop(index, quote, dialect),
        )


def supports_foreign_key(index: TableIndex, keys: Sequence[ForeignKey]) -> bool:
    """Checks of a foreign key are rare and dear: its index stays, used or not."""
    return any(key.table.full_name == index.table.full_name and covers(index, key) for key in keys)


def in_days(days: float) -> str:
    if days >= 1:
        return f"{days:.3g} days"
    return f"{days * 24:.2g} hours" if days * 24 >= 1 else f"{days * 1440:.2g} minutes"


def without_primary_key(reader: Reader, tables: Iterable[Table], *, harmless: str = "") -> None:
    """`harmless`: why a database can live with it."""
    for table in tables:
        reader.add(
            "no-primary-key",
            Confidence.SUSPECTED if harmless else Confidence.PROVED,
            f"{table.full_name} has no primary key and no other key: one row cannot be"
            " addressed, replicated or kept from being there twice.",
            evidence=[str(table), *([harmless] if harmless else [])],
            table=table,
        )


def near_the_end(
    reader: Reader, table: Table, column: str, type_: str, *, used: int, end: int, seen: str
) -> None:
    """A key that counts up and will run out of its type. `seen`: who counts, `the next is`."""
    if used < NEAR_THE_END * end:
        return
    reader.add(
        "id-near-the-end",
        Confidence.MEASURED,
        f"{table.full_name}.{column} ({type_}) has used {100 * used / end:.0f} % of its numbers;"
        " when they end, every INSERT fails.",
        evidence=[f"{seen} {used:,} of {end:,}", str(table)],
        table=table,
        column=column,
        fix=Fix(
            "model",
            f"{column}: Mapped[int] = mapped_column(BigInteger, ...)  # and its foreign keys;"
            " generate-migration.sh --expand-contract does it without downtime",
        ),
    )


def all_empty(reader: Reader, tables: Collection[Table]) -> None:
    if tables and all(table.rows == 0 for table in tables):
        reader.notes.append(
            "every table of this database is empty: what depends on the number of rows is only"
            " suspected; name a database with data in it"
        )


def setting(
    reader: Reader, name: str, confidence: Confidence, message: str, fix: str, *, seen: str
) -> None:
    reader.add(
        f"setting-{name.replace('_', '-')}",
        confidence,
        message,
        evidence=[seen],
        fix=Fix("setting", fix),
    )
