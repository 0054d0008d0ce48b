"""A column under another name: two columns, kept equal, until no old code runs."""

from toolkit.migration.expand_contract.change import (
    Column,
    Index,
    NotPossible,
    RenameColumn,
    Table,
)
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
    unique_by_index,
)
from toolkit.migration.expand_contract.triggers import Mirror, mirror
from toolkit.migration.expand_contract.writing import Part, Step, quote, short

NOTHING = "nothing, the service stays as it is."


def rename_column(change: RenameColumn, dialect: str) -> list[Part]:
    table, old = change.table, change.old
    comment = comment_beside(old, dialect)
    new = Column(change.new, old.source, old.sql, old.nullable, old.default, comment=comment)
    if dialect == "sqlite" and not old.nullable:
        raise NotPossible(
            f"SQLite: {table.name}.{old.name} is NOT NULL, and triggers run too late for a row"
            " without it: rename it while the service is stopped."
        )
    title = f"Rename {table.name}.{old.name} to {new.name}"
    both = mirror(Mirror(table, old.name, new.name, comparable=comparable(old.sql)), dialect)
    had, has = quote(old.name, dialect), quote(new.name, dialect)
    forth = backfill(table, {new.name: had}, f"{has} IS NULL AND {had} IS NOT NULL", dialect)
    rebuilt = [
        step
        for index, _ in renamed(change, dialect)
        for step in indexed(change.table, index, dialect)
    ]
    expand = Part(
        "expand",
        title,
        NOTHING,
        second_column(table, old, new, both, dialect),
        "A second column, kept equal by a trigger: old code writes the one, new code the other,\n"
        "and each reads what the other wrote.",
    )
    fill = Part(
        "backfill",
        title,
        NOTHING,
        (forth, *rebuilt),
        f"The old rows are copied. Afterwards deploy the code that uses {new.name}.",
    )
    return [expand, fill, contract(change, new, title, both, dialect)]


def contract(change: RenameColumn, new: Column, title: str, both: Step, dialect: str) -> Part:
    """The way back adds the old column, fills it in batches, and then makes it what it was."""
    table, old = change.table, change.old
    had, has = quote(old.name, dialect), quote(new.name, dialect)
    back = backfill(table, {old.name: has}, f"{had} IS NULL AND {has} IS NOT NULL", dialect)
    steps: list[Step] = []
    if not old.nullable:
        steps.append(not_null(table, new, dialect))
        steps.append(Step(down=not_null(table, old, dialect, old.default).up))
    for index in change.indexes:
        built = indexed(table, index, dialect)
        if dialect == "postgresql":  # they go with their column
            steps += [Step(down=step.up) for step in reversed(built)]
        else:
            steps += [step.reversed() for step in reversed(built)]
    steps.append(Step((), back.up, back.constants, back.helpers))
    inside = [both.reversed()]
    if old.default is not None:
        # Not before: a default would stand in front of what old code writes.
        inside.append(set_default(table, new, dialect, old=None, new=old.default))
        # Not when the column is added: its old rows have to be NULL to be filled.
        inside.append(Step(down=set_default(table, old, dialect, old=None, new=old.default).up))
    inside += [
        Step(down=rights(table, new.name, old.name, dialect)),  # after the next, going back
        add_column(table, old, dialect).reversed(),
    ]
    for index, name in renamed(change, dialect):
        if index.name != name:
            inside.append(rename_index(table, index.name, name, dialect))
    return Part(
        "contract",
        title,
        f"the code that uses {new.name}, everywhere; its models have no {old.name} any more.",
        (*steps, *in_lock(table, dialect, inside, hold=True)),
        "The triggers and the old column go.",
        expected=frozenset({"drop-column"}),
    )


def comparable(sql: str) -> bool:
    return sql.lower() not in ("json", "xml", "point")


def renamed(change: RenameColumn, dialect: str) -> list[tuple[Index, str]]:
    """The indexes of the old column, on the new one; and how each is called in the end."""
    names = change.new_index_names or tuple(
        index.name.replace(change.old.name, change.new) for index in change.indexes
    )
    if len(names) != len(change.indexes):
        raise ValueError(f"{len(change.indexes)} indexes have {len(names)} new_index_names")
    taken = {index.name for index in change.indexes}
    if dialect == "sqlite" and set(names) & taken:
        raise NotPossible(
            f"SQLite: the index {min(set(names) & taken)} keeps its name, which only one can have;"
            " name it after its column."
        )
    columns = [
        tuple(change.new if one == change.old.name else one for one in index.columns)
        for index in change.indexes
    ]
    return [
        (
            Index(
                short(f"{name}_new") if name in taken else name,
                on,
                index.unique,
                index.constraint,
            ),
            name,
        )
        for index, name, on in zip(change.indexes, names, columns, strict=True)
    ]


def indexed(table: Table, index: Index, dialect: str) -> list[Step]:
    steps = [create_index(table, index, dialect)]
    if index.constraint and dialect == "postgresql":
        steps.append(unique_by_index(table, index, dialect))
    return steps
