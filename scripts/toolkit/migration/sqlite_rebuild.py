"""What SQLite's batch mode loses when it makes a table anew, put back into the draft (#13).

It copies what SQLAlchemy reflects: no collation, no AUTOINCREMENT, no index over an expression or
in descending order, no trigger, NUMERIC instead of BINARY; and generated columns as if they
were plain ones.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy.dialects.sqlite.base import SQLiteDialect

from toolkit.database.catalog import Catalog, Difference, Entry, differences
from toolkit.migration.missed.insert import add_imports, add_to, find_function
from toolkit.migration.missed.source import call, execute, literal, sql
from toolkit.migration.missed.sqlite import create_index, source_of
from toolkit.migration.several import only_on

BOTH = ("upgrade", "downgrade")


ATTRIBUTES = {("column", name) for name in ("collation", "autoincrement", "type")}
ATTRIBUTES |= {("table", "options")}


def lost(
    before: Catalog, after: Catalog, operations: Sequence[Mapping[str, Any]]
) -> list[Difference]:
    """What is gone although no operation takes it away and its table is still there."""
    named = {one.get("name") for one in operations if one["op"] in {"DropIndex", "DropConstraint"}}
    altered = {
        f"{one['table']}.{one['column']}"
        for one in operations
        if one["op"] == "AlterColumn" and any(str(x).startswith("type") for x in one["changes"])
    }
    tables = {entry["name"] for entry in after.get("table", {}).values()}
    gone = column_names(before) - column_names(after)
    found = []
    for one in differences(before, after):
        if one.attribute is not None:
            changed = (one.kind, one.attribute) in ATTRIBUTES and one.name not in altered
            if one.before and (changed or is_kept_index(one, before, named)):
                found.append(one)
        elif one.before is not None and one.before.get("table") in tables:
            bound = one.kind == "check" and one.before.get("auto_named")
            known = one.kind == "trigger" or bound or one.kind == "index"
            if known and one.before["name"] not in named and not mentions(one.before, gone):
                found.append(one)
    return found


def is_kept_index(one: Difference, before: Catalog, named: set[Any]) -> bool:
    return one.kind == "index" and before["index"][one.name]["name"] not in named


def column_names(catalog: Catalog) -> set[tuple[str, str]]:
    return {(one["table"], one["name"]) for one in catalog.get("column", {}).values()}


def mentions(entry: Entry, columns: set[tuple[str, str]]) -> bool:
    return any(
        table == entry["table"] and re.search(rf"\b{re.escape(name)}\b", entry["definition"], re.I)
        for table, name in columns
    )


def kept(
    source: str, before: Catalog, found: Sequence[Difference], *, several: bool = False
) -> str:
    """The draft that loses none of it, as far as that can be written."""
    early: list[str] = []
    late: list[str] = []
    options: dict[str, dict[str, str]] = {}
    checks: dict[str, list[str]] = {}
    for one in found:
        entry = before[one.kind][one.name]
        table = str(entry.get("table", entry["name"]))
        if one.kind == "trigger":
            again = execute(f'DROP TRIGGER IF EXISTS "{entry["name"]}"')
            late += there([*again, *execute(entry["parts"]["text"])], several=several)
        elif one.kind == "index":
            named = {"table_name": literal(table), "if_exists": "True"}
            late += call("drop_index", [f"op.f({literal(entry['name'])})"], named)
            late += create_index(entry)
        elif one.kind == "check":
            condition = sql(entry["parts"]["condition"])
            checks.setdefault(table, []).append(f"sa.CheckConstraint({condition})")
        elif one.attribute in {"collation", "type"}:
            made = call("alter_column", [literal(entry["name"])], retyped(entry), "batch_op")
            source = in_batches(source, table, there(made, several=several))
        elif one.attribute == "autoincrement":
            options.setdefault(table, {})["sqlite_autoincrement"] = "True"
            aside, back = counter_aside(table)
            early += there(aside, several=several)
            late += there(back, several=several)
        else:
            options.setdefault(table, {}).update(table_options(entry["options"]))
    for table, values in options.items():
        pairs = ", ".join(f"{literal(key)}: {value}" for key, value in values.items())
        source = with_keyword(source, table, f"table_kwargs={{{pairs}}}")
    for table, made in checks.items():
        source = with_keyword(source, table, f"table_args=({', '.join(made)},)")
    for function in BOTH:
        source = add_to(source, function, early, late)
    return add_imports(source)


def counter_aside(table: str) -> tuple[list[str], list[str]]:
    """The highest key that was ever given, which goes with the old table: without it the key of a
    row that was deleted is given once more.
    """
    quoted = table.replace("'", "''")
    name, kept = f"'{quoted}'", f"'{quoted} kept'"
    sequence = "sqlite_sequence WHERE name ="
    aside = f"UPDATE sqlite_sequence SET name = {kept} WHERE name = {name}"  # noqa: S608
    stale = f"DELETE FROM {sequence} {name} AND EXISTS (SELECT 1 FROM {sequence} {kept})"  # noqa: S608
    back = f"UPDATE sqlite_sequence SET name = {name} WHERE name = {kept}"  # noqa: S608
    return execute(aside), [*execute(stale), *execute(back)]


def retyped(column: Entry) -> dict[str, str | None]:
    more = {"collation": column["collation"]} if column["collation"] else {}
    old = SQLiteDialect()._resolve_type_affinity(column["type"])  # type: ignore[no-untyped-call]
    return {"existing_type": f"sa.{old!r}", "type_": source_of(column["type"], **more)}


def there(lines: Sequence[str], *, several: bool) -> list[str]:
    """What only SQLite needs, in a project on several databases."""
    return [only_on("sqlite"), *(f"    {line}" for line in lines)] if several else [*lines]


def generated_aside(source: str, before: Catalog, *, several: bool = False) -> str:
    """Generated columns are dropped and added within the batch, which then copies the others.

    `several`: on SQLite alone, since elsewhere there is no copy and no place for a column.
    """
    by_table: dict[str, list[Entry]] = {}
    for one in before.get("column", {}).values():
        by_table.setdefault(one["table"], []).append(one)
    for table, columns in by_table.items():
        columns.sort(key=lambda one: int(one["order"]))
        lines: list[str] = []
        for place, one in enumerate(columns):
            if one["generated"]:
                lines += once_more(one, columns[place - 1]["name"] if place else None)
        if lines:
            source = in_batches(source, table, there(lines, several=several))
    return add_imports(source)


def once_more(column: Entry, behind: str | None) -> list[str]:
    made = column["generated"]
    parts = [literal(column["name"]), source_of(column["type"])]
    parts.append(f"sa.Computed({literal(made['expression'])}, persisted={made['stored']})")
    parts += ["nullable=False"] if not column["nullable"] else []
    place = {"insert_after": literal(behind) if behind else None}
    return [
        *call("drop_column", [literal(column["name"])], {}, "batch_op"),
        *call("add_column", [f"sa.Column({', '.join(parts)})"], place, "batch_op"),
    ]


def batches(source: str, function: str, table: str) -> Iterator[tuple[ast.With, ast.Call]]:
    for node in ast.walk(find_function(ast.parse(source), function)):
        if isinstance(node, ast.With) and isinstance(node.items[0].context_expr, ast.Call):
            opened = node.items[0].context_expr
            if opened.args and ast.unparse(opened.args[0]) == repr(table):
                yield node, opened


def in_batches(source: str, table: str, made: Sequence[str]) -> str:
    """These lines first in each batch of this table."""
    for function in BOTH:
        for block, _ in sorted(batches(source, function, table), key=lambda one: -one[0].lineno):
            lines = source.splitlines()
            first = block.body[0]
            lines[first.lineno - 1 : first.lineno - 1] = [
                " " * first.col_offset + line for line in made
            ]
            source = "\n".join(lines) + "\n"
    return source


def with_keyword(source: str, table: str, keyword: str) -> str:
    for function in BOTH:
        for _, opened in sorted(batches(source, function, table), key=lambda one: -one[0].lineno):
            lines = source.splitlines()
            assert opened.end_lineno is not None
            assert opened.end_col_offset is not None
            line = lines[opened.end_lineno - 1].encode()
            end = opened.end_col_offset - 1
            lines[opened.end_lineno - 1] = (
                line[:end] + f", {keyword}".encode() + line[end:]
            ).decode()
            source = "\n".join(lines) + "\n"
    return source


def table_options(options: Sequence[str]) -> dict[str, str]:
    known = {"STRICT": ("sqlite_strict", "True"), "WITHOUT ROWID": ("sqlite_with_rowid", "False")}
    return dict(known[one.upper()] for one in options if one.upper() in known)
