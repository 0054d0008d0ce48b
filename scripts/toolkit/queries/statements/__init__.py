"""What the server itself counted: pg_stat_statements, performance_schema.

Reads only, and resets nothing. The texts come from whoever talked to the server: they are
printed as data, in one line, cut off, without control characters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from toolkit.database.connecting import on_connection
from toolkit.database.urls import kind_of
from toolkit.queries.capture.record import Statement
from toolkit.queries.catalog.reading import begin_reading
from toolkit.queries.finding import QueryFinding
from toolkit.queries.statements import mysql, postgresql
from toolkit.queries.statements.counted import Statistics
from toolkit.queries.statements.judge import Captured, slow_ones

__all__ = ["StatementsReport", "slow_statements"]

SECONDS = 60.0


@dataclass(frozen=True)
class StatementsReport:
    findings: tuple[QueryFinding, ...]
    """The most expensive first."""
    notes: tuple[str, ...] = ()
    skipped: str | None = None
    """Why nothing could be read, and what makes it readable, in one line."""
    counted: int = 0
    """Statements that the server knows."""
    joined: int = 0
    """Those of them that the capture saw, too."""


def slow_statements(url: URL, captured: Sequence[Statement]) -> StatementsReport:
    """The statements that take the server's time, with the source line that issues them.

    `captured` is what the application sent; without it findings have no line. Raises what
    the driver raises, and TimeoutError.
    """
    kind = kind_of(url.drivername)
    if kind is None or kind == "sqlite":
        return StatementsReport((), skipped="SQLite keeps no statistics of statements")

    def work(connection: Connection) -> Statistics | str:
        begin_reading(connection, kind)
        return mysql.read(connection) if kind == "mysql" else postgresql.read(connection)

    statistics = on_connection(url, work, seconds=SECONDS)
    if isinstance(statistics, str):
        return StatementsReport((), skipped=statistics)
    findings, notes, joined = slow_ones(statistics, Captured(captured, mysql=kind == "mysql"))
    return StatementsReport(
        tuple(findings),
        (*statistics.notes, *notes),
        counted=len(statistics.counted),
        joined=joined,
    )
