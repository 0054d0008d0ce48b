"""Triggers that keep two columns equal while old and new code write one of them each."""

import textwrap
from dataclasses import dataclass
from typing import Literal

from toolkit.migration.expand_contract.change import Table
from toolkit.migration.expand_contract.writing import (
    LONGEST_NAME,
    Step,
    literal,
    quote,
    quoted,
    short,
)

Timing = Literal["INSERT", "UPDATE"]


@dataclass(frozen=True)
class Mirror:
    """`new` follows `old`; with `back`, `old` follows `new` as well.

    `forth` and `back` are SQL with `{}` for the value.
    """

    table: Table
    old: str
    new: str
    forth: str = "{}"
    back: str | None = "{}"
    comparable: bool = True
    """False for PostgreSQL's json, which knows no equality: its text is compared."""


def mirror(mirror: Mirror, dialect: str, constants: str = "") -> Step:
    """Create the triggers. `constants` tells two of them apart that are in one file."""
    name = trigger_name(mirror.table.name, f"{mirror.old}_{mirror.new}")
    writers = {"postgresql": postgresql_mirror, "mysql": mysql_mirror, "sqlite": sqlite_mirror}
    return triggers(mirror.table, name, writers[dialect](mirror, name), dialect, constants)


def filler(table: Table, column: str, fill: str, dialect: str) -> Step:
    """Old code that writes NULL, or nothing, gets `fill`."""
    name = trigger_name(table.name, f"{column}_fill")
    own = quote(column, dialect)
    value = fill.replace("{row}", "NEW.")
    if dialect == "postgresql":
        statements = postgresql_trigger(
            table, name, f"    NEW.{own} = coalesce(NEW.{own}, {value});"
        )
    else:
        rule = f"SET NEW.{own} = COALESCE(NEW.{own}, {value})"
        statements = mysql_triggers(table, name, {"INSERT": rule, "UPDATE": rule})
    return triggers(table, name, statements, dialect)


def trigger_name(table: str, what: str) -> str:
    # _insert and _update are still to come.
    return short(f"{table}_{what}", LONGEST_NAME - 7)


def triggers(table: Table, name: str, create: list[str], dialect: str, constants: str = "") -> Step:
    """Created by upgrade(), dropped by downgrade()."""
    if dialect == "postgresql":
        on, function = (
            quoted(table.name, table.schema, dialect),
            quoted(name, table.schema, dialect),
        )
        drop = [f"DROP TRIGGER {quote(name, dialect)} ON {on}", f"DROP FUNCTION {function}()"]
    else:
        drop = [
            f"DROP TRIGGER {quoted(f'{name}_{event}', table.schema, dialect)}"
            for event in ("insert", "update")
        ]
    inside = "op.execute(statement)"
    if dialect == "mysql":
        inside = "patiently(lambda statement=statement: op.execute(statement))"
    created, dropped = f"CREATE_{constants}TRIGGERS", f"DROP_{constants}TRIGGERS"
    return Step(
        (f"for statement in {created}:\n    {inside}",),
        (f"for statement in {dropped}:\n    {inside}",),
        (constant(created, create), constant(dropped, drop)),
    )


def constant(name: str, statements: list[str]) -> str:
    lines = "".join(f"{textwrap.indent(one_literal(text), '    ')},\n" for text in statements)
    return f"{name} = (\n{lines})"


def one_literal(statement: str) -> str:
    written = literal(textwrap.dedent(statement))
    several = "\n" in written and not written.startswith('"""')
    return f"(\n{textwrap.indent(written, '    ')}\n)" if several else written


def postgresql_trigger(table: Table, name: str, body: str) -> list[str]:
    function = quoted(name, table.schema, "postgresql")
    on = quoted(table.name, table.schema, "postgresql")
    return [
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$\n"
        f"BEGIN\n{body}\n    RETURN NEW;\nEND $$",
        f"CREATE TRIGGER {quote(name, 'postgresql')} BEFORE INSERT OR UPDATE ON {on}\n"
        f"FOR EACH ROW EXECUTE FUNCTION {function}()",
    ]


