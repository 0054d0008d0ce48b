"""Answer a database's errors as what they are: 409, 422, 503, and only else 500.

Copy it if your application answers over HTTP. `install_error_handlers(app)` is all it takes:

```python
from fastapi import FastAPI
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from .base_model import Base
from .errors import install_error_handlers
from .session_manager import DbSession, lifespan


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)


app = FastAPI(lifespan=lifespan)
texts = {"uq_customers_email": "There is a customer with this address."}
install_error_handlers(app, texts=texts, metadata=Base.metadata)


@app.post("/customers", status_code=201)
async def create_customer(email: str, session: DbSession) -> None:
    session.add(Customer(email=email))
```

| What happened | Kind | Status |
| --- | --- | --- |
| unique constraint, a row changed by another meanwhile | `unique`, `stale` | 409 |
| foreign key | `foreign_key` | 409 |
| CHECK, NOT NULL | `check`, `not_null` | 422 |
| a text too long, a number too large | `too_long`, `range` | 422 |
| serialization failure, deadlock, lock not had in time | `conflict` | 503 |
| pool empty, refused, lost, silent, shutting down, full | `unavailable` | 503 |
| a statement that took too long | `timeout` | 503 |
| a server that only reads, as a replica does | `read_only` | 503 |
| everything else | `error` | 500 |

503 has a Retry-After. No answer holds SQL, a value or a name of the schema; the log has them. It
costs nothing while nothing fails. It needs SQLAlchemy and FastAPI only, and works with any engine.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse
from sqlalchemy import Index, MetaData, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm.exc import StaleDataError

logger = logging.getLogger(__name__)

STATUS = {
    **dict.fromkeys(("unique", "foreign_key", "stale"), 409),
    **dict.fromkeys(("check", "not_null", "too_long", "range"), 422),
    **dict.fromkeys(("conflict", "unavailable", "timeout", "read_only"), 503),
    "error": 500,
}
TEXTS = {
    "unique": "This exists already.",
    "foreign_key": "Something that this refers to is missing, or something refers to this.",
    "stale": "Someone else has changed this meanwhile. Read it again.",
    "check": "A value is not allowed.",
    "not_null": "A value is missing.",
    "too_long": "A text is too long.",
    "range": "A number is too large or too small.",
    **dict.fromkeys(("conflict", "timeout"), "Too much at once. Try again."),
    **dict.fromkeys(("unavailable", "read_only"), "The service is not available. Try again."),
    "error": "Internal Server Error",
}

_SQLSTATES = (  # PostgreSQL: the code, or its class of two letters
    {"23505": "unique", "23P01": "unique", "23503": "foreign_key", "23001": "foreign_key"}
    | {"23514": "check", "23502": "not_null", "22001": "too_long", "22003": "range"}
    | dict.fromkeys(("40001", "40P01", "55P03"), "conflict")
    | {"57014": "timeout", "25006": "read_only"}
    | dict.fromkeys(("57P01", "57P02", "57P03", "57P05", "08", "53"), "unavailable")
)
_MYSQL = (
    dict.fromkeys((1062, 1586), "unique")
    | dict.fromkeys((1216, 1217, 1451, 1452), "foreign_key")
    | dict.fromkeys((3819, 4025), "check")  # MySQL, MariaDB
    | dict.fromkeys((1048, 1364), "not_null")
    | {1406: "too_long", 1264: "range"}
    | dict.fromkeys((1205, 1213, 1020), "conflict")
    | dict.fromkeys((1317, 1969, 3024), "timeout")
    | dict.fromkeys((1290, 1792, 1836), "read_only")
    # Full: the server, or its disk; shutting down, refused, lost.
    | dict.fromkeys((1040, 1203, 1021, 1114), "unavailable")
    | dict.fromkeys((1053, 1927, 2002, 2003, 2006, 2013, 2055), "unavailable")
)
_SQLITE = (  # extended codes, and the plain one in the low byte
    {2067: "unique", 1555: "unique", 2579: "unique", 787: "foreign_key", 1811: "foreign_key"}
    | {275: "check", 1299: "not_null", 5: "conflict", 6: "conflict", 8: "read_only"}
    | {10: "unavailable", 13: "unavailable", 14: "unavailable"}  # IO, disk full, cannot open
)
_NAMES = (  # of a constraint, in the messages of MySQL, MariaDB and SQLite
    r"CONSTRAINT `(\w+)`",
    r"Check constraint '([^']+)'",
    r"for key '(?:[^'.]+\.)?([^']+)'",
    r"CHECK constraint failed: (\w+)$",
    r"index '([^']+)'",
)


@dataclass(frozen=True)
class Problem:
    """What an error is, without a word of it that a client should not see."""

    kind: str
    constraint: str | None = None

    @property
    def status(self) -> int:
        return STATUS[self.kind]


def problem_of(error: BaseException, metadata: MetaData | None = None) -> Problem:
    """What kind of error this is, and the name of the constraint where there is one.

    SQLite names the columns of a unique constraint and not the constraint, which is then looked
    up in `metadata`; of a foreign key it names nothing.
    """
    if isinstance(error, StaleDataError):
        return Problem("stale")
    if isinstance(error, PoolTimeoutError):
        return Problem("unavailable")
    if not isinstance(error, DBAPIError) and not hasattr(error, "sqlstate"):
        return Problem("unavailable" if _came_through_sqlalchemy(error) else "error")
    # SQLAlchemy 2.0 lets through what asyncpg raises when it connects.
    original: Any = getattr(error, "orig", error)
    text = str(original)
    state = getattr(original, "sqlstate", None) or ""
    sqlite = getattr(original, "sqlite_errorcode", 0)
    number = next(iter(getattr(original, "args", ())), None)
    kind = (
        _SQLSTATES.get(state)
        or _SQLSTATES.get(state[:2])
        or _SQLITE.get(sqlite)
        or _SQLITE.get(sqlite & 0xFF)
        or (_MYSQL.get(number) if isinstance(number, int) else None)
    )
    if kind is None:
        lost = getattr(error, "connection_invalidated", False) or isinstance(original, OSError)
        kind = "unavailable" if lost else "error"
    driver = original.__cause__ if original is not None else None
    # bulk.py has asyncpg's error itself.
    name = getattr(driver or original, "constraint_name", None) or _named(text)
    if name is None and "UNIQUE constraint failed: " in text:
        name = _unique_over(text.rpartition("failed: ")[2].split(", "), metadata)
    return Problem(kind, name if STATUS[kind] in (409, 422) else None)


def _named(text: str) -> str | None:
    return next((found[1] for one in _NAMES if (found := re.search(one, text))), None)


def _unique_over(columns: list[str], metadata: MetaData | None) -> str | None:
    """The name of the constraint or unique index that covers `table.column, ...`."""
    table = metadata.tables.get(columns[0].rpartition(".")[0]) if metadata is not None else None
    if table is None:
        return None
    wanted = {column.rpartition(".")[2] for column in columns}
    for one in (*table.constraints, *table.indexes):
        if not isinstance(one, UniqueConstraint | PrimaryKeyConstraint | Index):
            continue
        unique = one.unique if isinstance(one, Index) else True
        if unique and wanted == {column.name for column in one.columns}:
            return str(one.name) if one.name else None
    return None


def _came_through_sqlalchemy(error: BaseException) -> bool:
    """A socket's error that SQLAlchemy 2.0 lets through; others are another service's."""
    trace = error.__traceback__ if isinstance(error, OSError) else None
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__")).startswith("sqlalchemy."):
            return True
        trace = trace.tb_next
    return False


def is_unique_violation(
    error: BaseException, name: str | None = None, metadata: MetaData | None = None
) -> bool:
    """Was it a unique constraint, and the one of this `name` if there is one?"""
    return _is("unique", error, name, metadata)


def is_foreign_key_violation(error: BaseException, name: str | None = None) -> bool:
    """Was it a foreign key? SQLite does not say which: with a `name`, never."""
    return _is("foreign_key", error, name)


def is_check_violation(error: BaseException, name: str | None = None) -> bool:
    """Was it a CHECK constraint?"""
    return _is("check", error, name)


def is_not_null_violation(error: BaseException) -> bool:
    """Was it a column that must have a value?"""
    return _is("not_null", error)


def is_unavailable(error: BaseException) -> bool:
    """May the same work later?"""
    return problem_of(error).status == 503


def _is(
    kind: str, error: BaseException, name: str | None = None, metadata: MetaData | None = None
) -> bool:
    found = problem_of(error, metadata)
    return found.kind == kind and name in (None, found.constraint)


def install_error_handlers(
    app: FastAPI,
    *,
    texts: Mapping[str, str] | None = None,
    metadata: MetaData | None = None,
    retry_after: int = 1,
) -> None:
    """Answer the errors of the database as `{"detail": text}` with the status of the table above.

    `texts` says other things, by the name of a constraint or by kind; `metadata` finds the names
    that SQLite does not give; `retry_after` is for 503, in seconds.
    """
    said = {**TEXTS, **(texts or {})}

    async def known(request: Request | WebSocket, error: Exception) -> JSONResponse | None:
        if problem_of(error, metadata).kind == "error":
            raise error  # to the server's log, by way of the handler of all others
        return await answer(request, error)

    async def answer(request: Request | WebSocket, error: Exception) -> JSONResponse | None:
        problem = problem_of(error, metadata)
        logger.log(
            logging.WARNING if problem.status == 503 else logging.INFO,
            "%s (%s): %s",
            *(problem.kind, problem.constraint, getattr(error, "orig", None) or error),
        )
        if isinstance(request, WebSocket):
            # "Try again later" or "internal error"
            await request.close(1013 if problem.status == 503 else 1011)
            return None
        headers = {"Retry-After": str(retry_after)} if problem.status == 503 else None
        text = said.get(problem.constraint or "", said[problem.kind])
        return JSONResponse({"detail": text}, problem.status, headers)

    app.add_exception_handler(SQLAlchemyError, known)  # type: ignore[arg-type]
    app.add_exception_handler(OSError, known)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, answer)  # type: ignore[arg-type]
