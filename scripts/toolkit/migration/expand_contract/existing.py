"""What a column that shall change has already: keys, indexes, constraints, by the catalog."""

import re
from collections.abc import Iterator

from toolkit.database.catalog import Catalog, Entry
from toolkit.migration.expand_contract.change import Index, NotPossible


class Existing:
    """One catalog, asked by table and column as Alembic names them."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.default_schema = catalog["database"][""]["default_schema"]

    def of_table(self, kind: str, schema: str | None, table: str) -> Iterator[Entry]:
        place = (schema or self.default_schema, table)
        for entry in self.catalog.get(kind, {}).values():
            if (entry["schema"], entry["table"]) == place:
                yield entry

    def key(self, schema: str | None, table: str) -> tuple[str, ...]:
        """The columns of the primary key. Raises NotPossible without one."""
        for entry in self.of_table("primary_key", schema, table):
            return tuple(entry["parts"]["columns"])
        raise NotPossible(f"{table} has no primary key, along which rows could be filled.")

    def has_type(self, name: str) -> bool:
        return any(entry["name"] == name for entry in self.catalog.get("enum", {}).values())

    def indexes(self, schema: str | None, table: str, column: str) -> list[Index]:
        """Those on the column. Raises NotPossible for one that is more than columns."""
        found = [
            Index(entry["name"], tuple(entry["parts"]["columns"]), True, constraint=True)
            for entry in self.of_table("unique", schema, table)
            if column in entry["parts"]["columns"]
        ]
        for entry in self.of_table("index", schema, table):
            columns = index_columns(entry)
            if column in columns and not is_more(entry):
                found.append(Index(entry["name"], columns, entry["unique"]))
            elif mentions(entry["definition"], column):
                raise NotPossible(
                    f"The index {entry['name']} on {table}.{column} has a condition, an expression"
                    " or a method of its own: drop it in a migration before."
                )
        return found

    def refuse_bound(self, schema: str | None, table: str, column: str, *, keys: bool) -> None:
        """Raise NotPossible for what a second column could not take over.

        `keys`: foreign keys of the column, too.
        """
        where = f"{table}.{column}"
        for entry in self.of_table("primary_key", schema, table):
            if column in entry["parts"]["columns"]:
                raise NotPossible(f"{where} is in the primary key, which no second column can be.")
        place = (schema or self.default_schema, table)
        for entry in self.catalog.get("foreign_key", {}).values():
            parts = entry["parts"]
            if (parts["referred_schema"], parts["referred_table"]) == place and (
                column in parts["referred_columns"]
            ):
                raise NotPossible(f"The foreign key {entry['name']} refers to {where}.")
            if keys and (entry["schema"], entry["table"]) == place and column in parts["columns"]:
                raise NotPossible(
                    f"The foreign key {entry['name']} is on {where}: drop it in a migration before."
                )
        for entry in self.of_table("check", schema, table):
            if mentions(entry["definition"], column):
                raise NotPossible(
                    f"The check {entry['name']} is about {where}: drop it in a migration before."
                )
        for entry in self.of_table("column", schema, table):
            generated = entry.get("generated")
            if generated and mentions(str(generated["expression"]), column):
                raise NotPossible(f"{table}.{entry['name']} is computed from {where}.")

    def begins_index(self, schema: str | None, table: str, columns: tuple[str, ...]) -> bool:
        """Is there an index that begins with these columns?"""
        return any(
            index_columns(entry)[: len(columns)] == columns
            for entry in self.of_table("index", schema, table)
        ) or (self.key(schema, table)[: len(columns)] == columns)


def index_columns(entry: Entry) -> tuple[str, ...]:
    parts = entry["parts"]
    if "columns" in parts:
        return tuple(parts["columns"])
    keys = (key["column"] if isinstance(key, dict) else key for key in parts["keys"])
    return tuple(str(key) for key in keys if key is not None)


def is_more(entry: Entry) -> bool:
    """Would `CREATE INDEX ... (columns)` be another index?"""
    parts = entry["parts"]
    keys = [key for key in parts["keys"] if isinstance(key, dict)]
    special = any(key["column"] is None or key.get("option") or key.get("class") for key in keys)
    method = parts.get("method", "btree").lower() != "btree"
    rest = (parts.get(key) for key in ("where", "include", "with", "lengths"))
    return special or method or any(rest)


def mentions(text: str, column: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(column)}(?!\w)", text))
