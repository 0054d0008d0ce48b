"""The building blocks: each does one thing without keeping readers or writers waiting."""

import re
from collections.abc import Iterable

from toolkit.migration.expand_contract.change import Column, Index, Table
from toolkit.migration.expand_contract.writing import (
    Step,
    call,
    changes,
    copied_rights,
    execute,
    in_pieces,
    indented,
    quote,
    quoted,
    short,
    sql_text,
    string,
)
from toolkit.report import quoting

# What is written into a file that copies rows.
PACE = (
    "BATCH = 1000",
    "PAUSE = 0.01  # seconds after each batch, for replicas and autovacuum",
    'logger = logging.getLogger("alembic.backfill")',
)


def lock(table: Table, dialect: str, mode: str = "ACCESS EXCLUSIVE") -> tuple[str, ...]:
    """The line that takes the table. MySQL and SQLite take theirs by themselves."""
    if dialect != "postgresql":
        return ()
    return (f"lock({string(mode)}, {string(quoted(table.name, table.schema, dialect))})",)


def in_lock(
    table: Table, dialect: str, steps: Iterable[Step], *, hold: bool = False
) -> tuple[Step, ...]:
    """The steps in a transaction that has the table's lock, in either direction.

    `hold`: MySQL has no such transaction; nobody may write between its statements either.
    """
    if dialect == "mysql" and hold:
        take = changes(
            dialect, execute(f"LOCK TABLES {quoted(table.name, table.schema, dialect)} WRITE")
        )
        release = (execute("UNLOCK TABLES"),)
        return (Step(take, release), *steps, Step(release, take))
    taken = lock(table, dialect)
    return (Step(up=taken), *steps, Step(down=taken))


def named(table: Table) -> str:
    """`schema=` for Alembic's operations."""
    return f", schema={string(table.schema)}" if table.schema else ""


def column_source(column: Column, *, nullable: bool, default: str | None) -> str:
    parts = [string(column.name), column.source]
    if default is not None:
        parts.append(f"server_default=sa.text({string(sql_text(default))})")
    if not nullable:
        parts.append("nullable=False")
    if column.comment is not None:
        parts.append(f"comment={string(column.comment)}")
    return call("sa.Column", *parts)


def add_column(
    table: Table, column: Column, dialect: str, *, nullable: bool = True, default: str | None = None
) -> Step:
    added = column_source(column, nullable=nullable, default=default)
    schema = [f"schema={string(table.schema)}"] if table.schema else []
    name = string(table.name)
    made = (execute(column.create_type),) if column.create_type else ()
    gone = (execute(column.drop_type),) if column.drop_type else ()
    return Step(
        (*made, *changes(dialect, call("op.add_column", name, added, *schema))),
        (*changes(dialect, call("op.drop_column", name, string(column.name), *schema)), *gone),
    )


def rights(table: Table, column: str, copy: str, dialect: str) -> tuple[str, ...]:
    """The line that gives a copy what is granted on the column; elsewhere it has no such rights."""
    if dialect != "postgresql":
        return ()
    on = quoted(table.name, table.schema, dialect)
    return (execute(copied_rights(on, column, copy)),)


def second_column(
    table: Table, old: Column, new: Column, follows: Step, dialect: str
) -> tuple[Step, ...]:
    """A column beside another, with its rights, and the trigger that keeps them equal."""
    given = Step(rights(table, old.name, new.name, dialect))
    return in_lock(table, dialect, (add_column(table, new, dialect), given, follows))


def comment_beside(column: Column, dialect: str) -> str | None:
    """What a second column has to be given: PostgreSQL's goes with the rights, as it is then."""
    return column.comment if dialect == "mysql" else None


def set_default(
    table: Table, column: Column, dialect: str, *, old: str | None, new: str | None
) -> Step:
    """A default for rows to come: no row is touched."""

    def line(value: str | None) -> tuple[str, ...]:
        on, own = quoted(table.name, table.schema, dialect), quote(column.name, dialect)
        rule = "DROP DEFAULT" if value is None else f"SET DEFAULT {default_sql(value, dialect)}"
        return changes(dialect, execute(f"ALTER TABLE {on} ALTER COLUMN {own} {rule}"))

    return Step(line(new), line(old))


