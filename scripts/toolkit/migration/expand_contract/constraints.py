"""Constraints, indexes and the name of a table."""

from toolkit.migration.expand_contract.change import (
    AddCheck,
    AddForeignKey,
    AddIndex,
    AddUnique,
    Index,
    Late,
    NotPossible,
    RenameTable,
    Table,
)
from toolkit.migration.expand_contract.columns import NOTHING
from toolkit.migration.expand_contract.steps import (
    create_index,
    in_lock,
    lock,
    refuse,
    rename_index,
    unique_by_index,
    validate,
)
from toolkit.migration.expand_contract.writing import (
    Part,
    Step,
    call,
    changes,
    execute,
    quote,
    quoted,
    short,
    string,
    view_rights,
)


def add_index(change: AddIndex, dialect: str) -> list[Part]:
    table, index = change.table, change.index
    title = f"Index {index.name} on {table.name}"
    built = create_index(table, index, dialect)
    if not index.unique:
        return [Part("expand", title, NOTHING, (built,))]
    listed = ", ".join(index.columns)
    careful = f"code that writes no second row with the same {listed or index.name}."
    simple = () if index.keys or index.options else (no_doubles(table, index.columns, dialect),)
    return [Part("contract", title, careful, (*simple, built))]


def no_doubles(table: Table, names: tuple[str, ...], dialect: str) -> Step:
    on = quoted(table.name, table.schema, dialect)
    columns = ", ".join(quote(column, dialect) for column in names)
    known = " AND ".join(f"{quote(column, dialect)} IS NOT NULL" for column in names)
    return refuse(
        f"SELECT count(*) FROM (SELECT 1 FROM {on} WHERE {known} GROUP BY {columns}"  # noqa: S608
        " HAVING count(*) > 1) AS doubled",
        f"{{found}} values of {table.name} ({', '.join(names)}) are there twice",
    )


def add_unique(change: AddUnique, dialect: str) -> list[Part]:
    table = change.table
    index = Index(change.name, change.columns, unique=True)
    doubled = no_doubles(table, change.columns, dialect)
    title = f"Unique {', '.join(change.columns)} in {table.name}"
    careful = f"code that writes no second row with the same {', '.join(change.columns)}."
    built = create_index(table, index, dialect)
    if dialect != "postgresql":
        words = "MySQL: in place. SQLite: an index, as a constraint would copy the table."
        return [Part("contract", title, careful, (doubled, built), words)]
    owned = unique_by_index(table, index, dialect)
    # A constraint takes its index along: the step before finds none, and that is right. The
    # index has to be there again when only this one is undone.
    again = Step(down=built.up)
    return [
        Part("expand", title, careful, (doubled, built), "The index, beside readers and writers."),
        Part("contract", title, careful, (again, owned), "The index becomes a constraint."),
    ]


def add_foreign_key(change: AddForeignKey, dialect: str) -> list[Part]:
    table = change.table
    on = quoted(table.name, table.schema, dialect)
    to = quoted(change.refers_to, change.refers_to_schema, dialect)
    title = f"Foreign key {change.name} on {table.name}"
    careful = NOTHING if change.known else "code that writes no row whose parent is missing."
    if dialect == "sqlite":
        raise NotPossible(
            f"SQLite: a foreign key is added by copying {table.name} in one transaction that has"
            " the file (op.batch_alter_table)."
        )
    pairs = list(zip(change.columns, change.refers_to_columns, strict=True))
    matches = " AND ".join(
        f"p.{quote(theirs, dialect)} = c.{quote(ours, dialect)}" for ours, theirs in pairs
    )
    known = " AND ".join(f"c.{quote(ours, dialect)} IS NOT NULL" for ours, _ in pairs)
    orphans = refuse(
        f"SELECT count(*) FROM {on} AS c WHERE {known}"  # noqa: S608
        f" AND NOT EXISTS (SELECT 1 FROM {to} AS p WHERE {matches})",
        f"{{found}} rows of {table.name} have no parent in {change.refers_to}",
    )
    lists = [
        "[" + ", ".join(string(name) for name in names) + "]"
        for names in (change.columns, change.refers_to_columns)
    ]
    options = {
        **({"source_schema": table.schema} if table.schema else {}),
        **({"referent_schema": change.refers_to_schema} if change.refers_to_schema else {}),
        **change.options,
    }
    created = [
        *(string(name) for name in (change.name, table.name, change.refers_to)),
        *lists,
        *(
            f"{name}={string(value) if isinstance(value, str) else value}"
            for name, value in options.items()
        ),
    ]
    dropped = [string(change.name), string(table.name), 'type_="foreignkey"']
    if table.schema:
        dropped.append(f"schema={string(table.schema)}")
    drop = call("op.drop_constraint", *dropped)
    words = "For new rows: no old row is read."
    if dialect == "mysql":
        own_index = () if change.indexed else (call("op.drop_index", *dropped[:2]),)
        added = Step(
            (
                'op.execute("SET SESSION foreign_key_checks = 0")  # no row is read',
                *changes(dialect, call("op.create_foreign_key", *created)),
                'op.execute("SET SESSION foreign_key_checks = 1")',
            ),
            changes(dialect, drop, *own_index),
        )
        return [
            Part("expand", title, careful, (added,), words),
            Part("contract", title, careful, (orphans,), "MySQL never reads the old rows itself."),
        ]
    both = f'lock("SHARE ROW EXCLUSIVE", {string(on)}, {string(to)})'
    all_of = f'lock("ACCESS EXCLUSIVE", {string(on)}, {string(to)})'
    added = Step(
        (
            both,
            call("op.create_foreign_key", *created, "postgresql_not_valid=True"),
        ),
        (all_of, drop),
    )
    valid = validate(table, change.name, dialect)
    return [
        Part("expand", title, careful, (added,), words),
        Part(
            "contract",
            title,
            careful,
            (orphans, valid),
            "The old rows are read, beside readers and writers.",
            "Nothing: a constraint that holds need not be doubted.",
        ),
    ]


