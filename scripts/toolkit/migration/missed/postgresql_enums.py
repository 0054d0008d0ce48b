"""Values of a PostgreSQL enum: added in place, removed by a new type."""

from typing import Protocol

from toolkit.database.catalog import Catalog, Entry
from toolkit.migration.missed.postgresql_columns import table_of
from toolkit.migration.missed.postgresql_text import qualified, quote, string
from toolkit.migration.missed.source import execute


class Writes(Protocol):
    def create(self, kind: str, entry: Entry) -> list[str]: ...

    def drop(self, kind: str, entry: Entry) -> list[str]: ...


def add_values(before: Entry, after: Entry) -> list[str]:
    """Outside of a transaction: inside, no later statement of it could use the values."""
    present = list(before["values"])
    lines = ["with op.get_context().autocommit_block():"]
    for place, value in enumerate(after["values"]):
        if value in present:
            continue
        text = f"ALTER TYPE {qualified(after)} ADD VALUE IF NOT EXISTS {string(value)}"
        following = next((one for one in after["values"][place:] if one in present), None)
        if place > 0:
            text += f" AFTER {string(after['values'][place - 1])}"
        elif following is not None:
            text += f" BEFORE {string(following)}"
        present.append(value)
        lines += [f"    {line}" for line in execute(text)]
    return lines


def restore(entry: Entry, parent: Catalog, writer: Writes) -> list[str]:
    """A new type with the old values. Fails, as it should, where a row has another one."""
    name = qualified(entry)
    values = ", ".join(string(value) for value in entry["values"])
    old = quote(f"{entry['name']}_old")
    lines: list[str] = []
    again: list[str] = []
    for kind in ("check", "index", "exclusion"):
        for dependent in parent.get(kind, {}).values():
            if f"::{name}" in dependent["definition"]:
                lines += writer.drop(kind, dependent)
                again += writer.create(kind, dependent)
    lines += execute(f"ALTER TYPE {name} RENAME TO {old}")
    lines += execute(f"CREATE TYPE {name} AS ENUM ({values})")
    for column in parent.get("column", {}).values():
        if column["type"] not in {name, f"{name}[]"}:
            continue
        head = f"ALTER TABLE {table_of(column)} ALTER COLUMN {quote(column['name'])}"
        text = "text[]" if column["type"].endswith("[]") else "text"
        if column["default"]:
            lines += execute(f"{head} DROP DEFAULT")
        using = f"{quote(column['name'])}::{text}::{column['type']}"
        lines += execute(f"{head} TYPE {column['type']} USING {using}")
        if column["default"]:
            lines += execute(f"{head} SET DEFAULT {column['default']}")
    dropped = qualified({**entry, "name": f"{entry['name']}_old"})
    return [*lines, *execute(f"DROP TYPE {dropped}"), *again]
