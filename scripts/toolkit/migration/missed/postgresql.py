"""Operations that turn one PostgreSQL object into another."""

import re
from typing import Any

from toolkit.database.catalog import Catalog, Entry
from toolkit.migration.missed import postgresql_columns as columns
from toolkit.migration.missed import postgresql_enums as enums
from toolkit.migration.missed.constraints import (
    create_check,
    create_foreign_key,
    create_unique,
    drop_constraint,
    real_name,
)
from toolkit.migration.missed.postgresql_text import options, qualified, quote, string
from toolkit.migration.missed.source import (
    call,
    execute,
    expression,
    literal,
    name,
    schema_of,
)

CONSTRAINTS = frozenset({"check", "unique", "foreign_key", "primary_key", "exclusion"})
PLAIN_UNIQUE = re.compile(
    r"UNIQUE(?P<nulls> NULLS NOT DISTINCT)? \([^()]*\)"
    r"(?P<deferrable> DEFERRABLE)?(?P<deferred> INITIALLY DEFERRED)?"
)
PLAIN_FOREIGN_KEY = re.compile(
    r"FOREIGN KEY \([^()]*\) REFERENCES [^()]*\([^()]*\)(?: MATCH (?P<match>\w+))?"
    r"(?: ON UPDATE (?P<on_update>SET \w+|\w+))?(?: ON DELETE (?P<on_delete>SET \w+|\w+))?"
    r"(?P<deferrable> DEFERRABLE)?(?P<deferred> INITIALLY DEFERRED)?"
)


