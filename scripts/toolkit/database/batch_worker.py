"""A batch of SQLite's where it is needed, and nowhere else.

Loaded by path into the process that runs the project's code, like the guard. A batch copies the
table, and loses what reflection does not see; without one SQLite drops no column that a key, an
index, a CHECK or a view is about, and adds none whose default is an expression (#13).
"""

# ruff: noqa: ANN401  (Alembic's operations have no common type)

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from alembic.autogenerate import render, renderers
from alembic.operations import ops
from sqlalchemy import Computed
from sqlalchemy.sql import ClauseElement

ALONE = ops.DropColumnOp | ops.AddColumnOp | ops.CreateIndexOp | ops.DropIndexOp


def install(context: Any) -> None:
    """Only in projects whose env.py asks for batches at all."""
    if context.dialect.name == "sqlite" and context.opts.get("render_as_batch"):
        # Alembic writes when the connection is closed.
        found = context.connection.exec_driver_sql("SELECT type, tbl_name, sql FROM sqlite_master")
        there = [tuple(row) for row in found if row[2] and row[0] != "index"]
        batches = partial(in_batch, there=there)
        # What dispatch_for does with `replace`, which Alembic has since 1.17.2.
        renderers._registry[ops.ModifyTableOps, "default"] = batches


def in_batch(autogen: Any, one: ops.ModifyTableOps, *, there: Sequence[Any]) -> list[str]:
    """Columns that SQLite drops by itself come after what needs a batch."""
    drops = [part for part in one.ops if isinstance(part, ops.DropColumnOp)]
    rest = [part for part in one.ops if part not in drops]
    if not all(isinstance(part, ALONE) for part in rest) or (
        drops and not drops_itself(one, drops, there)
    ):
        return written(autogen, one, batch=True)
    needed = any(isinstance(part, ops.AddColumnOp) and is_expression(part) for part in rest)
    lines = written(autogen, ops.ModifyTableOps(one.table_name, rest), batch=needed)
    return lines + written(autogen, ops.ModifyTableOps(one.table_name, drops), batch=False)


def written(autogen: Any, one: ops.ModifyTableOps, *, batch: bool) -> list[str]:
    autogen.opts["render_as_batch"] = batch
    return render._render_modify_table(autogen, one)


def is_expression(one: ops.AddColumnOp) -> bool:
    default = one.column.server_default
    if isinstance(default, Computed):
        return bool(default.persisted)
    text = getattr(default, "arg", None)
    if not isinstance(text, ClauseElement):
        return False
    return not re.fullmatch(r"(?i)-?[\d.]+|'(?:[^']|'')*'|true|false|null", str(text))


def drops_itself(one: ops.ModifyTableOps, drops: list[Any], there: Sequence[Any]) -> bool:
    text = " ".join(sql for kind, table, sql in there if kind == "view" or table == one.table_name)
    for column in (part.to_column() for part in drops):
        bound = column.primary_key or column.unique or column.foreign_keys or column.constraints
        named = rf"\b{re.escape(column.name)}\b"  # in a constraint, a view, another column
        more = rf"{named}.*{named}|{named}[^,]*(?:UNIQUE|REFERENCES|KEY|CHECK)"
        if bound or getattr(column.type, "create_constraint", False):
            return False
        if re.search(more, text, re.DOTALL):
            return False
    return True