def default_sql(value: str, dialect: str) -> str:
    """MySQL wants an expression in parentheses, and remembers them around a literal."""
    plain = re.fullmatch(r"'[^']*'|[-\d.]+|(?i:true|false|current_timestamp(\(\d?\))?)", value)
    return value if plain or dialect != "mysql" else f"({value})"


def not_null(table: Table, column: Column, dialect: str, default: str | None = None) -> Step:
    """PostgreSQL believes a valid CHECK, and reads no row under the lock. MySQL: in place."""
    on, own = quoted(table.name, table.schema, dialect), quote(column.name, dialect)
    names = f"{string(table.name)}, {string(column.name)}"
    if dialect == "sqlite":
        head = f"with op.batch_alter_table({string(table.name)}) as table:\n    table.alter_column("
        edit = f"{head}{string(column.name)}, existing_type={column.source}, nullable="
        return Step((f"{edit}False)",), (f"{edit}True)",))
    if dialect == "mysql":
        rest = f" DEFAULT {default_sql(default, dialect)}" if default is not None else ""
        if column.comment is not None:
            rest += f" COMMENT {quoting.literal(column.comment, dialect)}"
        change = f"ALTER TABLE {on} MODIFY {own} {column.sql}"
        safely = "ALGORITHM=INPLACE, LOCK=NONE"
        return Step(
            changes(dialect, execute(f"{change} NOT NULL{rest}, {safely}")),
            changes(dialect, execute(f"{change} NULL{rest}, {safely}")),
        )
    check = short(f"ck_{table.name}_{column.name}_not_null")
    quoted_check = quote(check, dialect)
    taken = lock(table, dialect)
    return Step(
        (
            *taken,
            execute(
                f"ALTER TABLE {on} ADD CONSTRAINT {quoted_check}"
                f" CHECK ({own} IS NOT NULL) NOT VALID"
            ),
            *validate(table, check, dialect).up,
            *taken,
            f"op.alter_column({names}, nullable=False{named(table)})",
            execute(f"ALTER TABLE {on} DROP CONSTRAINT {quoted_check}"),
        ),
        (*taken, f"op.alter_column({names}, nullable=True{named(table)})"),
    )


def validate(table: Table, constraint: str, dialect: str) -> Step:
    """PostgreSQL: the table is read beside readers and writers. Committed by itself."""
    on = quoted(table.name, table.schema, dialect)
    statement = f"ALTER TABLE {on} VALIDATE CONSTRAINT {quote(constraint, dialect)}"
    return Step(
        (
            autocommit(
                "op.execute(\"SET lock_timeout = '500ms'\")",
                call("patiently", f"lambda: {execute(statement)}"),
                "op.execute(\"SET lock_timeout = '4s'\")",
            ),
        )
    )


def backfill(table: Table, values: dict[str, str], missing: str, dialect: str) -> Step:
    """Fill old rows along the primary key. The progress is in the data."""
    columns = list(dict.fromkeys([*table.key, *values]))
    listed = [f"sa.column({string(name)})" for name in columns]
    if table.schema:
        listed.append(f"schema={string(table.schema)}")
    keys = "".join(f"rows.c[{string(name)}], " for name in table.key)
    given = ", ".join(f"{string(n)}: sa.text({string(sql_text(sql))})" for n, sql in values.items())
    sqlite = dialect == "sqlite"
    table_of = call("sa.table", string(table.name), *listed)
    values_of = f"{{{given}}}"
    return Step(
        ("fill()",),
        constants=(
            *(() if sqlite else PACE),
            f"rows = {table_of}",
            *(() if sqlite else (f"KEY = ({keys.strip()})",)),
            f"MISSING = {call('sa.text', in_pieces(sql_text(missing)))}",
            f"FILL = sa.update(rows).where(MISSING).values({values_of})",
        ),
        helpers=frozenset({"fill"}),
    )


