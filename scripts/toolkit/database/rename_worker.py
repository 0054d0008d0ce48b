"""Renames in what Alembic is about to write: a drop and an add become one operation.

Loaded by path into the process that runs the project's code, like the guard. Alembic's
own operations can be told a new name, but its renderer leaves it out.
"""

# ruff: noqa: ANN401  (Alembic's operations have no common type)

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type
from alembic.operations import ops


@dataclass
class RenameColumnOp(ops.MigrateOperation):
    """A column under a new name. `column` is what it is called now, with its type."""

    table_name: str
    schema: str | None
    column_name: str
    new_name: str
    column: Any
    altered: bool = False
    """Is it another column under the new name, so that more follows?"""


@dataclass
class RenamedTableOp(ops.MigrateOperation):
    """A table under a new name."""

    table_name: str
    schema: str | None
    new_name: str


@renderers.dispatch_for(RenameColumnOp)
def render_column(context: AutogenContext, op: RenameColumnOp) -> str:
    arguments = [repr(op.column_name), f"new_column_name={op.new_name!r}"]
    # MySQL's CHANGE has to repeat them; a batch on SQLite keeps them by itself.
    arguments.append(f"existing_type={_repr_type(op.column.type, context)}")
    arguments.append(f"existing_nullable={op.column.nullable!r}")
    if context._has_batch:
        return f"batch_op.alter_column({', '.join(arguments)})"
    if op.schema:
        arguments.append(f"schema={op.schema!r}")
    prefix = context.opts["alembic_module_prefix"] or ""
    return f"{prefix}alter_column({', '.join([repr(op.table_name), *arguments])})"


@renderers.dispatch_for(RenamedTableOp)
def render_table(context: AutogenContext, op: RenamedTableOp) -> str:
    schema = f", schema={op.schema!r}" if op.schema else ""
    prefix = context.opts["alembic_module_prefix"] or ""
    return f"{prefix}rename_table({op.table_name!r}, {op.new_name!r}{schema})"


Renames = Sequence[Mapping[str, Any]]
"""`{"schema", "table", "column" (None: the table itself), "new"}`; table and column as they
are before the migration."""


def apply_renames(
    renames: Renames, directives: Sequence[Any], context: Any
) -> list[Mapping[str, Any]]:
    """Rewrite both directions of each revision; the renames that found nothing to rename.

    `context` is Alembic's, which says whether the column under its new name is another one.
    """
    unused = list(renames)
    for directive in directives:
        for upgrade, downgrade in zip(
            directive.upgrade_ops_list, directive.downgrade_ops_list, strict=True
        ):
            for rename in renames:
                back = {**rename, "column": rename["new"], "new": rename["column"]}
                if rename["column"] is None:
                    turned = {**rename, "table": rename["new"], "new": rename["table"]}
                    done = rename_table(upgrade.ops, rename) and rename_table(downgrade.ops, turned)
                else:
                    done = rename_column(upgrade.ops, rename, context)
                    done = done and rename_column(downgrade.ops, back, context)
                if done:
                    unused.remove(rename)
    return unused


def rename_column(operations: list[Any], rename: Mapping[str, Any], context: Any) -> bool:
    """In the place of the two: first of all, since what follows uses the new name. What else is
    different follows it."""
    for group in (one for one in operations if isinstance(one, ops.ModifyTableOps)):
        if (group.table_name, group.schema) != (rename["table"], rename["schema"]):
            continue
        dropped = find(group.ops, ops.DropColumnOp, rename["column"])
        added = find(group.ops, ops.AddColumnOp, rename["new"])
        if dropped is None or added is None:
            continue
        old = dropped.to_column()
        kept = [one for one in group.ops if one is not dropped and one is not added]
        more = list(altered(group, old, added.column, context))
        named = (group.table_name, group.schema, old.name, rename["new"])
        group.ops[:] = [
            RenameColumnOp(*named, old, bool(more)),
            *more,
            *kept,
        ]
        return True
    return False


def altered(
    group: ops.ModifyTableOps, old: Any, new: Any, context: Any
) -> Iterator[ops.AlterColumnOp]:
    """Another type, or NULL where it was not, as Alembic itself compares them."""
    retyped = context.impl.compare_type(old, new)
    if retyped or old.nullable != new.nullable:
        yield ops.AlterColumnOp(
            group.table_name,
            new.name,
            schema=group.schema,
            existing_type=old.type,
            existing_nullable=old.nullable,
            modify_type=new.type if retyped else None,
            modify_nullable=new.nullable if old.nullable != new.nullable else None,
        )


def find(operations: Sequence[Any], kind: type[Any], column: str) -> Any:
    for one in operations:
        if isinstance(one, kind):
            name = one.column_name if kind is ops.DropColumnOp else one.column.name
            if name == column:
                return one
    return None


def rename_table(operations: list[Any], rename: Mapping[str, Any]) -> bool:
    """What still is about the old name goes before it, the rest behind it."""
    schema, old, new = rename["schema"], rename["table"], rename["new"]

    def about(one: Any, name: str) -> bool:
        return (getattr(one, "table_name", None), getattr(one, "schema", None)) == (name, schema)

    created = [one for one in operations if isinstance(one, ops.CreateTableOp) and about(one, new)]
    dropped = [one for one in operations if isinstance(one, ops.DropTableOp) and about(one, old)]
    if not created or not dropped:
        return False
    gone = {id(created[0]), id(dropped[0])}
    rest = [one for one in operations if id(one) not in gone]
    before = [one for one in rest if about(one, old)]
    behind = [one for one in rest if not about(one, old)]
    operations[:] = [*before, RenamedTableOp(old, schema, new), *behind]
    return True


def candidates(operations: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Pairs of a drop and an add that could be one thing under a new name."""
    for group in (one for one in operations if isinstance(one, ops.ModifyTableOps)):
        added = [one.column for one in group.ops if isinstance(one, ops.AddColumnOp)]
        for drop in (one for one in group.ops if isinstance(one, ops.DropColumnOp)):
            old = drop.to_column()
            for new in added:
                if alike(old, new):
                    yield {
                        "schema": group.schema,
                        "table": group.table_name,
                        "column": old.name,
                        "new": new.name,
                    }
    created = [one for one in operations if isinstance(one, ops.CreateTableOp)]
    for one in (one for one in operations if isinstance(one, ops.DropTableOp)):
        old_columns = {column.name for column in one.to_table().columns}
        for other in (other for other in created if other.schema == one.schema):
            new_columns = {column.name for column in other.to_table().columns}
            shared = len(old_columns & new_columns) / max(len(old_columns | new_columns), 1)
            if shared >= SAME_TABLE:
                yield {
                    "schema": one.schema,
                    "table": one.table_name,
                    "column": None,
                    "new": other.table_name,
                }


SAME_TABLE = 0.6
"""Share of columns with the same name from which on two tables look like one."""


NEAR_NAME = 0.6
"""Likeness of two names (difflib) from which on one looks like the other, changed."""


def alike(old: Any, new: Any) -> bool:
    """Of one kind of type, and the same otherwise or with a name that is near."""
    if old.type._type_affinity is not new.type._type_affinity:
        return False
    details = ("length", "precision", "scale", "timezone")
    same = old.nullable == new.nullable and all(
        getattr(old.type, name, None) == getattr(new.type, name, None) for name in details
    )
    near = difflib.SequenceMatcher(None, old.name, new.name).ratio() >= NEAR_NAME
    return same or near
