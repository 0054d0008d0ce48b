"""A column of another type: a second column takes the name of the first."""

from toolkit.migration.expand_contract.change import ChangeType, Column, Index, NotPossible
from toolkit.migration.expand_contract.columns import NOTHING, indexed
from toolkit.migration.expand_contract.steps import (
    add_column,
    backfill,
    comment_beside,
    create_index,
    in_lock,
    not_null,
    rename_index,
    rights,
    second_column,
    set_default,
)
from toolkit.migration.expand_contract.triggers import Mirror, mirror
from toolkit.migration.expand_contract.writing import (
    Part,
    Step,
    changes,
    execute,
    quote,
    quoted,
    short,
)

NEW, OLD = "_new", "_old"


def change_type(change: ChangeType, dialect: str) -> list[Part]:
    table, column = change.table, change.column
    if dialect == "sqlite":
        raise NotPossible(
            f"SQLite: a type is changed by copying {table.name} in one transaction that has the"
            " file (op.batch_alter_table); INTEGER and VARCHAR(n) need no change at all."
        )
    if (column.default is None) != (change.default is None):
        raise ValueError(
            f"{table.name}.{column.name} has the default {column.default}: say what it is in the"
            " new type"
        )
    new = Column(
        f"{column.name}_new",
        change.source,
        change.sql,
        column.nullable,
        create_type=change.create_type,
        drop_type=change.drop_type,
        comment=comment_beside(column, dialect),
    )
    title = f"Change {table.name}.{column.name} from {column.sql} to {change.sql}"
    forth = change.using or cast(change.sql, dialect)
    follows = mirror(Mirror(table, column.name, new.name, forth, None), dialect)
    had = quote(column.name, dialect)
    missing = f"{quote(new.name, dialect)} IS NULL AND {had} IS NOT NULL"
    return [
        Part(
            "expand",
            title,
            NOTHING,
            second_column(table, column, new, follows, dialect),
            f"A second column, {new.name}, filled by a trigger. The service writes {column.name}.",
        ),
        Part(
            "backfill",
            title,
            NOTHING,
            (
                backfill(table, {new.name: forth.format(had)}, missing, dialect),
                *(
                    step
                    for index in change.indexes
                    for step in indexed(table, moved(index, change, NEW), dialect)
                ),
            ),
            "The old rows are converted.",
        ),
        swap(change, new, title, follows, dialect),
    ]


def swap(change: ChangeType, new: Column, title: str, follows: Step, dialect: str) -> Part:
    """The new column takes the name. The way back is all of the way there, in one file."""
    table, column = change.table, change.column
    old = Column(  # on the way back
        new.name, column.source, column.sql, column.nullable, comment=new.comment
    )
    back = change.back or cast(column.sql, dialect)
    returns = mirror(Mirror(table, column.name, new.name, back, None), dialect, "BACK_")
    had = quote(column.name, dialect)
    missing = f"{quote(new.name, dialect)} IS NULL AND {had} IS NOT NULL"
    back_fill = backfill(table, {new.name: back.format(had)}, missing, dialect)
    changed = Column(column.name, change.source, change.sql, column.nullable)

    up: list[str] = []
    down: list[str] = []
    if not column.nullable:
        up += not_null(table, new, dialect).up
    if dialect == "mysql":  # of an index on several columns it would keep the others
        for index in change.indexes:
            up += create_index(table, index, dialect).down
    up += locked(change, dialect, [
        *follows.down,
        *rename(change, new, dialect),
        *(set_default(table, changed, dialect, old=None, new=change.default).up
          if column.default is not None else ()),
        *renamed(change, NEW, "", dialect),
    ])  # fmt: skip

    given = rights(table, column.name, new.name, dialect)
    down += locked(change, dialect, [*add_column(table, old, dialect).up, *given, *returns.up])
    down += back_fill.up
    if not column.nullable:
        down += not_null(table, old, dialect).up
    for index in change.indexes:
        steps = indexed(table, moved(index, change, OLD), dialect)
        down += [line for step in steps for line in step.up]
    defaults: tuple[str, ...] = ()
    if column.default is not None:
        defaults = (
            *set_default(table, new, dialect, old=None, new=None).up,
            *set_default(table, column, dialect, old=None, new=column.default).up,
        )
    names = [*renamed(change, "", NEW, dialect), *renamed(change, OLD, "", dialect)]
    down += locked(
        change,
        dialect,
        [*returns.down, *exchange(change, new, dialect), *defaults, *follows.up, *names],
    )
    if not column.nullable:
        down += not_null(table, new, dialect).down
    constants = (*follows.constants, *returns.constants, *back_fill.constants)
    again = ""
    if dialect == "postgresql":
        again = (
            ", and runs a transaction again when asyncpg says InvalidCachedStatementError (once a"
            " connection)"
        )
    return Part(
        "contract",
        title,
        f"code that reads and writes both types in {table.name}.{column.name}{again}.",
        (Step(tuple(up), tuple(down), constants, back_fill.helpers),),
        "The new column takes the name of the old one, in a moment.",
        expected=frozenset({"drop-column", "rename-column"}),
    )


def moved(index: Index, change: ChangeType, suffix: str) -> Index:
    """The index on the second column, meanwhile under another name."""
    second = f"{change.column.name}_new"
    columns = tuple(second if name == change.column.name else name for name in index.columns)
    return Index(short(f"{index.name}{suffix}"), columns, index.unique, index.constraint)


def renamed(change: ChangeType, old: str, new: str, dialect: str) -> list[str]:
    """Each index from the one suffix to the other."""
    return [
        line
        for index in change.indexes
        for line in rename_index(
            change.table, short(f"{index.name}{old}"), short(f"{index.name}{new}"), dialect
        ).up
    ]


def locked(change: ChangeType, dialect: str, lines: list[str]) -> list[str]:
    steps = in_lock(change.table, dialect, (Step(tuple(lines)),), hold=True)
    return [line for step in steps for line in step.up]


def rename(change: ChangeType, new: Column, dialect: str) -> tuple[str, ...]:
    """Drop the old column, and give its name to the new one."""
    on = quoted(change.table.name, change.table.schema, dialect)
    had, has = quote(change.column.name, dialect), quote(new.name, dialect)
    if dialect == "mysql":
        return changes(
            dialect,
            execute(f"ALTER TABLE {on} DROP COLUMN {had}, RENAME COLUMN {has} TO {had}"),
        )
    return (
        execute(f"ALTER TABLE {on} DROP COLUMN {had}"),
        execute(f"ALTER TABLE {on} RENAME COLUMN {has} TO {had}"),
    )


def exchange(change: ChangeType, new: Column, dialect: str) -> tuple[str, ...]:
    """Both columns stay and swap their names."""
    on = quoted(change.table.name, change.table.schema, dialect)
    had, has = quote(change.column.name, dialect), quote(new.name, dialect)
    if dialect == "mysql":
        return changes(
            dialect,
            execute(f"ALTER TABLE {on} RENAME COLUMN {had} TO {has}, RENAME COLUMN {has} TO {had}"),
        )
    between = quote(f"{new.name}_", dialect)
    return tuple(
        execute(f"ALTER TABLE {on} RENAME COLUMN {one} TO {other}")
        for one, other in ((had, between), (has, had), (between, has))
    )


def cast(sql: str, dialect: str) -> str:
    """MySQL converts on assignment; its CAST knows few of its types."""
    return f"CAST({{}} AS {sql})" if dialect == "postgresql" else "{}"
