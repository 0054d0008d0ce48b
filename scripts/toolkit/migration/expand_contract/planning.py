"""From the operations that autogenerate found to the changes that they are."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.migration.expand_contract.change import (
    AddCheck,
    AddForeignKey,
    AddIndex,
    AddRequiredColumn,
    AddUnique,
    Change,
    ChangeType,
    Column,
    DropColumn,
    Index,
    Late,
    NotPossible,
    RenameColumn,
    RenameTable,
    SetNotNull,
    Table,
)
from toolkit.migration.expand_contract.existing import Existing

Operation = dict[str, Any]
"""As `change_worker.take_out` describes it."""

CONSTANT = re.compile(
    r"""\(*(?:'(?:[^']|'')*'|[-+]?[\d.]+(?:e[-+]?\d+)?|true|false|null|
    current_(?:timestamp|date|time)(?:\(\d?\))?|now\(\d?\)|localtimestamp)\)*(?:::[\w\s().\[\]]+)?\)*""",
    re.IGNORECASE | re.VERBOSE,
)


DROPS = frozenset({"DropConstraint", "DropIndex"})


@dataclass
class Answers:
    """What only a person knows, by `table.column`."""

    fill: Mapping[str, str] = field(default_factory=dict)
    using: Mapping[str, str] = field(default_factory=dict)
    back: Mapping[str, str] = field(default_factory=dict)
    used: set[tuple[str, str]] = field(default_factory=set)

    def give(self, option: str, place: str) -> str | None:
        found: str | None = getattr(self, option).get(place)
        if found is not None:
            self.used.add((option, place))
        return found

    def unused(self) -> list[str]:
        return [
            f"--{option} {place}"
            for option in ("fill", "using", "back")
            for place in getattr(self, option)
            if (option, place) not in self.used
        ]


@dataclass(frozen=True)
class Plan:
    changes: list[Change]
    questions: list[str]
    """Options that have to be given, each with why."""


def is_constant(sql: str) -> bool:
    """The same for every row, as far as that can be said without asking a database."""
    return CONSTANT.fullmatch(sql.strip()) is not None


class Planner:
    """Reads operations; those that belong to one change go together."""

    def __init__(
        self,
        operations: Sequence[Operation],
        existing: Existing,
        dialect: str,
        answers: Answers,
        can_cast: Callable[[str, str], bool],
    ) -> None:
        self.left = list(operations)
        self.existing = existing
        self.dialect = dialect
        self.answers = answers
        self.can_cast = can_cast
        self.questions: list[str] = []
        self.columns: set[tuple[str | None, str, str]] = set()
        self.types: set[str] = set()

    def plan(self) -> Plan:
        """Raises NotPossible. An unanswered question has a place holder in the changes."""
        renamed = {(one["schema"], one["new"]) for one in self.left if one["op"] == "RenamedTable"}
        changes: list[Change] = [
            *(self.rename_table(one) for one in self.take("RenamedTable")),
            *(self.rename_column(one) for one in self.take("RenameColumn")),
        ]
        for one in self.left:
            place = (one["schema"], one["table"])
            if place in renamed and one["op"] != "CreateForeignKey":
                raise NotPossible(
                    f"{one['table']} gets a new name and changes as well: do one after the other."
                )
        changes += self.replaced_keys()
        for alter in self.take("AlterColumn"):
            changes.append(self.change_type(alter) if alter["retyped"] else self.not_null(alter))
        changes += [self.required(one) for one in self.take("AddColumn")]
        changes += [self.drop(one) for one in self.take("DropColumn")]
        changes += [self.index(one) for one in self.take("CreateIndex")]
        changes += [self.unique(one) for one in self.take("CreateUniqueConstraint")]
        changes += [self.foreign_key(one) for one in self.take("CreateForeignKey")]
        changes += [self.check(one) for one in self.take("CreateCheckConstraint")]
        # What hangs on a column goes before the column does, and comes back after it.
        gone = [dropped(one, self.table(one)) for one in self.left if one["op"] in DROPS]
        return Plan([*gone, *changes, *self.tables()], self.questions)

    def take(self, name: str) -> list[Operation]:
        found = [one for one in self.left if one["op"] == name]
        self.left = [one for one in self.left if one["op"] != name]
        return found

    def pick(self, operation: str, /, **attributes: object) -> Operation | None:
        """Take out the first that is so; None without any."""
        for one in self.left:
            if one["op"] == operation and all(
                one.get(k) == value for k, value in attributes.items()
            ):
                self.left.remove(one)
                return one
        return None

    def table(self, one: Operation) -> Table:
        schema, name = one["schema"], one["table"]
        return Table(name, self.existing.key(schema, name), schema)

    def claim(self, one: Operation, column: str) -> str:
        """Its place as options name it. Raises NotPossible for a second change of a column."""
        place = (one["schema"], one["table"], column)
        words = ".".join(part for part in place if part)
        if place in self.columns:
            raise NotPossible(f"{words} changes in two ways: do one after the other.")
        self.columns.add(place)
        return words

    def column(self, described: Operation) -> Column:
        """With its type made first if that is an enum which is not there."""
        name = described.get("type")
        fresh = bool(name) and not self.existing.has_type(str(name)) and name not in self.types
        if fresh:
            self.types.add(str(name))
        return Column(
            described["name"],
            described["source"],
            described["sql"],
            described["nullable"],
            described["default"],
            described["create_type"] if fresh else "",
            described["drop_type"] if fresh else "",
            comment=described.get("comment"),
        )

    def ask(self, option: str, place: str, why: str, value: str | None = None) -> str:
        """`value`: what new rows get in Python. Whether it is true of old ones, too, only a
        person knows (#15)."""
        if value is not None:
            why += f" (new ones get {value} in Python)"
        self.questions.append(f"--{option} {place}=SQL   {why}")
        return "NULL"

    def rename_table(self, one: Operation) -> RenameTable:
        schema, old, new = one["schema"], one["table"], one["new"]
        indexes = []
        for drop in self.all_of("DropIndex", schema, old):
            same = {key: drop[key] for key in ("keys", "unique")}
            made = self.pick("CreateIndex", schema=schema, table=new, **same)
            if made is None and drop["unique"]:
                continue  # MySQL's unique constraint: it is in the table, old and new
            if made is None:
                raise NotPossible(f"{old} loses the index {drop['name']}, too: do that before.")
            if made["name"] != drop["name"]:
                indexes.append((drop["name"], made["name"]))
        # A foreign key follows the table that it refers to.
        for key in [op for op in self.left if op["op"] == "DropConstraint"]:
            if (key.get("refers_to_schema"), key.get("refers_to")) == (schema, old):
                self.left.remove(key)
                same = {part: key[part] for part in ("schema", "table", "columns")}
                self.pick("CreateForeignKey", refers_to=new, **same)
        return RenameTable(self.table(one), new, tuple(indexes))

    def all_of(self, name: str, schema: str | None, table: str) -> Iterator[Operation]:
        """Take those about one table out, one by one."""
        while found := self.pick(name, schema=schema, table=table):
            yield found

    def rename_column(self, one: Operation) -> RenameColumn:
        old, new = one["column"]["name"], one["new"]
        if one.get("altered"):
            raise NotPossible(
                f"{one['table']}.{old} becomes {new} and changes as well: do one after the other."
            )
        self.claim(one, old)
        self.existing.refuse_bound(one["schema"], one["table"], old, keys=False)
        indexes, names = [], []
        for index in self.existing.indexes(one["schema"], one["table"], old):
            if self.dialect == "sqlite" and index.constraint:
                raise NotPossible(
                    f"SQLite: the unique constraint on {one['table']}.{old} stays until the table"
                    " is copied: rename it while the service is stopped."
                )
            made = self.successor(one, index, old, new)
            if made is not None:
                indexes.append(index)
                names.append(made)
        column = self.column(one["column"])
        return RenameColumn(self.table(one), column, new, tuple(indexes), tuple(names))

    def successor(self, one: Operation, index: Index, old: str, new: str) -> str | None:
        """What the index is called on the new column; None if it has none there."""
        columns = [new if name == old else name for name in index.columns]
        where = {"schema": one["schema"], "table": one["table"]}
        dropped = self.pick("DropIndex", name=index.name, **where) or self.pick(
            "DropConstraint", name=index.name, constraint="unique", **where
        )
        made = self.pick("CreateIndex", columns=columns, unique=index.unique, options=[], **where)
        if made is None and index.unique:
            made = self.pick("CreateUniqueConstraint", columns=columns, options=[], **where)
        if made is not None:
            return str(made["name"] or self.key_name(one["table"], columns, "key"))
        if dropped is not None:
            self.left.append(dropped)
        return None

    def key_name(self, table: str, columns: Sequence[str], suffix: str) -> str:
        """As the database would call what has no name."""
        return columns[0] if self.dialect == "mysql" else f"{table}_{'_'.join(columns)}_{suffix}"

    def change_type(self, one: Operation) -> ChangeType:
        place = self.claim(one, one["column"]["name"])
        if one["strict"]:
            raise NotPossible(f"{place} gets another type and NOT NULL: do one after the other.")
        old, new = self.column({**one["column"], "type": None}), self.column(one["new"])
        if (old.default is None) != (new.default is None):
            raise NotPossible(
                f"{place} gets another type, and a default or none: do one after the other."
            )
        self.existing.refuse_bound(one["schema"], one["table"], old.name, keys=True)
        using = self.conversion("using", place, old.sql, new.sql)
        back = self.conversion("back", place, new.sql, old.sql)
        return ChangeType(
            self.table(one),
            old,
            new.source,
            new.sql,
            using,
            back,
            new.default,
            tuple(self.existing.indexes(one["schema"], one["table"], old.name)),
            new.create_type,
            new.drop_type,
        )

    def conversion(self, option: str, place: str, old: str, new: str) -> str:
        given = self.answers.give(option, place)
        if given is not None:
            return given
        if self.can_cast(old, new):
            return ""
        way = "the new value, {} is the old one" if option == "using" else "the way back"
        return self.ask(option, place, f"no cast from {old} to {new}: {way}")

    def not_null(self, one: Operation) -> SetNotNull:
        place = self.claim(one, one["column"]["name"])
        old, new = self.column({**one["column"], "type": None}), one["new"]
        fill = self.answers.give("fill", place) or new["default"]
        if fill is None:
            why = "it becomes NOT NULL: for rows that have none"
            fill = self.ask("fill", place, why, new["value"])
        column = Column(old.name, old.source, old.sql, True, new["default"], comment=old.comment)
        return SetNotNull(self.table(one), column, fill)

    def required(self, one: Operation) -> AddRequiredColumn:
        described = one["column"]
        place = self.claim(one, described["name"])
        fill = self.answers.give("fill", place) or described["default"]
        if fill is None:
            why = "it is new and NOT NULL: for the rows that exist"
            fill = self.ask("fill", place, why, described["value"])
        column = self.column(described)
        return AddRequiredColumn(self.table(one), column, fill, is_constant(fill))

    def drop(self, one: Operation) -> DropColumn:
        column = self.column({**one["column"], "type": None})
        place = self.claim(one, column.name)
        fill = None
        if not column.nullable and column.default is None:
            fill = self.answers.give("fill", place)
            if fill is None:
                why = "it goes: what old code reads in rows of the new code"
                fill = self.ask("fill", place, why)
        return DropColumn(self.table(one), column, fill)

    def index(self, one: Operation) -> AddIndex:
        plain = None not in one["columns"]
        columns = tuple(name for name in one["columns"] if name)
        keys = () if plain else tuple(one["keys"])
        options = tuple(one["options"])
        index = Index(one["name"], columns, one["unique"], keys=keys, options=options)
        return AddIndex(self.table(one), index)

    def unique(self, one: Operation) -> AddUnique:
        if self.dialect == "sqlite":
            raise NotPossible(
                f"SQLite: a unique constraint is added by copying {one['table']}; a unique index"
                " is not (Index(..., unique=True))."
            )
        if one["options"]:
            raise NotPossible(
                f"No unique constraint with {', '.join(one['options'])} is made from an index."
            )
        name = one["name"] or self.key_name(one["table"], one["columns"], "key")
        return AddUnique(self.table(one), name, tuple(one["columns"]))

    def check(self, one: Operation) -> AddCheck:
        if one["name"] is None:
            raise NotPossible(f"A check on {one['table']} has no name, by which it is validated.")
        return AddCheck(self.table(one), one["name"], one["condition"])

    def foreign_key(self, one: Operation, *, known: bool = False) -> AddForeignKey:
        columns = tuple(one["columns"])
        name = one["name"] or f"{one['table']}_{'_'.join(columns)}_fkey"
        return AddForeignKey(
            self.table(one),
            name,
            columns,
            one["refers_to"],
            tuple(one["refers_to_columns"]),
            one["refers_to_schema"],
            one["options"],
            known=known,
            indexed=self.existing.begins_index(one["schema"], one["table"], columns),
        )

    def replaced_keys(self) -> list[Change]:
        """A foreign key of a renamed column: the new one first, then the old one goes."""
        changes: list[Change] = []
        for old in [op for op in self.left if op["op"] == "DropConstraint"]:
            if old["constraint"] != "foreign_key":
                continue
            same = {key: old[key] for key in ("schema", "table", "refers_to", "refers_to_columns")}
            new = self.pick("CreateForeignKey", **same)
            if new is not None and new["name"] == old["name"]:
                raise NotPossible(
                    f"The foreign key {old['name']} keeps its name, which only one can have:"
                    " name it after its column."
                )
            if new is not None:
                changes.append(self.foreign_key(new, known=True))
        return changes

    def tables(self) -> list[Change]:
        """Those that go, last of all and together: they may refer to each other."""
        operations = self.take("Late")
        if not operations:
            return []
        places = dict.fromkeys((one["schema"], one["table"]) for one in operations)
        names = ", ".join(table for _, table in places)
        return [
            Late(
                f"Drop {names}",
                f"code that does not use {names}, everywhere.",
                tuple(one["up"] for one in operations),
                tuple(one["down"] for one in reversed(operations)),
                tuple(Table(table, (), schema) for schema, table in places),
                frozenset({"drop-table"}),
            )
        ]


def dropped(one: Operation, table: Table) -> Late:
    return Late(
        f"Drop {one['name']} of {table.name}",
        f"code that does not use {', '.join(str(name) for name in one['columns'])}, everywhere.",
        (one["up"],),
        (one["down"],),
        (table,),
    )


def check_change(entry: Mapping[str, Any], table: Table) -> AddCheck | None:
    """From what the catalog of the models has and the migrations lack."""
    found = re.fullmatch(r"CHECK \((.*)\)", str(entry["definition"]), re.DOTALL)
    return AddCheck(table, entry["name"], found[1]) if found else None
