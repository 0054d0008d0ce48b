"""The shape of a catalog."""

from typing import Any

Entry = dict[str, Any]
"""One object. `schema`, `table` and `name` say which; `parts` is what it takes to write it
down as an operation; `order` is a column's place. All else is what the object is."""

Catalog = dict[str, dict[str, Entry]]
"""Kind, then qualified name, then the object. The kind `database` has one entry, named "":
`dialect`, `version` (numbers) and the defaults that the database fills in."""

UNCOMPARED = frozenset({"schema", "table", "name", "auto_named", "parts", "order"})

# What lives and dies with a table.
TABLE_PARTS = (
    "column",
    "primary_key",
    "unique",
    "exclusion",
    "check",
    "index",
    "foreign_key",
    "trigger",
    "policy",
)


def put(catalog: Catalog, kind: str, entry: Entry) -> None:
    """Add an object under its qualified name."""
    parts = [entry.get(key) for key in ("schema", "table", "name")]
    catalog.setdefault(kind, {})[".".join(str(part) for part in parts if part)] = entry


def without_version_table(catalog: Catalog) -> Catalog:
    """Without Alembic's own table, whatever a project calls it."""
    columns: dict[tuple[Any, Any], list[str]] = {}
    for column in catalog.get("column", {}).values():
        columns.setdefault((column["schema"], column["table"]), []).append(column["name"])
    own = {place for place, names in columns.items() if names == ["version_num"]}
    return {
        kind: {
            name: entry
            for name, entry in sorted(entries.items())
            if (entry.get("schema"), entry.get("table") or entry.get("name")) not in own
        }
        for kind, entries in sorted(catalog.items())
    }
