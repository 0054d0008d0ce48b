"""Constraints: for new rows first, and for old ones without a strong lock."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.migration.review.forms.indexes import (
    NESTED,
    drop,
    duplicates,
    each_partition,
    each_table,
    words_of,
)
from toolkit.migration.review.forms.rows import facts_of
from toolkit.migration.review.forms.writing import (
    Change,
    Facts,
    Form,
    Outside,
    Part,
    bare,
    beside,
    own_name,
    revision,
    sql_name,
    table_name,
)

HOLDS = "A revision of its own: for new rows at once, for old ones while others write"
ONE_BY_ONE = (
    "Each partition's key first, and the parent's takes them over: before PostgreSQL 18 a"
    " partitioned table has no NOT VALID foreign key"
)


def drop_constraint(table: str, name: str) -> str:
    return f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"


def foreign_key(
    change: Change, statement: Mapping[str, Any], revision_of: Mapping[str, Any]
) -> Form:
    """With the column that the same statement adds, or the same operation of Alembic's."""
    facts = facts_of(statement, change["table"])
    table = table_name(change["table"])
    columns = with_columns(change, statement, revision_of)
    if columns is None:
        return Form(why_not=COLUMN_FIRST)
    before, undo = columns
    undo = [drop_constraint(table, sql_name(change["name"])), *undo]
    version = version_of(statement["limits"]["server_version"])
    if facts.get("kind") == "p" and version < 18:
        return foreign_key_on_partitions(change, facts, before, undo)
    return not_valid(change, before, undo, known=replaced_in(facts, change))


COLUMN_FIRST = "Add the column in a statement of its own, before the constraint."


def with_columns(
    change: Change, statement: Mapping[str, Any], revision_of: Mapping[str, Any]
) -> tuple[list[str], list[str]] | None:
    """Statements for the columns that come with a constraint, and their way back; None for one
    that needs a value. The form takes the statement's place, and that of its columns."""
    table = table_name(change["table"])
    added = [
        c for other in revision_of["statements"]
        if other is statement or (other["line"] == statement["line"] and other["operation"])
        for c in other.get("changes", ())
        if c["what"] == "column-added" and c["table"] == change["table"]
    ]  # fmt: skip
    if any(c["default"] or c["not_null"] for c in added):
        return None
    names = [(sql_name(c["column"]), c["type"]) for c in added]
    return (
        [f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {own} {kind}" for own, kind in names],
        [f"ALTER TABLE {table} DROP COLUMN {own}" for own, _ in names],
    )


def check(change: Change, statement: Mapping[str, Any], revision_of: Mapping[str, Any]) -> Form:
    """With the column that the same statement adds."""
    columns = with_columns(change, statement, revision_of)
    if columns is None:
        return Form(why_not=COLUMN_FIRST)
    known = replaced_in(facts_of(statement, change["table"]), change)
    undo = [drop_constraint(table_name(change["table"]), sql_name(change["name"])), *columns[1]]
    return not_valid(change, columns[0], undo, known=known)


def replaced_in(facts: Facts, change: Change) -> Facts | None:
    """What had the constraint's name before the revision."""
    found: Facts | None = (facts.get("constraints") or {}).get(change["name"])
    return found


def not_valid(
    change: Change,
    before: Sequence[str] = (),
    undo: Sequence[str] = (),
    *,
    known: Facts | None = None,
) -> Form:
    """CHECK and FOREIGN KEY. `before` adds the column that it is on, `undo` drops it; `known`
    is what had its name and comes back."""
    table, name = table_name(change["table"]), sql_name(change["name"])

    def added(definition: str) -> list[Part]:
        definition = definition.removesuffix(" NOT VALID")
        return [
            drop_constraint(table, name),
            f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition} NOT VALID",
            validated(table, name),
        ]

    down: Sequence[Part] = undo or [drop_constraint(table, name)]
    if known is not None:
        down = [*added(known["definition"]), *undo[1:]]
    return Form(revision(HOLDS, [*before, *added(str(change["definition"]))], down))


def foreign_key_on_partitions(
    change: Change, facts: Facts, before: Sequence[str], undo: Sequence[str]
) -> Form:
    if facts.get("nested"):
        return Form(why_not=NESTED.replace("build the index on", "add the key to"))
    table, name = table_name(change["table"]), sql_name(change["name"])
    definition = str(change["definition"])
    return Form(
        revision(
            ONE_BY_ONE,
            [
                *before,
                drop_constraint(table, name),
                each_table(
                    table,
                    drop_constraint("<partition>", name),
                    f"ALTER TABLE <partition> ADD CONSTRAINT {name} {definition} NOT VALID",
                    outside=f"ALTER TABLE <partition> VALIDATE CONSTRAINT {name}",
                ),
                f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}",
            ],
            undo,
        )
    )


def version_of(version: str) -> int:
    found = re.match(r"\d+", version)
    return int(found[0]) if found else 0


