"""What Alembic is about to write in an order, and of a size, that every database takes.

Loaded by path into the process that runs the project's code, like the guard. Alembic adds and
drops columns in the models' order: `active_marker()` stands before `deleted_at` there; and it drops
the indexes of a table that goes, of which MySQL gives up none that a foreign key needs (#13).
"""

from collections.abc import Sequence
from typing import Any

from alembic.operations import ops


def arrange(directives: Sequence[Any]) -> None:
    """Generated columns are added last, dropped first, in both directions."""
    for directive in directives:
        for container in (*directive.upgrade_ops_list, *directive.downgrade_ops_list):
            container.ops[:] = without_their_indexes(container.ops)
            for one in container.ops:
                if isinstance(one, ops.ModifyTableOps):
                    one.ops[:] = reordered(list(one.ops))


def without_their_indexes(operations: list[Any]) -> list[Any]:
    """A table takes its indexes along."""
    dropped = [one for one in operations if isinstance(one, ops.DropTableOp)]
    gone = {(one.schema, one.table_name) for one in dropped}
    for one in (one for one in operations if isinstance(one, ops.ModifyTableOps)):
        if (one.schema, one.table_name) in gone:
            one.ops[:] = [part for part in one.ops if not isinstance(part, ops.DropIndexOp)]
    return [one for one in operations if not isinstance(one, ops.ModifyTableOps) or one.ops]


def reordered(operations: list[Any]) -> list[Any]:
    """Columns change places among themselves only."""
    for kind, generated_at_the_end in ((ops.AddColumnOp, True), (ops.DropColumnOp, False)):
        places = [at for at, one in enumerate(operations) if isinstance(one, kind)]
        found = [operations[at] for at in places]
        found.sort(key=lambda one: is_generated(one) == generated_at_the_end)
        for at, one in zip(places, found, strict=True):
            operations[at] = one
    return operations


def is_generated(one: ops.AddColumnOp | ops.DropColumnOp) -> bool:
    column = one.column if isinstance(one, ops.AddColumnOp) else one.to_column()
    return column.computed is not None
