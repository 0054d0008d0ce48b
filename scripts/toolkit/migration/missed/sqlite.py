"""Operations that turn one SQLite object into another, in batch mode where SQLite needs it."""

from toolkit.database.catalog import Catalog, Entry
from toolkit.migration.missed.constraints import (
    create_check,
    create_foreign_key,
    create_unique,
    drop_constraint,
)
from toolkit.migration.missed.source import call, execute, expression, literal, name

CONSTRAINTS = frozenset({"check", "unique", "foreign_key"})


class Writer:
    """Lines for upgrade() and downgrade(); empty where there are none to give."""

    default_schema: str | None = None

    def __init__(self, migrated: Catalog, wanted: Catalog, parent: Catalog) -> None:
        self.migrated = migrated
        self.wanted = wanted
        self.parent = parent

    def create(self, kind: str, entry: Entry) -> list[str]:
        if kind == "index":
            return create_index(entry)
        if kind in {"view", "trigger"}:
            return execute(entry["parts"]["text"])
        return batch(entry["table"], constraint(kind, entry)) if kind in CONSTRAINTS else []

    def drop(self, kind: str, entry: Entry) -> list[str]:
        if kind == "index":
            place = {"table_name": literal(entry["table"])}
            return call("drop_index", [name(entry["name"])], place)
        if kind in {"view", "trigger"}:
            return execute(f'DROP {kind.upper()} "{entry["name"]}"')
        if kind not in CONSTRAINTS:
            return []
        return batch(entry["table"], drop_constraint(kind, entry, None, "batch_op"))

    def alter(
        self, kind: str, before: Entry, after: Entry, attributes: list[str], *, back: bool
    ) -> list[str]:
        if kind == "index":
            return [*self.drop(kind, before), *self.create(kind, after)]
        if kind in CONSTRAINTS and before["name"].isidentifier():
            lines = drop_constraint(kind, before, None, "batch_op")
            return batch(after["table"], [*lines, *constraint(kind, after)])
        if kind == "column" and set(attributes) <= {"default", "nullable"}:
            default = after["default"]
            keywords = {
                "server_default": expression(default) if default is not None else "None",
                "nullable": literal(after["nullable"]) if "nullable" in attributes else None,
            }
            if "default" not in attributes:
                del keywords["server_default"]
            return batch(
                after["table"],
                call("alter_column", [literal(after["name"])], keywords, "batch_op"),
            )
        return []


def batch(table: str, lines: list[str]) -> list[str]:
    head = f"with op.batch_alter_table({literal(table)}) as batch_op:"
    return [head, *(f"    {line}" for line in lines)]


def constraint(kind: str, entry: Entry) -> list[str]:
    if kind == "check":
        return create_check(entry, entry["parts"]["condition"], None, "batch_op")
    if kind == "unique":
        return create_unique(entry, None, "batch_op")
    parts = entry["parts"]
    return create_foreign_key(
        entry,
        None,
        "batch_op",
        deferrable="True" if parts["deferrable"] else None,
        initially='"DEFERRED"' if parts["deferred"] else None,
    )


def create_index(entry: Entry) -> list[str]:
    parts = entry["parts"]
    keys = [
        literal(key["column"]) if key["column"] else expression(key["text"])
        for key in parts["keys"]
    ]
    return call(
        "create_index",
        [name(entry["name"]), literal(entry["table"]), "[" + ", ".join(keys) + "]"],
        {
            "unique": literal(entry["unique"]),
            "sqlite_where": expression(parts["where"]) if parts["where"] else None,
        },
    )