def add_check(change: AddCheck, dialect: str) -> list[Part]:
    table = change.table
    on, own = quoted(table.name, table.schema, dialect), quote(change.name, dialect)
    if dialect != "postgresql":
        raise NotPossible(
            {
                "mysql": f"MySQL and MariaDB copy {table.name} to add a CHECK, while writers wait:"
                " use a tool that copies beside them (gh-ost, pt-online-schema-change).",
                "sqlite": f"SQLite: a CHECK is added by copying {table.name} in one transaction"
                " that has the file (op.batch_alter_table).",
            }[dialect]
        )
    title = f"Check {change.name} on {table.name}"
    careful = "code that writes no row which breaks it."
    added = Step(
        (execute(f"ALTER TABLE {on} ADD CONSTRAINT {own} CHECK ({change.condition}) NOT VALID"),),
        (execute(f"ALTER TABLE {on} DROP CONSTRAINT {own}"),),
    )
    broken = refuse(
        f"SELECT count(*) FROM {on} WHERE NOT ({change.condition})",  # noqa: S608
        f"{{found}} rows of {table.name} break {change.name}",
    )
    return [
        Part(
            "expand",
            title,
            careful,
            in_lock(table, dialect, (added,)),
            "For new rows and for every row that is updated: an old row that breaks it can not be\n"
            "changed any more.",
        ),
        Part(
            "contract",
            title,
            careful,
            (broken, validate(table, change.name, dialect)),
            "The old rows are read, beside readers and writers.",
            "Nothing: a constraint that holds need not be doubted.",
        ),
    ]


def rename_table(change: RenameTable, dialect: str) -> list[Part]:
    table, new = change.table, change.new
    if dialect == "sqlite":
        raise NotPossible(
            f"SQLite: nothing is written through a view, so code that says {new} and code that"
            f" says {table.name} cannot both write: rename it while the service is stopped."
        )
    was, becomes = (quoted(name, table.schema, dialect) for name in (table.name, new))
    postgresql = dialect == "postgresql"
    given = (execute(view_rights(was, becomes)),) if postgresql else ()
    # With the view also the table under it, in the order in which whoever uses it takes them.
    below = (f'lock("ACCESS EXCLUSIVE", {string(becomes)})',) if postgresql else ()
    view = Step(
        (
            *changes(dialect, execute(f"CREATE VIEW {becomes} AS SELECT * FROM {was}")),  # noqa: S608
            *given,
        ),
        (*below, *changes(dialect, execute(f"DROP VIEW {becomes}"))),
    )
    title = f"Rename {table.name} to {new}"
    under = Table(new, table.key, table.schema)
    names = [rename_index(under, *pair, dialect) for pair in change.indexes]
    if dialect == "mysql":
        aside = quoted(short(f"{new}_view"), table.schema, dialect)
        # All names change in one statement: nobody sees a moment without the table.
        swapped = Step(
            changes(
                dialect,
                execute(f"RENAME TABLE {becomes} TO {aside}, {was} TO {becomes}"),
                execute(f"DROP VIEW {aside}"),
            ),
            (*changes(dialect, execute(f"RENAME TABLE {becomes} TO {was}")), *view.up),
        )
        note = "For the moment between two statements the new name is not there."
    else:
        lines = (
            execute(f"DROP VIEW {becomes}"),
            execute(f"ALTER TABLE {was} RENAME TO {quote(new, dialect)}"),
        )
        back = (
            execute(f"ALTER TABLE {becomes} RENAME TO {quote(table.name, dialect)}"),
            *view.up,
        )
        swapped = Step((*below, *lines), (*below, *back))
        note = ""
    return [
        Part(
            "expand",
            title,
            NOTHING,
            (view,),
            f"A view under the new name: rows are read and written through it. Afterwards deploy\n"
            f"the code that uses {new}.",
        ),
        Part(
            "contract",
            title,
            f"the code that uses {new}, everywhere.",
            (swapped, *names),
            "The table takes the place of the view. Names of its constraints stay.",
            note,
            expected=frozenset({"rename-table", "drop-view"}),
        ),
    ]


def late(change: Late, dialect: str) -> list[Part]:
    """Operations as autogenerate writes them, in the lock of their tables."""
    locks = tuple(line for table in change.tables for line in lock(table, dialect))
    step = Step((*locks, *changes(dialect, *change.up)), changes(dialect, *change.down))
    return [Part("contract", change.title, change.deploy, (step,), expected=change.expected)]
