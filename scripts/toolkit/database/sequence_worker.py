"""Sequences that models have and autogenerate forgets: without one no row comes into its table.

Loaded by path into the process that runs the project's code, like the guard. Alembic writes the
column and not `sa.Sequence(...)` in it, so the first INSERT asks for what is not there (#13). One
that no model has any more is left: others may count with it.
"""

# ruff: noqa: ANN401  (Alembic's operations have no common type)

from collections.abc import Iterator, Sequence
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import inspect
from sqlalchemy.schema import CreateSequence, DropSequence

BOUNDS = ("minvalue", "maxvalue", "nominvalue", "nomaxvalue")
OPTIONS = ("start", "increment", *BOUNDS, "cycle", "cache")


class SequenceOp(ops.ExecuteSQLOp):
    """CREATE SEQUENCE or DROP SEQUENCE, where the database has such a thing."""

    def __init__(self, statement: CreateSequence | DropSequence, words: str) -> None:
        super().__init__(statement)
        self.words = words


@renderers.dispatch_for(SequenceOp)
def render(autogen: AutogenContext, operation: SequenceOp) -> list[str]:
    statement: Any = operation.sqltext
    sequence, made = statement.element, isinstance(statement, CreateSequence)
    given = {"schema": sequence.schema}
    given |= {name: getattr(sequence, name, None) for name in OPTIONS if made}
    words = [repr(sequence.name)]
    # Not `in`: 0 is False there.
    words += [
        f"{name}={one!r}" for name, one in given.items() if one is not None and one is not False
    ]
    if made and sequence.data_type is not None:
        words.append(f"data_type=sa.{sequence.data_type!r}")
    call = f"sa.schema.{type(statement).__name__}(sa.Sequence({', '.join(words)}))"
    return ["if op.get_context().dialect.supports_sequences:", f"op.execute({call})", ""]


def write(context: Any, metadatas: Sequence[Any], directives: Sequence[Any]) -> None:
    """Put those that the database lacks before the tables, and behind them on the way back."""
    for sequence in lacking(context, metadatas):
        name = f"sequence {sequence.schema + '.' if sequence.schema else ''}{sequence.name}"
        for directive in directives:
            made = SequenceOp(CreateSequence(sequence), f"create {name}")
            directive.upgrade_ops.ops.insert(0, made)
            gone = SequenceOp(DropSequence(sequence), f"drop {name}")
            directive.downgrade_ops.ops.append(gone)


def lacking(context: Any, metadatas: Sequence[Any]) -> Iterator[Any]:
    dialect = context.dialect
    if not dialect.supports_sequences:
        return
    inspector = inspect(context.connection)
    for metadata in metadatas:
        schemas = {None, *(table.schema for table in metadata.tables.values())}
        for sequence in metadata._sequences.values():
            skipped = dialect.sequences_optional and sequence.optional
            if not skipped and sequence.schema in schemas:
                there = inspector.get_sequence_names(schema=sequence.schema)
                if sequence.name not in there:
                    yield sequence