class Writer:
    """Lines for upgrade() and downgrade(); empty where there are none to give."""

    def __init__(self, migrated: Catalog, wanted: Catalog, parent: Catalog) -> None:
        self.migrated = migrated
        self.wanted = wanted
        self.parent = parent
        self.default_schema = str(wanted["database"][""]["default_schema"])

    def create(self, kind: str, entry: Entry) -> list[str]:
        if kind in CONSTRAINTS:
            return [*self.create_constraint(kind, entry), *self.comment(kind, None, entry)]
        if kind == "index":
            return self.create_index(entry)
        if kind == "enum":
            values = ", ".join(string(value) for value in entry["values"])
            return execute(f"CREATE TYPE {qualified(entry)} AS ENUM ({values})")
        if kind == "sequence":
            return execute(f"CREATE SEQUENCE {qualified(entry)}{options(entry)}")
        if kind == "domain":
            null = "" if entry["nullable"] else " NOT NULL"
            default = f" DEFAULT {entry['default']}" if entry["default"] else ""
            collation = f" COLLATE {entry['collation']}" if entry["collation"] else ""
            rest = "".join(f" {text}" for text in entry["checks"] or ())
            rest = f"{collation}{default}{null}{rest}"
            return execute(f"CREATE DOMAIN {qualified(entry)} AS {entry['type']}{rest}")
        if kind == "extension":
            return execute(f"CREATE EXTENSION IF NOT EXISTS {quote(entry['name'])}")
        if kind in {"function", "trigger"}:
            return execute(entry["definition"])
        if kind in {"view", "materialized_view"}:
            label = kind.replace("_", " ").upper()
            return execute(f"CREATE {label} {qualified(entry)} AS {entry['definition']}")
        return []

    def drop(self, kind: str, entry: Entry) -> list[str]:
        if kind in CONSTRAINTS:
            return drop_constraint(kind, entry, self.default_schema)
        if kind == "index":
            return call(
                "drop_index",
                [name(entry["name"])],
                {
                    "table_name": literal(entry["table"]),
                    "schema": schema_of(entry, self.default_schema),
                },
            )
        if kind == "trigger":
            return execute(f"DROP TRIGGER {quote(entry['name'])} ON {columns.table_of(entry)}")
        if kind == "function":
            label, brackets, arguments = str(entry["name"]).partition("(")
            label = qualified({**entry, "name": label})
            return execute(f"DROP ROUTINE {label}{brackets}{arguments}")
        if kind == "extension":
            return execute(f"DROP EXTENSION IF EXISTS {quote(entry['name'])}")
        label = {"enum": "TYPE"}.get(kind, kind.replace("_", " ").upper())
        return execute(f"DROP {label} {qualified(entry)}")

    def alter(
        self, kind: str, before: Entry, after: Entry, attributes: list[str], *, back: bool
    ) -> list[str]:
        if kind == "column":
            made = columns.alter(before, after, set(attributes), self.default_schema)
            if "generated" in attributes and not after["generated"]:
                return [*columns.no_longer_generated(after), *made]
            if "generated" in attributes:
                if not (before["generated"] or back):
                    return []  # the values that are there would be lost: a person writes it
                drops, creates = self.dependents(before)
                made = [*drops, *columns.replace(after), *creates]
            return made
        if kind == "table":
            return self.alter_table(before, after, attributes)
        if kind == "enum":
            if set(before["values"]) < set(after["values"]) and (not back or self.lost(after)):
                return enums.add_values(before, after)
            return enums.restore(after, self.parent if back else self.migrated, self)
        if kind == "sequence":
            return execute(f"ALTER SEQUENCE {qualified(after)}{options(after, before)}")
        if kind in CONSTRAINTS and attributes == ["comment"]:
            return self.comment(kind, before, after)
        if kind in CONSTRAINTS and attributes == ["validated"] and after["validated"]:
            text = f"VALIDATE CONSTRAINT {quote(str(real_name(after)))}"
            return execute(f"ALTER TABLE {columns.table_of(after)} {text}")
        if kind in CONSTRAINTS or kind == "index":
            return [*self.drop(kind, before), *self.create(kind, after)]
        return []

    def lost(self, entry: Entry) -> bool:
        """Have the models fewer values than the type? Going back, they are put in again."""
        key = f"{entry['schema']}.{entry['name']}" if entry["schema"] else str(entry["name"])
        wanted = self.wanted["enum"].get(key)
        return wanted is not None and not set(entry["values"]) <= set(wanted["values"])

    def create_constraint(self, kind: str, entry: Entry) -> list[str]:
        definition = str(entry["definition"])
        default = self.default_schema
        if kind == "check" and definition.endswith(")"):
            return create_check(entry, without_brackets(definition[len("CHECK ") :]), default)
        if kind == "unique" and (found := PLAIN_UNIQUE.fullmatch(definition)):
            return create_unique(
                entry,
                default,
                deferrable="True" if found["deferrable"] else None,
                initially='"DEFERRED"' if found["deferred"] else None,
                postgresql_nulls_not_distinct="True" if found["nulls"] else None,
            )
        if kind == "foreign_key" and (found := PLAIN_FOREIGN_KEY.fullmatch(definition)):
            parts = {**entry["parts"], **found.groupdict()}
            return create_foreign_key(
                {**entry, "parts": parts},
                default,
                deferrable="True" if found["deferrable"] else None,
                initially='"DEFERRED"' if found["deferred"] else None,
                match=literal(found["match"]) if found["match"] else None,
                postgresql_not_valid=None if entry["validated"] else "True",
            )
        if kind == "primary_key" and re.fullmatch(r"PRIMARY KEY \([^()]*\)", definition):
            return call(
                "create_primary_key",
                [
                    name(real_name(entry)),
                    literal(entry["table"]),
                    literal(entry["parts"]["columns"]),
                ],
                {"schema": schema_of(entry, default)},
            )
        valid = "" if entry["validated"] else " NOT VALID"
        label = quote(str(real_name(entry)))
        table = columns.table_of(entry)
        return execute(f"ALTER TABLE {table} ADD CONSTRAINT {label} {definition}{valid}")

    def comment(self, kind: str, before: Entry | None, after: Entry) -> list[str]:
        if after["comment"] == (before and before["comment"]):
            return []
        label, table = quote(str(real_name(after))), columns.table_of(after)
        text = string(after["comment"]) if after["comment"] else "NULL"
        return execute(f"COMMENT ON CONSTRAINT {label} ON {table} IS {text}")

    def create_index(self, entry: Entry) -> list[str]:
        parts = entry["parts"]
        storage = dict(one.split("=", 1) for one in parts["with"] or ())
        nulls = "NULLS NOT DISTINCT" in entry["definition"]
        space = entry["tablespace"]
        return call(
            "create_index",
            [
                name(entry["name"]),
                literal(entry["table"]),
                "[" + ", ".join(key_source(key) for key in parts["keys"]) + "]",
            ],
            {
                "unique": literal(entry["unique"]),
                "schema": schema_of(entry, self.default_schema),
                "postgresql_using": None
                if parts["method"] == "btree"
                else literal(parts["method"]),
                "postgresql_where": expression(parts["where"]) if parts["where"] else None,
                "postgresql_include": literal(unquoted(parts["include"]))
                if parts["include"]
                else None,
                "postgresql_with": literal(storage) if storage else None,
                "postgresql_nulls_not_distinct": "True" if nulls else None,
                "postgresql_tablespace": literal(space) if space else None,
            },
        )

    def alter_table(self, before: Entry, after: Entry, attributes: list[str]) -> list[str]:
        lines: list[str] = []
        table = qualified(after)
        if "storage_parameters" in attributes:
            old, new = before["storage_parameters"], after["storage_parameters"]
            # What only the migrations set stays, so nothing is reset on the way up but what
            # the way down has set.
            sets = {key: value for key, value in new.items() if old.get(key) != value}
            wanted = self.wanted["table"][key_of(after)]["storage_parameters"]
            resets = [key for key in old if key not in new and key in wanted]
            if sets:
                text = ", ".join(f"{key} = {value}" for key, value in sets.items())
                lines += execute(f"ALTER TABLE {table} SET ({text})")
            if resets:
                lines += execute(f"ALTER TABLE {table} RESET ({', '.join(resets)})")
        if "comment" in attributes:
            lines += table_comment(before, after, self.default_schema)
        if "persistence" in attributes:
            word = {"u": "UNLOGGED", "p": "LOGGED"}[after["persistence"]]
            lines += execute(f"ALTER TABLE {table} SET {word}")
        return lines

    def dependents(self, column: Entry) -> tuple[list[str], list[str]]:
        """What goes when a column is dropped and made anew: lines that drop it, and make it."""
        drops: list[str] = []
        creates: list[str] = []
        word = re.compile(rf"(?<!\w){re.escape(column['name'])}(?!\w)")
        for kind in ("foreign_key", "check", "exclusion", "unique", "index"):
            for entry in self.migrated.get(kind, {}).values():
                place = (entry["schema"], entry["table"])
                if place == (column["schema"], column["table"]) and word.search(
                    entry["definition"].partition(" REFERENCES ")[0]
                ):
                    drops += self.drop(kind, entry)
                    creates = [*self.create(kind, entry), *creates]
        return drops, creates