def postgresql_mirror(mirror: Mirror, name: str) -> list[str]:
    old, new = (quote(column, "postgresql") for column in (mirror.old, mirror.new))
    value = mirror.forth.format(f"NEW.{old}")
    if mirror.back is None:
        return postgresql_trigger(mirror.table, name, f"    NEW.{new} = {value};")
    text = "" if mirror.comparable else "::text"
    body = f"""\
    IF TG_OP = 'INSERT' THEN
        NEW.{new} = coalesce(NEW.{new}, {value});
    ELSIF NEW.{new}{text} IS NOT DISTINCT FROM OLD.{new}{text} THEN
        IF NEW.{old}{text} IS DISTINCT FROM OLD.{old}{text} THEN
            NEW.{new} = {value};
        ELSE  -- the row may be one that is not copied yet, one way or the other
            NEW.{new} = coalesce(NEW.{new}, {value});
        END IF;
    END IF;
    NEW.{old} = {mirror.back.format(f"NEW.{new}")};"""
    return postgresql_trigger(mirror.table, name, body)


def mysql_triggers(table: Table, name: str, rules: dict[Timing, str]) -> list[str]:
    """That for updates first: what is inserted without a trigger is still NULL, and is filled
    later; a row that is filled and updated without one would be wrong for ever."""
    on = quoted(table.name, table.schema, "mysql")
    return [
        f"CREATE TRIGGER {quoted(f'{name}_{event.lower()}', table.schema, 'mysql')}"
        f" BEFORE {event} ON {on} FOR EACH ROW\n{rule}"
        for event, rule in sorted(rules.items(), reverse=True)
    ]


def mysql_mirror(mirror: Mirror, name: str) -> list[str]:
    old, new = (quote(column, "mysql") for column in (mirror.old, mirror.new))
    value = mirror.forth.format(f"NEW.{old}")
    if mirror.back is None:
        rule = f"SET NEW.{new} = {value}"
        return mysql_triggers(mirror.table, name, {"INSERT": rule, "UPDATE": rule})
    back = f"NEW.{old} = {mirror.back.format(f'NEW.{new}')}"
    return mysql_triggers(
        mirror.table,
        name,
        {
            "INSERT": f"SET NEW.{new} = COALESCE(NEW.{new}, {value}),\n    {back}",
            # A row that nobody wrote may be one that is not copied yet, one way or the other.
            "UPDATE": f"SET NEW.{new} = IF(NEW.{new} <=> OLD.{new},"
            f"\n    IF(NEW.{old} <=> OLD.{old}, COALESCE(NEW.{new}, {value}), {value}), NEW.{new}),"
            f"\n    {back}",
        },
    )


def sqlite_mirror(mirror: Mirror, name: str) -> list[str]:
    """After the statement, as SQLite's triggers cannot change the row before it is written."""
    on = quote(mirror.table.name, "sqlite")
    old, new = (quote(column, "sqlite") for column in (mirror.old, mirror.new))
    this = " AND ".join(
        f"{column} = NEW.{column}" for column in (quote(key, "sqlite") for key in mirror.table.key)
    )
    inserted = f"coalesce(NEW.{new}, NEW.{old})"
    updated = (
        f"\n            CASE WHEN NEW.{new} IS NOT OLD.{new} THEN NEW.{new}"
        f"\n            WHEN NEW.{old} IS OLD.{old} THEN {inserted} ELSE NEW.{old} END"
    )
    return [
        f"CREATE TRIGGER {quote(f'{name}_insert', 'sqlite')} AFTER INSERT ON {on} BEGIN\n"
        f"    UPDATE {on} SET\n        {old} = {inserted},\n        {new} = {inserted}\n"
        f"    WHERE {this};\nEND",
        f"CREATE TRIGGER {quote(f'{name}_update', 'sqlite')} AFTER UPDATE OF {old}, {new} ON {on}\n"
        f"BEGIN\n    UPDATE {on} SET\n        {old} ={updated},\n        {new} ={updated}\n"
        f"    WHERE {this};\nEND",
    ]
