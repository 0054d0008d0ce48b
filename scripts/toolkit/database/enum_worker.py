"""PostgreSQL's enum types, of which autogenerate sees nothing: created, extended, renamed, dropped.
Domains come and go in the same way; Alembic makes one with each table that has it.

Loaded by path into the process that runs the project's code, like the guard. This is the one
place that writes them (#13): env.py leaves them to Alembic, so that whoever uses Alembic alone
gets what Alembic does. A value that the models lost is left to the comparison of schemas.
"""

# ruff: noqa: ANN401  (Alembic's operations have no common type)

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import unwrap
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type
from alembic.operations import ops
from sqlalchemy import ARRAY, Column, Enum, inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.named_types import CreateDomainType
from sqlalchemy.types import TypeDecorator

Rename = Mapping[str, Any]
"""`{"schema", "table": type, "column": old value, "new": new value}`"""
PREPARER = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]


class PostgresqlOp(ops.ExecuteSQLOp):
    """A statement for PostgreSQL, in a revision that may run on other databases too."""

    def __init__(self, statement: str, words: str, *, committed: bool = False) -> None:
        super().__init__(statement)
        self.words = words
        self.committed = committed
        """A new value can't be used, as by a default, in the transaction that has added it."""


@renderers.dispatch_for(PostgresqlOp)
def render(_autogen: AutogenContext, operation: PostgresqlOp) -> list[str]:
    statement = str(operation.sqltext).replace(":", r"\:")
    blocks = ['if op.get_context().dialect.name == "postgresql":']
    blocks += ["with op.get_context().autocommit_block():"] if operation.committed else []
    # Alembic indents; an empty line ends a block.
    return [*blocks, f"op.execute({statement!r})", *("" for _ in blocks)]


def is_ours(context: Any) -> bool:
    """False where the project writes enum types itself."""
    known = getattr(unwrap(context.opts.get("render_item") or is_ours), "__globals__", {})
    # The env.py of this skill's first versions, and a library for it.
    return "write_enum_types" not in known and "alembic_postgresql_enum" not in sys.modules


def native(type_: Any) -> Any:
    """The enum that is a type of its own on PostgreSQL, also in a decorator, array or variant."""
    while True:
        variant = getattr(type_, "_variant_mapping", {}).get("postgresql")
        if variant is not None:
            type_ = variant
        elif isinstance(type_, TypeDecorator):
            type_ = type_.impl_instance
        elif isinstance(type_, ARRAY):
            type_ = type_.item_type
        else:
            if isinstance(type_, postgresql.DOMAIN):
                return type_
            return type_ if isinstance(type_, Enum) and type_.native_enum and type_.name else None


def name_of(enum: Any) -> str:
    return ".".join(PREPARER.quote(part) for part in (enum.schema, enum.name) if part)


def literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def create(enum: Any, domains: Mapping[str, str]) -> PostgresqlOp:
    if isinstance(enum, postgresql.DOMAIN):
        made: Any = CreateDomainType(enum)
        statement = str(made.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
        if definition := domains.get(name_of(enum)):
            statement = f"CREATE DOMAIN {name_of(enum)} AS {definition}"
        words = f"create domain {name_of(enum)}"
    else:
        values = ", ".join(literal(value) for value in enum.enums)
        statement = f"CREATE TYPE {name_of(enum)} AS ENUM ({values})"
        words = f"create enum {name_of(enum)}"
    return PostgresqlOp(unless(enum, "duplicate_object", statement.strip()), words)


def drop(enum: Any) -> PostgresqlOp:
    kind = "DOMAIN" if isinstance(enum, postgresql.DOMAIN) else "TYPE"
    statement = unless(enum, "dependent_objects_still_exist", f"DROP {kind} {name_of(enum)}")
    word = "domain" if kind == "DOMAIN" else "enum"
    return PostgresqlOp(statement, f"drop {word} {name_of(enum)}")


DOMAINS = """
SELECT n.nspname AS schema, t.typname AS name, concat_ws(' ',
    format_type(t.typbasetype, t.typtypmod),
    (SELECT format('COLLATE %I.%I', s.nspname, c.collname) FROM pg_collation c
     JOIN pg_namespace s ON s.oid = c.collnamespace
     WHERE c.oid = t.typcollation AND c.oid <> b.typcollation),
    'DEFAULT ' || t.typdefault, CASE WHEN t.typnotnull THEN 'NOT NULL' END,
    (SELECT string_agg(format('CONSTRAINT %I %s', conname, pg_get_constraintdef(o.oid)), ' '
                       ORDER BY conname)
     FROM pg_constraint o WHERE contypid = t.oid AND contype = 'c')) AS definition
FROM pg_type t JOIN pg_type b ON b.oid = t.typbasetype JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype = 'd' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""


def domains_in(context: Any) -> dict[str, str]:
    """The domains that the database has, and what PostgreSQL says that each is: SQLAlchemy reads
    neither a length nor a second condition, and a COLLATE twice (#13).
    """
    if context.dialect.name != "postgresql":
        return {}
    found: dict[str, str] = {}
    for schema, name, definition in context.connection.execute(text(DOMAINS)):
        quoted = PREPARER.quote(name)
        found[f"{PREPARER.quote(schema)}.{quoted}"] = definition
        if schema == context.dialect.default_schema_name:
            found[quoted] = definition
    return found


def unless(enum: Any, reason: str, statement: str) -> str:
    """With create_type=False somebody else may have made the type, and use it (#13)."""
    if getattr(enum, "create_type", True):
        return statement
    return f"DO $$ BEGIN {statement}; EXCEPTION WHEN {reason} THEN NULL; END $$"


def write(
    context: Any, metadatas: Sequence[Any], directives: Sequence[Any], renames: Sequence[Rename]
) -> tuple[list[Rename], list[dict[str, Any]]]:
    """Put the types into both directions; the renames that were carried out, and those that
    may be meant.
    """
    if not is_ours(context):
        return [], []
    context.opts["render_item"] = without_creation(context.opts.get("render_item"))
    done: list[Rename] = []
    candidates: list[dict[str, Any]] = []
    columns = list(columns_of(metadatas))
    domains = domains_in(context)
    present = labels_in(context) | {name: [] for name in domains}
    for directive in directives:
        pairs = zip(directive.upgrade_ops_list, directive.downgrade_ops_list, strict=True)
        for upgrade, downgrade in pairs:
            come_and_go(upgrade, downgrade, columns, present, domains)
            changed, maybe = change_values(upgrade, downgrade, columns, present, renames)
            done += changed
            candidates += maybe
    return done, candidates


def without_creation(project: Callable[..., Any] | None) -> Callable[..., Any]:
    """Types are rendered so that a table which uses one does not create it, too."""

    def render_item(kind: str, item: Any, autogen: AutogenContext) -> Any:
        if kind == "type" and isinstance(item, postgresql.DOMAIN):
            autogen.imports.add("from sqlalchemy.dialects import postgresql")
            schema = f", schema={item.schema!r}" if item.schema else ""
            base = _repr_type(item.data_type, autogen)
            return f"postgresql.DOMAIN({item.name!r}, {base}{schema}, create_type=False)"
        plain = isinstance(item, Enum) and "postgresql" not in item._variant_mapping
        if kind == "type" and plain and (enum := native(item)) is not None:
            autogen.imports.add("from sqlalchemy.dialects import postgresql")
            name = f"name={enum.name!r}" + (f", schema={enum.schema!r}" if enum.schema else "")
            if isinstance(item, postgresql.ENUM):
                values = "".join(f"{value!r}, " for value in enum.enums)
                return f"postgresql.ENUM({values}{name}, create_type=False)"
            variant = f"postgresql.ENUM({name}, create_type=False)"
            return f"sa.{item!r}.with_variant({variant}, 'postgresql')"
        return project(kind, item, autogen) if project else False

    return render_item


def columns_of(metadatas: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """`schema.table.column` and its enum."""
    for table in (table for metadata in metadatas for table in metadata.tables.values()):
        for column in table.columns:
            if (enum := native(column.type)) is not None:
                yield f"{table.schema}.{table.name}.{column.name}", enum


def labels_in(context: Any) -> dict[str, list[str]]:
    """The types that the database has, and their values."""
    if context.dialect.name != "postgresql":
        return {}
    found = inspect(context.connection).get_enums(schema="*")
    default = context.dialect.default_schema_name
    labels: dict[str, list[str]] = {}
    for one in found:
        quoted = PREPARER.quote(one["name"])
        labels[f"{PREPARER.quote(one['schema'])}.{quoted}"] = one["labels"]
        if one["schema"] == default:
            labels[quoted] = one["labels"]
    return labels


def given(operations: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Each column that gets an enum type: `schema.table.column`, and the enum."""
    for operation in operations:
        if isinstance(operation, ops.ModifyTableOps):
            yield from given(operation.ops)
            continue
        types: dict[str, Any] = {}
        if isinstance(operation, ops.CreateTableOp):
            types = {item.name: item.type for item in operation.columns if isinstance(item, Column)}
        elif isinstance(operation, ops.AddColumnOp):
            types = {operation.column.name: operation.column.type}
        elif isinstance(operation, ops.AlterColumnOp):
            types = {operation.column_name: operation.modify_type}
        for column, type_ in types.items():
            if (enum := native(type_)) is not None:
                yield f"{operation.schema}.{operation.table_name}.{column}", enum


def come_and_go(
    upgrade: Any,
    downgrade: Any,
    columns: Sequence[tuple[str, Any]],
    present: Mapping[str, Any],
    domains: Mapping[str, str],
) -> None:
    """Create the types that are new, and drop those that no column has any more.

    A type is new if the database has it not; where there is no PostgreSQL to ask, if all its
    columns are new.
    """
    used: dict[str, set[str]] = {}
    for place, enum in columns:
        used.setdefault(name_of(enum), set()).add(place)
    come = dict(given(upgrade.ops))
    restored = {name_of(enum): enum for _, enum in given(downgrade.ops)}
    new = {
        name: enum
        for enum in come.values()
        if (name := name_of(enum)) not in restored
        and (name not in present if present else used.get(name, set()) <= come.keys())
    }
    gone = [enum for name, enum in restored.items() if name not in used]
    upgrade.ops[:0] = [create(enum, {}) for enum in new.values()]
    upgrade.ops += [drop(enum) for enum in gone]
    downgrade.ops[:0] = [create(enum, domains) for enum in gone]
    downgrade.ops += [drop(enum) for enum in new.values()]


def change_values(
    upgrade: Any,
    downgrade: Any,
    columns: Sequence[tuple[str, Any]],
    present: Mapping[str, list[str]],
    renames: Sequence[Rename],
) -> tuple[list[Rename], list[dict[str, Any]]]:
    """Rename and add values of types that are there."""
    done: list[Rename] = []
    candidates: list[dict[str, Any]] = []
    enums = {name_of(enum): enum for _, enum in columns if isinstance(enum, Enum)}
    for name, enum in enums.items():
        labels = list(present.get(name, enum.enums))
        meant = {
            one["column"]: one
            for one in renames
            if (one["schema"], one["table"]) == (enum.schema, enum.name)
            and one["column"] in labels
            and one["new"] in enum.enums
            and one["new"] not in labels
        }
        for old, rename in meant.items():
            labels[labels.index(old)] = rename["new"]
            for container, before, after in (
                (upgrade, old, rename["new"]),
                (downgrade, rename["new"], old),
            ):
                pair = f"{literal(before)} TO {literal(after)}"
                statement = f"ALTER TYPE {name} RENAME VALUE {pair}"
                words = f"rename value of enum {name}: {before} to {after}"
                container.ops[:0] = [PostgresqlOp(statement, words)]
        done += meant.values()
        added = [value for value in enum.enums if value not in labels]
        gone = [value for value in labels if value not in enum.enums]
        if len(added) == len(gone):  # or the values were rearranged
            candidates += [
                {"schema": enum.schema, "table": enum.name, "column": old, "new": new}
                for old, new in zip(gone, added, strict=True)
            ]
        upgrade.ops[:0] = [add(name, enum.enums, value, labels) for value in added]
    return done, candidates


def add(name: str, values: Sequence[str], value: str, labels: list[str]) -> PostgresqlOp:
    """Where the models have it, of which `ORDER BY` makes use."""
    place = list(values).index(value)
    statement = f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS {literal(value)}"
    following = next((one for one in values[place:] if one in labels), None)
    if following is not None:
        statement += f" BEFORE {literal(following)}"
    return PostgresqlOp(statement, f"add value to enum {name}: {value}", committed=True)
