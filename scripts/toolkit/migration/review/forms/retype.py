"""A column of another type without a rewrite under the lock: a copy takes its place.

Old code and new code write the column under its one name. A trigger keeps the copy equal,
old rows are filled in batches, and what hangs on the column is built on the copy beside the
running service; then the two are swapped in a moment.
"""

import re
from typing import Any

from toolkit.migration.expand_contract.writing import copied_rights
from toolkit.migration.review.forms.constraints import (
    drop_constraint,
    not_null_parts,
    over_index,
    unique_index,
    validated,
)
from toolkit.migration.review.forms.indexes import concurrent, drop, renamed_index
from toolkit.migration.review.forms.rows import NO_KEY, batches
from toolkit.migration.review.forms.writing import (
    IDENTITY,
    Change,
    Facts,
    Form,
    Outside,
    Part,
    bare,
    beside,
    own_name,
    revision,
    serial_sequence,
    sql_name,
    table_name,
)

TOO_MUCH = "What hangs on the column can't be moved to a copy of it ({}): change it in a pause."
PARTITIONED = "The table is partitioned, so the type changes in all partitions at once: in a pause."
OWN_TYPE = (
    "The type is made by the same revision, and code that runs names the old one. Where values are"
    " only added, ALTER TYPE ... ADD VALUE rewrites nothing."
)

# Not a type (after `::` or AS), not a function, not a part of a longer name.
NAMES = re.compile(
    r'(?<![\w.:"])(?<!\bAS )(?:"(?:[^"]|"")+"|[A-Za-z_]\w*)(?![\w"])(?! ?\()', re.IGNORECASE
)


def form(table: str, change: Change, facts: Facts, sql: str, made_here: bool) -> Form:
    """`made_here`: the new type is made or renamed by the same revision."""
    copy: dict[str, Any] | None = change.get("copy")
    if made_here:
        return Form(why_not=OWN_TYPE)
    if facts.get("kind") == "p" or facts.get("parent"):
        return Form(why_not=PARTITIONED)
    if not facts.get("key"):
        return Form(why_not=NO_KEY)
    known = (facts.get("columns") or {}).get(change["column"])
    if copy is None or known is None:
        return Form()
    hindered = [
        *(copy["others"] or ()),
        *(f"EXCLUDE {one['name']}" for one in copy["constraints"] or () if one["type"] == "x"),
    ]
    if known["identity"] and not copy["plain_sequence"]:
        hindered.append("the options of its sequence")
    if hindered:
        return Form(why_not=TOO_MUCH.format(", ".join(sorted(set(hindered))[:3])))
    return Form(Retyped(table, change, facts, converted(sql, change["column"])).text())


def converted(sql: str, column: str) -> str:
    """The expression after USING; else the column, which is then cast as in an assignment: a
    text that is too long is refused and not cut."""
    found = re.search(r"(?is)\bUSING\b(.*?);?\s*$", sql)
    return found[1].strip() if found else sql_name(column)


