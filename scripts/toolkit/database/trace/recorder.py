"""Notes every statement of every revision that one Alembic command runs.

SQLAlchemy's events on the Engine class see each statement, whatever env.py did to get its
connection; Alembic's own steps say which revision it belongs to; the innermost frame of
the revision's file says which line. What the statement did is for a `Reader` to find out.

A dialect's reader uses `read` for its questions: it goes past SQLAlchemy, so that the
questions are neither recorded nor seen by the project's own events.
"""

# ruff: noqa: ANN401  (Alembic's steps and the connections of many drivers)

import functools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from alembic.operations import Operations, ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

Statement = dict[str, Any]
Describe = Callable[[Any], dict[str, Any]]
COMMENTS = re.compile(r"\A(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
STEERING = {"BEGIN", "START", "SAVEPOINT", "RELEASE"}
ENDS = {"COMMIT", "END", "ROLLBACK", "ABORT"}
READING = {"SELECT", "SHOW", "SET", "EXPLAIN", "PRAGMA", "DESCRIBE", "VALUES", "WITH"}


class Reader(Protocol):
    """Asks one dialect's database what happened. One object serves one command.

    All methods get the migration's connection. A method that raises ends the command.
    """

    def begin_revision(self, connection: Connection) -> None:
        """Before the first statement of a revision."""

    def before_statement(self, connection: Connection, statement: Statement) -> str:
        """Take baselines. Returns the SQL to run: `statement["sql"]`, or a form of it that
        tells more."""

    def after_statement(self, connection: Connection, statement: Statement) -> None:
        """The statement succeeded: fill in its locks, rewrites, scans, rows, ..."""

    def after_error(self, connection: Connection, statement: Statement) -> None:
        """It failed; in most dialects the transaction can't be asked any more."""

    def rolled_back(self, connection: Connection) -> None:
        """A transaction or savepoint is undone, or ended by a statement of the revision: what
        is remembered may be wrong. The connection may not answer at this moment."""

    def end_revision(self, connection: Connection) -> None:
        """After the revision and Alembic's own bookkeeping. May commit, so that the next
        revision's readings are its own."""


class Recorder:
    """Collects `trace`, which is complete as far as the command came, also after an error."""

    def __init__(
        self,
        make_reader: Callable[[Connection], Reader],
        describe: Describe,
        dialect: str,
        only: str | None = None,
    ) -> None:
        """`make_reader` is called with the first connection; `describe` puts an Alembic
        operation into plain values.

        With `only` (words) the trace is not of what is judged, but of what comes before it in the
        same transaction: statements without these words are noted as they stand, which costs
        nothing, and where each revision is a transaction nothing is noted.
        """
        self.trace: dict[str, Any] = {"dialect": dialect, "server_version": "", "revisions": []}
        self._make_reader = make_reader
        self._describe = describe
        self._reader: Reader | None = None
        self._connection: Connection | None = None
        self._revision: dict[str, Any] | None = None
        """The revision whose function runs now."""
        self._statement: Statement | None = None
        self._operations: list[str] = []
        self._only = only
        self._begun = False
        """Has the reader been told of this revision?"""
        self._segment = 0
        self._outside = False
        """Did the revision itself end the transaction, by `op.execute("COMMIT")`?"""

    def install(self) -> None:
        event.listen(Engine, "before_cursor_execute", self.before, retval=True)
        event.listen(Engine, "after_cursor_execute", self.after)
        event.listen(Engine, "handle_error", self.failed)
        event.listen(Engine, "commit", self.committed)
        event.listen(Engine, "rollback", self.rolled_back)
        event.listen(Engine, "rollback_savepoint", self.rolled_back)
        self._watch_steps()
        self._watch_operations()

    # -- Alembic --

    def _watch_steps(self) -> None:
        original = MigrationContext.run_migrations

        @functools.wraps(original)
        def run_migrations(context: MigrationContext, **keywords: Any) -> None:
            plan = context._migrations_fn
            assert plan is not None
            # Does `upgrade head` run all that is pending in one transaction?
            self.trace["one_transaction"] = bool(
                context.impl.transactional_ddl and not context._transaction_per_migration
            )
            if self._only and not self.trace["one_transaction"]:
                original(context, **keywords)
                return

            def watched(heads: Any, of: Any) -> Iterator[Any]:
                for step in plan(heads, of):
                    if hasattr(step, "revision") and context.connection is not None:
                        step.migration_fn = self._watched(step, context.connection)
                        yield step
                        if self._reader is not None:
                            self._reader.end_revision(context.connection)
                    else:
                        yield step

            context._migrations_fn = watched
            try:
                original(context, **keywords)
            finally:
                context._migrations_fn = plan

        MigrationContext.run_migrations = run_migrations  # type: ignore[method-assign, assignment]

    def _watched(self, step: Any, connection: Connection) -> Callable[..., None]:
        original = step.migration_fn
        revision: dict[str, Any] = {
            "revision": step.revision.revision,
            "file": str(Path(step.revision.path).resolve()),
            "direction": "upgrade" if step.is_upgrade else "downgrade",
            "error": None,
            "operations": [],
            "statements": [],
            "elsewhere": [],
        }

        @functools.wraps(original)
        def migration_fn(**keywords: Any) -> None:
            self.trace["revisions"].append(revision)
            version = connection.dialect.server_version_info or ()
            self.trace["server_version"] = ".".join(map(str, version))
            if self._reader is None:
                self._reader = self._make_reader(connection)
            self._connection, self._segment, self._outside = connection, 0, False
            self._begun = False
            self._revision = revision
            try:
                original(**keywords)
            except Exception as error:
                revision["error"] = {
                    "type": type(error).__name__,
                    "message": words_of(error),
                    "line": line_in_traceback(error, revision["file"]),
                }
                raise
            finally:
                self._revision = None

        return migration_fn

    def _watch_operations(self) -> None:
        original = Operations.invoke
        recorder = self

        @functools.wraps(original)
        def invoke(operations: Operations, operation: Any) -> Any:
            known = not isinstance(operation, ops.ExecuteSQLOp)
            if recorder._revision is not None and known:
                recorder._note_operation(operation)
            recorder._operations.append(type(operation).__name__ if known else "")
            try:
                return original(operations, operation)
            finally:
                recorder._operations.pop()

        Operations.invoke = invoke  # type: ignore[method-assign, assignment]

    def _note_operation(self, operation: Any) -> None:
        assert self._revision is not None
        described = dict(self._describe(operation))
        for key in ("new_table_name", "modify_name", "if_exists", "constraint_name"):
            value = getattr(operation, key, None)
            if value is not None:
                described[key] = value if isinstance(value, bool) else str(value)
        described["line"] = line_of_caller(self._revision["file"])
        self._revision["operations"].append(described)

    # -- SQLAlchemy --

    def before(
        self, connection: Connection, _cursor: Any, sql: str, parameters: Any, *_: Any
    ) -> tuple[str, Any]:
        if not self._is_ours(connection):
            self._note_elsewhere(sql)
            return sql, parameters
        assert self._revision is not None
        assert self._reader is not None
        word = first_word(sql)
        if word in STEERING | ENDS:
            # Not looked at: it changes nothing itself, and in a transaction that has failed
            # a question before ROLLBACK TO would be refused.
            self._reader.rolled_back(connection)
            if " TO " not in sql.upper():
                self._segment += word in ENDS
                # asyncpg begins no transaction after a COMMIT that it was not told of.
                self._outside = word in ENDS and connection.dialect.driver == "asyncpg"
            return sql, parameters
        line = line_of_caller(self._revision["file"])
        operation = self._operations[-1] if self._operations else ""
        statement: Statement = {
            "sql": sql.strip(),
            "parameters": bool(parameters),
            "file": self._revision["file"] if line else None,
            "line": line,
            "segment": self._segment,
            "in_transaction": not (self._outside or is_autocommit(connection)),
            "operation": operation or None,
            "error": None,
            "locks": [],
            "rewrites": [],
            "scans": [],
            "rows": {},
            "algorithm": None,
            "lock": None,
        }
        self._revision["statements"].append(statement)
        if self._only and self._only not in sql.upper():
            return sql, parameters
        if not self._begun:
            self._begun = True
            self._reader.begin_revision(connection)
        text = self._reader.before_statement(connection, {**statement, "sql": sql})
        self._statement = statement
        return text, parameters

    def _note_elsewhere(self, sql: str) -> None:
        """A connection that the revision opened itself: what it does is not looked at."""
        if self._revision is not None and first_word(sql) not in READING | STEERING | ENDS:
            line = line_of_caller(self._revision["file"])
            if line is not None:
                self._revision["elsewhere"].append({"sql": sql.strip(), "line": line})

    def after(self, connection: Connection, *_: Any) -> None:
        statement = self._statement
        if statement is None or not self._is_ours(connection):
            return
        assert self._reader is not None
        self._statement = None
        self._reader.after_statement(connection, statement)
        if not statement["in_transaction"]:
            self._segment += 1

    def failed(self, context: Any) -> None:
        statement = self._statement
        if statement is None or context.connection is None or not self._is_ours(context.connection):
            return
        assert self._reader is not None
        self._statement = None
        statement["error"] = words_of(context.original_exception)
        self._reader.after_error(context.connection, statement)

    def committed(self, connection: Connection) -> None:
        if self._is_ours(connection):
            self._segment += 1
            self._outside = False

    def rolled_back(self, connection: Connection, *_: Any) -> None:
        if self._is_ours(connection) and self._reader is not None:
            self._reader.rolled_back(connection)

    def _is_ours(self, connection: Connection) -> bool:
        """Does a revision run now, and on this connection?"""
        if self._revision is None or self._connection is None:
            return False
        return connection is self._connection or driver_connection(connection) is driver_connection(
            self._connection
        )


def read(connection: Connection, sql: str) -> list[tuple[Any, ...]]:
    """Rows of one question, asked past SQLAlchemy; in the transaction that is under way."""
    cursor = driver_connection(connection).cursor()
    try:
        cursor.execute(sql)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
    finally:
        cursor.close()


def driver_connection(connection: Connection) -> Any:
    """The DBAPI connection; for asynchronous drivers SQLAlchemy's adapter of it."""
    return connection.connection.dbapi_connection


def is_autocommit(connection: Connection) -> bool:
    """Is each statement a transaction of its own, as inside `autocommit_block()`?"""
    by_driver = getattr(driver_connection(connection), "autocommit", False)
    return by_driver is True or bool(connection._is_autocommit_isolation())


def first_word(sql: str) -> str:
    found = COMMENTS.match(sql)
    rest = sql[found.end() :] if found else sql
    return re.split(r"[\s;(]", rest, maxsplit=1)[0].upper()


def line_of_caller(file: str) -> int | None:
    """The line of the revision's file that this call came from; the innermost frame counts."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if is_file(frame.f_code.co_filename, file):
            return int(frame.f_lineno)
        frame = frame.f_back
    return None


def line_in_traceback(error: BaseException, file: str) -> int | None:
    line, traceback = None, error.__traceback__
    while traceback is not None:
        if is_file(traceback.tb_frame.f_code.co_filename, file):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


@functools.lru_cache(maxsize=4096)
def is_file(name: str, file: str) -> bool:
    return name == file or (
        Path(name).name == Path(file).name and str(Path(name).resolve()) == file
    )


def words_of(error: BaseException) -> str:
    """The database's own words where it spoke; never the statement's values."""
    origin = getattr(error, "orig", None) or error
    cause = origin.__cause__ if "asyncpg" in str(type(origin)) else None
    return str(cause or origin).strip()
