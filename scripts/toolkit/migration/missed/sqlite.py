"""Operations that turn one SQLite object into another, in batch mode where SQLite needs it."""

import re
from contextlib import suppress
from typing import Any

import sqlalchemy
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.types import TypeEngine

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
        if kind == "column" and attributes == ["generated"]:
            if (before["generated"] or back) and not self.leans_on(after):
                return generated_anew(before, after)
            return []  # the values that are there would be lost: a person writes it
        if kind == "column" and "type" in attributes and exactly(after["type"]) is None:
            return []
        if kind == "column" and set(attributes) <= {"default", "nullable", "type"}:
            default = after["default"]
            keywords = {
                "server_default": expression(default) if default is not None else "None",
                "nullable": literal(after["nullable"]) if "nullable" in attributes else None,
                "type_": source_of(after["type"]) if "type" in attributes else None,
            }
            if "default" not in attributes:
                del keywords["server_default"]
            return batch(
                after["table"],
                call("alter_column", [literal(after["name"])], keywords, "batch_op"),
            )
        return []

    def leans_on(self, column: Entry) -> bool:
        """Is there what SQLite can't drop the column for?"""
        word = re.compile(rf"\b{re.escape(column['name'])}\b", re.IGNORECASE)
        text = [
            str(one.get("generated") or one.get("definition"))
            for kind in ("column", "index", "view", "trigger", *CONSTRAINTS)
            for one in self.migrated.get(kind, {}).values()
            if kind == "view" or one["table"] == column["table"]
        ]
        return any(map(word.search, text))


def generated_anew(before: Entry, after: Entry) -> list[str]:
    """Dropped and added, without a batch, which would copy the others; values are kept."""
    if not after["nullable"] or exactly(after["type"]) is None:
        return []
    table, column, new = literal(after["table"]), literal(after["name"]), after["generated"]
    if new and new["stored"]:
        return []  # SQLite adds none
    parts = [column, source_of(after["type"])]
    parts += [f"sa.Computed({literal(new['expression'])}, persisted=False)"] if new else []
    lines = call("drop_column", [table, column], {})
    lines += call("add_column", [table, f"sa.Column({', '.join(parts)})"], {})
    if not new:
        place, name_ = (one.replace('"', '""') for one in (after["table"], after["name"]))
        values = before["generated"]["expression"]
        lines += execute(f'UPDATE "{place}" SET "{name_}" = {values}')  # noqa: S608
    return lines


def exactly(kind: str) -> TypeEngine[Any] | None:
    """SQLAlchemy's type that SQLite has in these words."""
    word, _, sizes = kind.rstrip(")").partition("(")
    made: Any = getattr(sqlalchemy, word, None)  # a word that reflection does not know
    with suppress(TypeError, ValueError):
        made = made(*(int(one) for one in sizes.split(",") if sizes))
    if not isinstance(made, TypeEngine):
        return None
    words = made.compile(dialect=SQLiteDialect())
    return made if re.sub(r"\s", "", words) == re.sub(r"\s", "", kind) else None


def source_of(kind: str, **more: str) -> str:
    """A type of SQLite as SQLAlchemy's."""
    made: Any = exactly(kind)
    if made is None:
        made = SQLiteDialect()._resolve_type_affinity(kind)  # type: ignore[no-untyped-call]
    for name_, value in more.items():
        setattr(made, name_, value)
    return f"sa.{made!r}"


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
