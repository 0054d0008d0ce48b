"""Generated columns after those that they are made from, in what Alembic is about to write.

Loaded by path into the process that runs the project's code, like the guard. Alembic adds and
drops columns in the models' order: `active_marker()` stands before `deleted_at` there (#13).
"""

from collections.abc import Sequence
from typing import Any

from alembic.operations import ops


def generated_last(directives: Sequence[Any]) -> None:
    """Added last, dropped first, in both directions."""
    for directive in directives:
        for container in (*directive.upgrade_ops_list, *directive.downgrade_ops_list):
            for one in container.ops:
                if isinstance(one, ops.ModifyTableOps):
                    one.ops[:] = reordered(list(one.ops))


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
