"""Columns that become required, come required, or go."""

from toolkit.migration.expand_contract.change import (
    AddRequiredColumn,
    Column,
    DropColumn,
    NotPossible,
    SetNotNull,
    Table,
)
from toolkit.migration.expand_contract.columns import NOTHING
from toolkit.migration.expand_contract.steps import (
    add_column,
    backfill,
    in_lock,
    not_null,
    set_default,
)
from toolkit.migration.expand_contract.triggers import filler
from toolkit.migration.expand_contract.writing import Part, Step, quote, string

WRITES = "code that always writes {}, everywhere."


def set_not_null(change: SetNotNull, dialect: str) -> list[Part]:
    title = f"Make {change.table.name}.{change.column.name} NOT NULL"
    return required(change.table, change.column, change.fill, title, dialect=dialect)


def required(
    table: Table,
    column: Column,
    fill: str,
    title: str,
    *,
    dialect: str,
    before: tuple[Step, ...] = (),
) -> list[Part]:
    """`before`: what the first revision does before it lets a trigger fill the column."""
    own = quote(column.name, dialect)
    fills = backfill(table, {column.name: fill.replace("{row}", "")}, f"{own} IS NULL", dialect)
    strict = not_null(table, column, dialect, column.default)
    writes = WRITES.format(column.name)
    if dialect == "sqlite":
        if before:
            raise NotPossible(
                f"SQLite: a default that differs from row to row cannot be added to {table.name};"
                " add the column as nullable, or with a constant."
            )
        return [
            Part("backfill", title, writes, (fills,), "The old rows are filled."),
            Part("contract", title, writes, (strict,), "SQLite copies the table for it."),
        ]
    trigger = filler(table, column.name, fill, dialect)
    return [
        Part(
            "expand",
            title,
            NOTHING,
            in_lock(table, dialect, (*before, trigger)),
            "A trigger fills what old code leaves empty.",
        ),
        Part("backfill", title, NOTHING, (fills,), "The old rows are filled."),
        Part(
            "contract",
            title,
            writes,
            (strict, *in_lock(table, dialect, (trigger.reversed(),))),
            "The database verifies it beside readers and writers; then the trigger goes.",
        ),
    ]


def add_required_column(change: AddRequiredColumn, dialect: str) -> list[Part]:
    table, column = change.table, change.column
    title = f"Add {table.name}.{column.name}, NOT NULL"
    if not change.constant or "{row}" in change.fill:
        before = [add_column(table, column, dialect)]
        if column.default is not None:  # of its own, after it: old rows are filled in batches
            before.append(set_default(table, column, dialect, old=None, new=column.default))
        return required(table, column, change.fill, title, dialect=dialect, before=tuple(before))
    added = add_column(table, column, dialect, nullable=False, default=change.fill)
    expand = Part(
        "expand",
        title,
        NOTHING,
        in_lock(table, dialect, (added,)),
        "With a default that old code, which does not know the column, needs. No row is touched.",
    )
    if column.default == change.fill:
        return [expand]
    if dialect == "sqlite":
        edit = (
            f"with op.batch_alter_table({string(table.name)}) as table:\n"
            f"    table.alter_column({string(column.name)}, existing_type={column.source},"
            " server_default={})"
        )
        changed = Step(
            (edit.format(default_source(column.default)),),
            (edit.format(default_source(change.fill)),),
        )
    else:
        changed = set_default(table, column, dialect, old=change.fill, new=column.default)
    contract = Part(
        "contract",
        title,
        WRITES.format(column.name),
        in_lock(table, dialect, (changed,)),
        "The default goes." if column.default is None else "The default becomes the model's.",
        expected=frozenset({"drop-default"}),
    )
    return [expand, contract]


def default_source(default: str | None) -> str:
    return f"sa.text({string(default)})" if default is not None else "None"


def drop_column(change: DropColumn, dialect: str) -> list[Part]:
    table, column = change.table, change.column
    title = f"Drop {table.name}.{column.name}"
    gone = f"code whose models have no {column.name}, everywhere."
    default = column.default if column.default is not None else change.fill
    if not column.nullable and default is None:
        raise ValueError(
            f"{table.name}.{column.name} is NOT NULL without a default: say what old code reads in"
            " rows of the new code (fill)"
        )
    parts: list[Part] = []
    if column.default is None and change.fill is not None:
        if dialect == "sqlite":
            raise NotPossible(
                f"SQLite: a default for {table.name}.{column.name} copies the table in one"
                " transaction that has the file; drop the column while the service is stopped."
            )
        changed = set_default(table, column, dialect, old=None, new=change.fill)
        parts.append(
            Part(
                "expand",
                title,
                NOTHING,
                in_lock(table, dialect, (changed,)),
                "A default, so that code which does not know the column can insert rows that\n"
                "old code can read.",
            )
        )
    back = add_column(table, column, dialect, nullable=column.nullable, default=default)
    parts.append(
        Part(
            "contract",
            title,
            gone,
            in_lock(table, dialect, (back.reversed(),)),
            "The column goes, with its values.",
            "The column comes back, its values do not.",
            expected=frozenset({"drop-column"}),
        )
    )
    return parts
