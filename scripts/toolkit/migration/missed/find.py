"""Which differences of two schemas autogenerate missed, and the lines for each.

Silent about what only the migrations know: views, triggers, functions, indexes and tables
made with raw SQL, a server default that filled old rows. Models cannot say that they want
these gone, and many want to keep them. Silent, too,
about tables and columns that the models have and the migrations lack: autogenerate sees
those, so it was told to leave them.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import count, groupby
from typing import Any

from toolkit.database.catalog import Catalog, Difference, Entry, differences
from toolkit.migration.missed import mysql, postgresql, sqlite
from toolkit.migration.missed.words import words_of

WRITERS = {"postgresql": postgresql.Writer, "mysql": mysql.Writer, "sqlite": sqlite.Writer}

# In the order in which an upgrade makes them.
ORDER = (
    "schema",
    "extension",
    "enum",
    "domain",
    "sequence",
    "function",
    "table",
    "column",
    "primary_key",
    "unique",
    "exclusion",
    "check",
    "index",
    "foreign_key",
    "view",
    "materialized_view",
    "trigger",
)
EARLY = frozenset(ORDER[: ORDER.index("table")])
"""What columns may need: made before everything else, dropped after it."""

# A value that these have in the migrated schema only is the migrations' own affair.
WANTED_ONLY = frozenset(
    {"default", "identity", "collation", "comment", "partition_by", "tablespace"}
)
# No model can say these.
UNSAID = frozenset(
    {
        *("storage", "statistics", "options", "row_security", "replica_identity", "inherits"),
        *("partition_bound", "partitions", "for_foreign_key", "visible", "enabled", "owned_by"),
    }
)


CONSTANT = re.compile(r"(?P<number>-?\d+(?:\.\d+)?)|'(?P<quoted>(?:[^']|'')*)'::[\w .\"]+(?:\[\])*")
TEXTS = re.compile(r"'::(?:text|character|bpchar)")
"""A default of PostgreSQL's; on other databases a column of another type keeps no old words."""


@dataclass(frozen=True)
class Missed:
    """One object that the models describe otherwise than the migrations make it."""

    difference: Difference
    """The first, if the object differs in several attributes."""
    words: str
    upgrade_lines: tuple[str, ...]
    """Python source without indentation; empty if a person has to write it."""
    downgrade_lines: tuple[str, ...]
    early: bool = False
    """Goes before the other operations of an upgrade, and after those of a downgrade."""


def find_missed(
    migrated: Catalog,
    wanted: Catalog,
    *,
    parent: Catalog | None = None,
    ignored: Iterable[Sequence[str | None]] = (),
    order: bool = False,
) -> list[Missed]:
    """What `wanted` (made by the models) has and `migrated` lacks or has differently.

    `parent` is the schema before the newest revision, which a downgrade leads back to.
    `ignored` are objects that env.py keeps from Alembic, as `create_all` of the worker lists
    them: (kind, schema, table, name), or ("generated", ...) where the models say FetchedValue.
    `order` reports columns in another order, in words.
    """
    left_out = {tuple(one) for one in ignored}
    found = [
        one
        for one in differences(migrated, wanted, names=False, order=order)
        if counts(one, migrated, wanted) and not is_ignored(one, migrated, wanted, left_out)
    ]
    found.sort(key=lambda one: (ORDER.index(one.kind), one.name))
    dialect = str(wanted["database"][""]["dialect"])
    writer = WRITERS[dialect](migrated, wanted, parent or migrated)
    return [
        write(writer, list(group))
        for _, group in groupby(found, key=lambda one: (one.kind, one.name))
    ]


def write(writer: Any, group: list[Difference]) -> Missed:  # noqa: ANN401  (one of the three)
    first = group[0]
    kind, name = first.kind, first.name
    words = words_of(group, writer.default_schema)
    if first.attribute is None:
        made = with_free_name(kind, first.after, writer.migrated)
        upgrade, downgrade = writer.create(kind, made), writer.drop(kind, made)
    else:
        attributes = [str(one.attribute) for one in group]
        # A table's name is its own key; moved columns come under it.
        before = writer.migrated[kind][name]
        after = writer.wanted[kind][name]
        upgrade = writer.alter(kind, before, after, attributes, back=False)
        downgrade = writer.alter(kind, after, before, attributes, back=True)
    if not upgrade or not downgrade:
        upgrade, downgrade = [], []
        words += "; write this one by hand" if first.attribute != "column_order" else ""
    return Missed(first, words, tuple(upgrade), tuple(downgrade), kind in EARLY)


def counts(one: Difference, migrated: Catalog, wanted: Catalog) -> bool:
    """Is this the models' wish, and one that autogenerate would not have seen?"""
    if one.kind not in ORDER or (one.after is None and one.attribute is None):
        return False
    if one.attribute is None:
        return comes_alone(one, migrated, wanted)
    if one.attribute in UNSAID or one.kind in {"function", "view", "materialized_view", "trigger"}:
        return False
    if one.attribute in WANTED_ONLY and not one.after:
        return False
    rule: Callable[[Difference, Catalog], bool] | None = RULES.get(f"{one.kind}.{one.attribute}")
    return rule is None or rule(one, migrated)


def comes_alone(one: Difference, migrated: Catalog, wanted: Catalog) -> bool:
    """Does an object that is missing count?"""
    entry: Entry = one.after
    if one.kind in {"table", "column", "schema"}:
        return False
    if one.kind in {"enum", "domain"}:
        tables = migrated.get("table", {}).values()
        common = {(table["schema"], table["name"]) for table in tables}
        return any(
            str(column["type"]).removesuffix("[]").replace('"', "") == one.name
            for column in wanted["column"].values()
            if (column["schema"], column["table"]) in common
        )
    if "table" in entry and not has_columns(entry, migrated):
        return False  # on a column that autogenerate was told to leave
    return not is_unique_by_other_means(one.kind, entry, migrated)