def key_of(entry: Entry) -> str:
    return ".".join(str(entry[key]) for key in ("schema", "table", "name") if entry.get(key))


def key_source(key: dict[str, Any]) -> str:
    """A column's name, or text with its operator class and order."""
    order = {0: "", 1: " DESC", 2: " NULLS FIRST", 3: " DESC"}[key["option"]]
    if key["option"] == 1:
        order += " NULLS LAST"
    kind = f" {quote(key['class'])}" if key["class"] else ""
    if key["column"] and not order and not kind:
        return literal(key["column"])
    return expression(f"{key['text']}{kind}{order}")


def unquoted(names: list[str]) -> list[str]:
    return [one[1:-1].replace('""', '"') if one.startswith('"') else one for one in names]


def without_brackets(text: str) -> str:
    """Without one pair of brackets around the whole, twice."""
    for _ in range(2):
        if text.startswith("(") and closes(text) == len(text) - 1:
            text = text[1:-1]
    return text


def closes(text: str) -> int:
    """The place of the bracket that closes the first one; strings are skipped."""
    depth, quoted = 0, ""
    for place, sign in enumerate(text):
        if quoted:
            quoted = "" if sign == quoted else quoted
        elif sign in "'\"":
            quoted = sign
        else:
            depth += {"(": 1, ")": -1}.get(sign, 0)
            if depth == 0:
                return place
    return -1


def table_comment(before: Entry, after: Entry, default_schema: str | None) -> list[str]:
    function = "create_table_comment" if after["comment"] else "drop_table_comment"
    return call(
        function,
        [literal(after["name"]), *([literal(after["comment"])] if after["comment"] else [])],
        {
            "existing_comment": literal(before["comment"]),
            "schema": schema_of(after, default_schema),
        },
    )
