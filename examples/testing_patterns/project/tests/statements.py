"""Which statements a piece of code sends."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, event

from app.db.session_manager import DatabaseSessionManager

# Of the transaction around each test, not of the code.
_SAVEPOINTS = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")


@contextmanager
def recorded(database: DatabaseSessionManager) -> Iterator[list[str]]:
    """The SQL of the block, as a list that grows while it runs.

    An executemany and an INSERT of many rows are one statement each.
    """
    statements: list[str] = []

    def record(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(_SAVEPOINTS):
            statements.append(statement)

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", record)