def create_index(table: Table, index: Index, dialect: str) -> Step:
    """Built while the service goes on writing; the rest of a failed build is dropped first."""
    unique = ("unique=True",) if index.unique else ()
    keys = index.keys or tuple(string(column) for column in index.columns)
    listed = f"[{', '.join(keys)}]"
    on = quoted(table.name, table.schema, dialect)
    if dialect == "mysql":
        columns = ", ".join(quote(column, dialect) for column in index.columns)
        kind = "UNIQUE INDEX" if index.unique else "INDEX"
        own = quote(index.name, dialect)
        return Step(
            changes(
                dialect,
                execute(
                    f"ALTER TABLE {on} ADD {kind} {own} ({columns}), ALGORITHM=INPLACE, LOCK=NONE"
                ),
            ),
            changes(
                dialect, execute(f"ALTER TABLE {on} DROP INDEX {own}, ALGORITHM=INPLACE, LOCK=NONE")
            ),
        )
    names = (string(index.name), string(table.name))
    created = (*names, listed, *unique, *index.options)
    if dialect == "sqlite":
        return Step((call("op.create_index", *created),), (call("op.drop_index", *names),))
    full = quoted(index.name, table.schema, dialect)
    invalid = in_pieces(
        f"SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('{full}') AND NOT indisvalid"  # noqa: S608
    )
    where = [f"schema={string(table.schema)}"] if table.schema else []
    where.append("postgresql_concurrently=True")
    return Step(
        (
            autocommit(
                "# It waits for every older transaction, and nobody waits for it.",
                'op.execute("SET lock_timeout = 0")',
                f"invalid = {call('sa.text', invalid)}",
                "if op.get_context().as_sql or op.get_bind().scalar(invalid):",
                indented(execute(f"DROP INDEX CONCURRENTLY IF EXISTS {full}")),
                call("op.create_index", *created, *where, "if_not_exists=True"),
                "op.execute(\"SET lock_timeout = '4s'\")",
            ),
        ),
        (
            autocommit(
                'op.execute("SET lock_timeout = 0")',
                call("op.drop_index", *names, *where, "if_exists=True"),
                "op.execute(\"SET lock_timeout = '4s'\")",
            ),
        ),
    )


def rename_index(table: Table, old: str, new: str, dialect: str) -> Step:
    """In a moment; the constraint that owns it goes by the same name."""

    def line(one: str, other: str) -> tuple[str, ...]:
        if dialect == "mysql":
            on = quoted(table.name, table.schema, dialect)
            names = f"{quote(one, dialect)} TO {quote(other, dialect)}"
            return changes(dialect, execute(f"ALTER TABLE {on} RENAME INDEX {names}"))
        index = quoted(one, table.schema, dialect)
        return (execute(f"ALTER INDEX {index} RENAME TO {quote(other, dialect)}"),)

    return Step(line(old, new), line(new, old))


def autocommit(*lines: str) -> str:
    inside = "\n".join(indented(line) for line in lines)
    return f"with op.get_context().autocommit_block():\n{inside}"


def unique_by_index(table: Table, index: Index, dialect: str) -> Step:
    """PostgreSQL: a unique index that is there becomes a constraint, for a moment's lock.

    Its downgrade leaves no index: a constraint takes it along. `create_index` before it drops
    what there is.
    """
    on = quoted(table.name, table.schema, dialect)
    own = quote(index.name, dialect)
    return Step(
        (
            *lock(table, dialect),
            execute(f"ALTER TABLE {on} ADD CONSTRAINT {own} UNIQUE USING INDEX {own}"),
        ),
        (*lock(table, dialect), execute(f"ALTER TABLE {on} DROP CONSTRAINT {own}")),
    )


def refuse(query: str, message: str) -> Step:
    """Ask first, and say in words what is in the way."""
    asked = call("sa.text", in_pieces(sql_text(query)))
    return Step(
        (
            "if not op.get_context().as_sql:\n"
            + indented(f"found = op.get_bind().scalar({asked})")
            + f'\n    if found:\n        raise CommandError(f"{message}")',
        )
    )