def validated(table: str, name: str) -> Outside:
    return Outside([f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}"])


def validate(change: Change) -> Form:
    return Form(
        revision(
            "A revision of its own",
            [validated(table_name(change["table"]), sql_name(change["name"]))],
            [],
        )
    )


def not_null_parts(table: str, column: str) -> list[Part]:
    """NOT NULL without a scan under the strong lock: a valid CHECK proves it."""
    name, own = table_name(table), sql_name(column)
    check = sql_name(own_name(bare(table), column, "not_null_check"))
    return [
        drop_constraint(name, check),
        f"ALTER TABLE {name} ADD CONSTRAINT {check} CHECK ({own} IS NOT NULL) NOT VALID",
        validated(name, check),
        f"ALTER TABLE {name} ALTER COLUMN {own} SET NOT NULL",
        f"ALTER TABLE {name} DROP CONSTRAINT {check}",
    ]


def set_not_null(table: str, column: str) -> Form:
    name, own = table_name(table), sql_name(column)
    unfilled = f"SELECT count(*) FROM {name} WHERE {own} IS NULL"
    return Form(
        revision(
            "A revision of its own, when all running code writes the column and old rows are"
            f" filled: {unfilled}",
            not_null_parts(table, column),
            [f"ALTER TABLE {name} ALTER COLUMN {own} DROP NOT NULL"],
        )
    )


def using_index(
    change: Change,
    statement: Mapping[str, Any],
    revision_of: Mapping[str, Any],
    replaced: Change | None = None,
) -> Form:
    """UNIQUE and PRIMARY KEY: the index first, concurrently; the constraint takes it over.

    `replaced` is a constraint of the same name that the same revision drops.
    """
    facts = facts_of(statement, change["table"])
    with_it = with_columns(change, statement, revision_of)
    if with_it is None:
        return Form(why_not=COLUMN_FIRST)
    table, name = table_name(change["table"]), sql_name(change["name"])
    found = re.fullmatch(
        r"(?P<kind>UNIQUE|PRIMARY KEY)(?P<nulls> NULLS NOT DISTINCT)? \((?P<columns>.*?)\)"
        r"(?P<include> INCLUDE \([^)]*\))?(?P<late>(?: DEFERRABLE| INITIALLY DEFERRED)*)",
        str(change["definition"]),
    )
    if found is None:
        return Form()
    known = (facts.get("constraints") or {}).get(change["name"])
    if replaced is not None and (known is None or known["type"] not in ("u", "p")):
        return Form()
    built_as = own_name(change["name"], "new") if replaced else change["name"]
    keys = re.findall(r'"(?:[^"]|"")+"|[^",\s]+', found["columns"])
    how = f"({found['columns']}){found['include'] or ''}{found['nulls'] or ''}"
    title = "A revision of its own. It fails on duplicates; these are found by: " + duplicates(
        change["table"], keys
    )
    if facts.get("kind") == "p":
        if facts.get("nested") or replaced or with_it[0]:
            return Form(why_not=NESTED if facts.get("nested") else "")
        return on_partitions(change, title, keys, how, found)
    index = beside(change["table"], built_as)
    plain = [key[1:-1].replace('""', '"') if key.startswith('"') else key for key in keys]
    columns = facts.get("columns") or {}
    nullable = [
        key for key in plain
        if found["kind"] != "UNIQUE" and key in columns and not columns[key]["not_null"]
    ]  # fmt: skip
    swap = [f"ALTER TABLE {table} DROP CONSTRAINT {name}"] if replaced else []
    add = f"ALTER TABLE {table} ADD CONSTRAINT {name} {found['kind']} USING INDEX"
    up: list[Part] = [
        *with_it[0],
        Outside(
            [
                drop(index),
                f"CREATE UNIQUE INDEX CONCURRENTLY {sql_name(built_as)} ON {table} {how}",
            ],
            patient=True,
        ),
        *(part for column in nullable for part in not_null_parts(change["table"], column)),
        *swap,
        f"{add} {sql_name(built_as)}{found['late']}",
    ]
    down: list[Part] = []
    if replaced is not None and known is not None:
        before = own_name(change["name"], "old")
        again = unique_index(known["definition"], before, table)
        down += [
            Outside([drop(beside(change["table"], before)), again], patient=True),
            f"ALTER TABLE {table} DROP CONSTRAINT {name}",
            over_index(table, name, known, sql_name(before)),
        ]
    else:
        down.append(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    down += [f"ALTER TABLE {table} ALTER COLUMN {sql_name(key)} DROP NOT NULL" for key in nullable]
    down += with_it[1]
    return Form(revision(title, up, down))


def unique_index(definition: str, name: str, table: str) -> str:
    """The index for a UNIQUE or PRIMARY KEY constraint that is there."""
    columns = definition[definition.index("(") : definition.rindex(")") + 1]
    nulls = " NULLS NOT DISTINCT" if "NULLS NOT DISTINCT" in definition else ""
    return f"CREATE UNIQUE INDEX CONCURRENTLY {sql_name(name)} ON {table} {columns}{nulls}"


def over_index(table: str, name: str, constraint: Facts, index: str) -> str:
    """The same constraint again, which takes the index over."""
    kind = "PRIMARY KEY" if constraint["type"] == "p" else "UNIQUE"
    late = constraint["definition"][constraint["definition"].rindex(")") + 1 :]
    return f"ALTER TABLE {table} ADD CONSTRAINT {name} {kind} USING INDEX {index}{late}"


def on_partitions(
    change: Change, title: str, keys: list[str], how: str, found: re.Match[str]
) -> Form:
    """A constraint of each partition first; the parent's takes them over."""
    table, name = table_name(change["table"]), sql_name(change["name"])
    kind, late = found["kind"], found["late"]
    words = "pkey" if kind == "PRIMARY KEY" else f"{words_of(keys)}_key"
    return Form(
        revision(
            title,
            [
                each_partition(
                    table,
                    words,
                    f"CREATE UNIQUE INDEX CONCURRENTLY <index> ON <partition> {how}",
                    f"ALTER TABLE <partition> ADD CONSTRAINT <index> {kind} USING INDEX"
                    f" <index>{late}",
                    first=drop_constraint("<partition>", "<index>"),
                ),
                f"ALTER TABLE {table} ADD CONSTRAINT {name} {change['definition']}",
            ],
            [f"ALTER TABLE {table} DROP CONSTRAINT {name}"],
        )
    )
