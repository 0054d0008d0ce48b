"""A name for each constraint that autogenerate would add without one (#12).

Without, the revision's way back has `drop_constraint(None, ...)`, which no database takes: one
such foreign key made every later revision of the project fail its proof. Loaded by path from
alembic_worker.py, in the project's process.
"""

from collections.abc import Iterator
from typing import Any

from alembic.operations import ops
from sqlalchemy import Column, MetaData, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import AddConstraint
from sqlalchemy.types import NullType

LONGEST = {"postgresql": 63, "mysql": 64, "mariadb": 64}
ENDINGS: tuple[tuple[type[Any], str, str], ...] = (
    (ops.CreateForeignKeyOp, "_fkey", "fk"),
    (ops.CreateUniqueConstraintOp, "_key", "uq"),
)


def name_constraints(directives: list[Any], context: Any) -> None:  # noqa: ANN401
    """As PostgreSQL names them itself; what takes an old one's place keeps its name."""
    dialect = context.dialect.name
    for directive in directives:
        for upgrade, downgrade in zip(
            directive.upgrade_ops_list, directive.downgrade_ops_list, strict=True
        ):
            unnamed = list(unnamed_in(upgrade))
            for table, operation, dropped in unnamed:
                operation.constraint_name = name_for(table, operation, dropped, dialect)
            if unnamed:
                downgrade.ops[:] = []
                upgrade.reverse_into(downgrade)
            for modified in (*upgrade.ops, *downgrade.ops):
                if isinstance(modified, ops.ModifyTableOps):
                    modified.ops[:] = map(with_include, modified.ops)


def with_include(operation: Any) -> Any:  # noqa: ANN401
    """UNIQUE ... INCLUDE as SQL: of op.create_unique_constraint it is a KeyError (#13)."""
    included = isinstance(operation, ops.CreateUniqueConstraintOp) and operation.kw.get(
        "postgresql_include"
    )
    if not included:
        return operation
    columns = dict.fromkeys((*columns_of(operation), *map(str, included)))
    made: list[Any] = [Column(name, NullType()) for name in columns]
    table = Table(operation.table_name, MetaData(), *made, schema=operation.schema)
    # NULLS DISTINCT is what there is without, and before version 15 no word.
    given = {name: value for name, value in operation.kw.items() if value is not False}
    constraint = UniqueConstraint(*columns_of(operation), name=operation.constraint_name, **given)
    table.append_constraint(constraint)
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return ops.ExecuteSQLOp(str(AddConstraint(constraint).compile(dialect=dialect)).strip())


def unnamed_in(container: Any) -> Iterator[tuple[str, Any, dict[Any, str]]]:  # noqa: ANN401
    """Table, operation, and the names of what is dropped beside it by kind and columns."""
    for modified in container.ops:
        if not isinstance(modified, ops.ModifyTableOps):
            continue
        dropped = {
            key_of(operation.reverse()): str(operation.constraint_name)
            for operation in modified.ops
            if isinstance(operation, ops.DropConstraintOp) and operation.constraint_name
        }
        for operation in modified.ops:
            if ending_of(operation) and getattr(operation, "constraint_name", None) is None:
                yield modified.table_name, operation, dropped


def ending_of(operation: object) -> tuple[str, str] | None:
    found = (one[1:] for one in ENDINGS if isinstance(operation, one[0]))
    return next(found, None)


def key_of(operation: Any) -> tuple[str, tuple[str, ...]]:  # noqa: ANN401
    return type(operation).__name__, columns_of(operation)


def columns_of(operation: Any) -> tuple[str, ...]:  # noqa: ANN401
    names: Any = getattr(operation, "local_cols", None) or getattr(operation, "columns", ())
    return tuple(str(getattr(name, "name", name)) for name in names)


def name_for(table: str, operation: Any, dropped: dict[Any, str], dialect: str) -> str:  # noqa: ANN401
    if known := dropped.get(key_of(operation)):
        return known
    ending, beginning = ending_of(operation) or ("", "")
    middle = "_".join((table, *columns_of(operation)))
    longest = LONGEST.get(dialect, 63)
    if dialect == "postgresql":
        return middle[: longest - len(ending)] + ending
    return f"{beginning}_{middle}"[:longest]