def has_columns(entry: Entry, migrated: Catalog) -> bool:
    present = {
        column["name"]
        for column in migrated.get("column", {}).values()
        if (column["schema"], column["table"]) == (entry["schema"], entry["table"])
    }
    return set(entry.get("parts", {}).get("columns", ())) <= present


def is_unique_by_other_means(kind: str, entry: Entry, migrated: Catalog) -> bool:
    """A unique index does what a unique constraint does, and the other way round."""
    if kind == "unique":
        return any(
            index["unique"] and not index["parts"].get("where")
            for index in migrated.get("index", {}).values()
            if same_place(index, entry) and key_columns(index) == entry["parts"]["columns"]
        )
    if kind == "index" and entry["unique"] and not entry["parts"].get("where"):
        return any(
            same_place(unique, entry) and unique["parts"]["columns"] == key_columns(entry)
            for unique in migrated.get("unique", {}).values()
        )
    return kind == "index" and bool(entry.get("for_foreign_key"))


def same_place(one: Entry, other: Entry) -> bool:
    return bool((one["schema"], one["table"]) == (other["schema"], other["table"]))


def key_columns(index: Entry) -> list[str | None]:
    keys = index["parts"]["keys"]
    return [key["column"] if isinstance(key, dict) else key for key in keys]


def parameters_are_wanted(one: Difference, _migrated: Catalog) -> bool:
    before, after = one.before or {}, one.after or {}
    return any(before.get(key) != value for key, value in after.items())


def serial_is_wanted(one: Difference, migrated: Catalog) -> bool:
    """Where the numbers come from otherwise, they do not have to come from a sequence."""
    column = migrated["column"][one.name]
    return not (one.after is None or column["identity"] or column["default"])


def server_default_differs(attribute: str) -> Callable[[Difference, Catalog], bool]:
    """What the models leave to the server's settings is not asked for."""

    def differs(one: Difference, migrated: Catalog) -> bool:
        return bool(one.after != migrated["database"][""].get(attribute))

    return differs


def default_is_wanted(one: Difference, migrated: Catalog) -> bool:
    """A column that got another type keeps its default in the words of the old one: 7 where a new
    column has '7'::bigint. Both store the same (#13).
    """
    if migrated["column"][one.name].get("identity"):
        return False
    there, wanted = (default_text(str(each)) for each in (one.before, one.after))
    if there == wanted or TEXTS.search(str(one.after)):
        return there != wanted
    with suppress(ValueError):
        return value(there) != value(wanted)
    return True


def default_text(default: str) -> str:
    """Without the type that PostgreSQL writes behind a constant, and the older word for now()."""
    found = CONSTANT.fullmatch(default)
    if found is None:
        return "now()" if default == "CURRENT_TIMESTAMP" else default
    return (found["quoted"] or found["number"]).removesuffix(" 00:00:00")


def value(text: str) -> object:
    """Of a number, or of JSON. Raises ValueError for anything else."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


RULES: dict[str, Callable[[Difference, Catalog], bool]] = {
    "table.storage_parameters": parameters_are_wanted,
    "table.persistence": lambda one, _: bool(one.after == "u"),
    "table.engine": server_default_differs("engine"),
    "table.collation": server_default_differs("collation"),
    "table.options": lambda one, _: bool(one.after),
    "enum.values": lambda one, _: set(one.after) != set(one.before),
    "column.serial": serial_is_wanted,
    "column.extra": lambda one, _: bool(one.after),
    "column.default": default_is_wanted,
    "column.autoincrement": lambda one, _: bool(one.after),
}


def is_ignored(
    one: Difference, migrated: Catalog, wanted: Catalog, left_out: set[tuple[Any, ...]]
) -> bool:
    """Was Alembic told to leave this object, its column or its table?"""
    if not left_out:
        return False
    entry = wanted.get(one.kind, {}).get(one.name) or migrated[one.kind][one.name]
    schema = entry.get("schema")
    if schema == wanted["database"][""]["default_schema"]:
        schema = None
    table = entry.get("table") or entry["name"]
    names = [("table", schema, table, table)]
    names += [(kind, schema, table, entry["name"]) for kind in (one.kind, str(one.attribute))]
    # MySQL has no unique constraints, SQLAlchemy has.
    names += [("unique", schema, table, entry["name"])] if one.kind == "index" else []
    names += [
        ("column", schema, table, column) for column in entry.get("parts", {}).get("columns", ())
    ]
    return any(place in left_out for place in names)


def with_free_name(kind: str, entry: Entry, migrated: Catalog) -> Entry:
    """Under a name that nothing has yet, where the database made the name up."""
    if not entry.get("auto_named"):
        return entry
    taken = {
        other["name"]
        for others in ("check", "unique", "foreign_key", "exclusion", "index")
        for other in migrated.get(others, {}).values()
        if same_place(other, entry)
    }
    stem = str(entry["name"])
    if not stem.isidentifier() or stem.startswith("CONSTRAINT_"):
        stem = {"check": "ck", "unique": "uq", "foreign_key": "fk"}.get(kind, "ix")
        stem = f"{stem}_{entry['table']}"
    numbered = (stem if number == 0 else f"{stem}{number}" for number in count())
    return {**entry, "name": next(name for name in numbered if name not in taken)}
