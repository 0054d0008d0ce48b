"""Statements as an application's drivers get them, for the tests of plans."""

import base64
import datetime
import decimal
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Executable, event, text
from sqlalchemy.engine import make_url

from toolkit.database import connecting
from toolkit.database.urls import SCRATCH_VARIABLE
from toolkit.queries.capture.record import Frame, Statement
from toolkit.queries.finding import QueryFinding
from toolkit.queries.plans.model import PlansReport

Named = tuple[str, Executable]


@contextmanager
def scratch_on(url: str) -> Iterator[None]:
    """Experiments on this server: what does not look at the place starts no private one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SCRATCH_VARIABLE, url)
        yield


def captured(url: str, statements: Sequence[Named], *, ms: float = 5.0) -> list[Statement]:
    """Execute each, and keep what the driver got; its name becomes the function it came from."""
    found: list[Statement] = []

    def work(connection: Connection) -> None:
        texts: list[tuple[str, Any]] = []
        event.listen(
            connection, "before_cursor_execute", lambda *args: texts.append((args[2], args[3]))
        )
        lines = {name: number for number, (name, _) in enumerate(dict(statements).items(), 10)}
        for name, statement in statements:
            texts.clear()
            connection.execute(statement)
            [(sql, parameters)] = texts
            frame = Frame("app/crud.py", lines[name], name)
            values = as_json(parameters)
            found.append(Statement(1, sql, sql, (frame,), ms, 0, 1, 1, values, None, 1, 1))
        connection.rollback()

    on_connection(url, work)
    return found


def statement(sql: str, *parameters: Any) -> Statement:
    """One that was captured elsewhere: it is not executed."""
    frames = (Frame("app/crud.py", 10, "statement"),)
    return Statement(1, sql, sql, frames, 5.0, 0, 1, 1, as_json(list(parameters)), None, 1, 1)


def on_connection(url: str, work: Callable[[Connection], Any]) -> Any:
    """In a thread and a loop of its own where the driver needs one."""
    return connecting.on_connection(make_url(url), work)


def script(url: str, *statements: str) -> list[Any]:
    """Run and commit; the rows of the last."""

    def work(connection: Connection) -> list[Any]:
        for statement in statements:
            result = connection.execute(text(statement))
        rows = list(result) if result.returns_rows else []
        connection.commit()
        return rows

    return on_connection(url, work)


def as_json(value: Any) -> Any:
    """As the capture writes parameters."""
    if isinstance(value, dict):
        return {name: as_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    if isinstance(value, datetime.date | datetime.time):
        return {"__type__": type(value).__name__, "value": value.isoformat()}
    if isinstance(value, decimal.Decimal | uuid.UUID):
        name = "uuid" if isinstance(value, uuid.UUID) else "decimal"
        return {"__type__": name, "value": str(value)}
    if isinstance(value, bytes):
        return {"__type__": "bytes", "value": base64.b64encode(value).decode()}
    return value


def of(report: PlansReport, function: str) -> list[QueryFinding]:
    """The findings at one place, also those that name it as another user of an index."""
    line = next((f.line for f in report.findings if f.function == function), None)
    return [one for one in report.findings if one.function == function and one.line == line]


def indexes(report: PlansReport) -> dict[str, tuple[str, ...]]:
    """Name and expressions of the indexes that are proposed."""
    fixes = [one.fix.index for one in report.findings if one.fix and one.fix.index]
    return {index.name: index.expressions for index in fixes}