class Retyped:
    """One column that gets another type."""

    def __init__(self, table: str, change: Change, facts: Facts, value: str) -> None:
        self.table, self.change, self.facts = table, change, facts
        self.known: Facts = facts["columns"][change["column"]]
        self.copy: Facts = change["copy"]
        self.value = value
        self.name = table_name(table)
        self.old, self.new = sql_name(change["column"]), sql_name(self.copy["name"])
        self.function = own_name(bare(table), change["column"], "copy")
        # Names decide the order: what other triggers change has to be copied, too.
        self.fires = sql_name(own_name("zzz", bare(table), change["column"], "copy"))
        self.indexes: list[Facts] = self.copy["indexes"] or []
        self.constraints: list[Facts] = self.copy["constraints"] or []

    def text(self) -> str:
        down = [
            f"ALTER TABLE {self.name} ALTER COLUMN {self.old} TYPE {self.change['before']}"
            f" USING {self.old}::{self.change['before']}"
        ]
        title = (
            "A revision of its own: a copy of the column is kept equal, filled, and takes its"
            " place. The way back writes the table anew, under the strongest lock."
        )
        if self.value == self.old:
            title += " A value that does not fit is refused from the first statement on."
        filled = f"{self.new} IS NULL AND ({self.value}) IS NOT NULL"
        lines = batches(self.table, self.facts, f"{self.new} = {self.value}", filled)
        assert lines is not None
        up: list[Part] = [
            *self.trigger(),
            lines,
            *self.built(),
            *self.swapped(),
        ]
        return revision(title, up, down)

    def trigger(self) -> list[Part]:
        there = beside(self.table, self.function)
        return [
            f"ALTER TABLE {self.name} ADD COLUMN IF NOT EXISTS {self.new} {self.change['after']}",
            f"CREATE OR REPLACE FUNCTION {there}() RETURNS trigger LANGUAGE plpgsql AS $$\n"
            f"BEGIN\n    NEW.{self.new} = {of_row(self.value, self.facts)};\n"
            "    RETURN NEW;\nEND $$",
            f"DROP TRIGGER IF EXISTS {self.fires} ON {self.name}",
            f"CREATE TRIGGER {self.fires} BEFORE INSERT OR UPDATE ON {self.name}\n"
            f"FOR EACH ROW EXECUTE FUNCTION {there}()",
        ]

    def built(self) -> list[Part]:
        """Indexes and constraints of the copy, beside readers and writers."""
        parts: list[Part] = []
        for index in self.indexes:
            new = own_name(index["name"], "new")
            made = concurrent(renamed_index(index["definition"], new))
            parts.append(Outside([drop(beside(self.table, new)), made], patient=True))
        if self.known["not_null"]:
            parts += not_null_parts(self.table, self.copy["name"])
        for one in self.constraints:
            if one["type"] in "pu":  # a foreign key is content with the index
                new = own_name(one["name"], "new")
                made = unique_index(one["definition"], new, self.name)
                parts.append(Outside([drop(beside(self.table, new)), made], patient=True))
        for one in self.constraints:
            if one["type"] in "cf":
                new, on = sql_name(own_name(one["name"], "new")), one["table"]
                definition = one["definition"].removesuffix(" NOT VALID")
                parts.append(drop_constraint(on, new))
                parts.append(f"ALTER TABLE {on} ADD CONSTRAINT {new} {definition} NOT VALID")
                if one["valid"]:
                    parts.append(validated(on, new))
        return parts

    def swapped(self) -> list[Part]:
        """Everything under its own name again, in one transaction."""
        alter = f"ALTER TABLE {self.name}"
        column = f"{alter} ALTER COLUMN {self.new}"
        # Who inserts a row locks its table, and then the one that it refers to: so do we.
        others = {one["table"] for one in self.constraints if not one["own"]}
        locked = ", ".join([*sorted(others), self.name])
        parts: list[Part] = [f"LOCK TABLE {locked} IN ACCESS EXCLUSIVE MODE"]
        if (sequence := self.copy["sequence"]) and not self.known["identity"]:
            parts.append(f"ALTER SEQUENCE {sequence} OWNED BY {self.name}.{self.new}")
        if self.copy["default"]:
            parts.append(f"{column} SET DEFAULT {self.copy['default']}")
        parts += [
            f"DROP TRIGGER {self.fires} ON {self.name}",
            f"DROP FUNCTION {beside(self.table, self.function)}()",
            self.rights(),
            *(
                f"ALTER TABLE {one['table']} DROP CONSTRAINT {sql_name(one['name'])}"
                for one in sorted(self.constraints, key=lambda one: one["type"] != "f")
            ),
        ]
        if self.known["identity"]:
            # Where the old sequence was, before it goes with its column.
            parts.append(
                f"CREATE TEMPORARY TABLE {self.kept()} AS SELECT last_value, is_called"
                f" FROM {self.copy['sequence']}"
            )
        parts += [
            f"{alter} DROP COLUMN {self.old}",
            f"{alter} RENAME COLUMN {self.new} TO {self.old}",
            *(self.takes_over(one) for one in self.constraints),
            *(
                f"ALTER INDEX {beside(self.table, own_name(index['name'], 'new'))}"
                f" RENAME TO {sql_name(index['name'])}"
                for index in self.indexes
            ),
        ]
        if self.known["identity"]:
            get = serial_sequence(self.table, self.change["column"])
            made = f"ALTER TABLE {self.name} ALTER COLUMN {self.old} ADD GENERATED"
            parts += [
                f"{made} {IDENTITY[self.known['identity']]} AS IDENTITY",
                f"SELECT setval({get}, last_value, is_called) FROM {self.kept()}",
                f"DROP TABLE {self.kept()}",
            ]
        return parts

    def takes_over(self, one: Facts) -> str:
        new, name = sql_name(own_name(one["name"], "new")), sql_name(one["name"])
        if one["type"] in "pu":
            return over_index(self.name, name, one, new)
        return f"ALTER TABLE {one['table']} RENAME CONSTRAINT {new} TO {name}"

    def kept(self) -> str:
        return own_name(bare(self.table), "sequence_kept")

    def rights(self) -> str:
        return copied_rights(self.name, self.change["column"], self.copy["name"])


def of_row(value: str, facts: Facts) -> str:
    """An expression of the table's columns as one of the trigger's new row."""
    columns = set(facts.get("columns") or {})

    def replaced(found: re.Match[str]) -> str:
        word = found[0]
        name = word[1:-1].replace('""', '"') if word.startswith('"') else word.lower()
        return f"NEW.{word}" if name in columns else word

    parts = re.split(r"('(?:[^']|'')*')", value)
    parts[::2] = [NAMES.sub(replaced, part) for part in parts[::2]]
    return "".join(parts)
