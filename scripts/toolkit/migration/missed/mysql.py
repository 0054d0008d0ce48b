"""Operations that turn one MySQL or MariaDB object into another."""

from toolkit.database.catalog import Catalog, Entry
from toolkit.migration.missed.constraints import (
    create_check,
    create_foreign_key,
    drop_constraint,
)
from toolkit.migration.missed.postgresql import table_comment
from toolkit.migration.missed.source import call, execute, expression, literal, name


class Writer:
    """Lines for upgrade() and downgrade(); empty where there are none to give."""

    default_schema: str | None = None

    def __init__(self, migrated: Catalog, wanted: Catalog, parent: Catalog) -> None:
        self.migrated = migrated
        self.wanted = wanted
        self.parent = parent

    def create(self, kind: str, entry: Entry) -> list[str]:
        if kind == "check":
            return create_check(entry, entry["definition"], None)
        if kind == "foreign_key":
            return create_foreign_key(entry, None)
        if kind == "index":
            return create_index(entry)
        if kind == "primary_key":
            return execute(f"ALTER TABLE {quote(entry['table'])} ADD {entry['definition']}")
        return []

    def drop(self, kind: str, entry: Entry) -> list[str]:
        if kind == "index":
            place = {"table_name": literal(entry["table"])}
            return call("drop_index", [name(entry["name"])], place)
        if kind == "primary_key":
            return execute(f"ALTER TABLE {quote(entry['table'])} DROP PRIMARY KEY")
        if kind in {"check", "foreign_key"}:
            return drop_constraint(kind, entry, None)
        return []

    def alter(
        self, kind: str, before: Entry, after: Entry, attributes: list[str], *, back: bool
    ) -> list[str]:
        if kind == "column":
            table = quote(after["table"])
            return execute(f"ALTER TABLE {table} MODIFY COLUMN {column_text(after)}")
        if kind == "table":
            return alter_table(before, after, attributes)
        if kind == "primary_key":
            # In one statement: an AUTO_INCREMENT column has to be in a key all the time.
            table = quote(after["table"])
            return execute(f"ALTER TABLE {table} DROP PRIMARY KEY, ADD {after['definition']}")
        if kind in {"check", "foreign_key", "index"}:
            return [*self.drop(kind, before), *self.create(kind, after)]
        return []


def quote(text: str) -> str:
    return "`" + text.replace("`", "``") + "`"


def string(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def column_text(column: Entry) -> str:
    """The whole definition: MODIFY forgets what it is not told."""
    text = f"{quote(column['name'])} {column['type']}"
    if column["collation"]:
        text += f" COLLATE {column['collation']}"
    if column["generated"]:
        kind = "STORED" if column["generated"]["stored"] else "VIRTUAL"
        text += f" GENERATED ALWAYS AS ({column['generated']['expression']}) {kind}"
    else:
        text += " NULL" if column["nullable"] else " NOT NULL"
        if column["default"] is not None:
            text += f" DEFAULT {column['default']}"
        text += f" {column['extra']}".rstrip()
    if column["comment"]:
        text += f" COMMENT {string(column['comment'])}"
    return text


def create_index(entry: Entry) -> list[str]:
    parts = entry["parts"]
    plain = [quote(column or "") for column in parts["columns"]]
    keys = [
        literal(column) if key == text or parts["lengths"].get(column) else expression(key)
        for column, text, key in zip(parts["columns"], plain, parts["keys"], strict=True)
    ]
    method = parts["method"]
    special = method in {"FULLTEXT", "SPATIAL"}
    return call(
        "create_index",
        [name(entry["name"]), literal(entry["table"]), "[" + ", ".join(keys) + "]"],
        {
            "unique": literal(entry["unique"]),
            "mysql_length": literal(parts["lengths"]) if parts["lengths"] and not special else None,
            "mysql_prefix": literal(method) if special else None,
            "mysql_using": literal(method) if method == "HASH" else None,
        },
    )


def alter_table(before: Entry, after: Entry, attributes: list[str]) -> list[str]:
    lines: list[str] = []
    head = f"ALTER TABLE {quote(after['name'])}"
    if "comment" in attributes:
        lines += table_comment(before, after, None)
    if "engine" in attributes:
        lines += execute(f"{head} ENGINE = {after['engine']}")
    if "collation" in attributes:
        character_set = str(after["collation"]).partition("_")[0]
        lines += execute(
            f"{head} CONVERT TO CHARACTER SET {character_set} COLLATE {after['collation']}"
        )
    return lines
