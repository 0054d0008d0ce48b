"""What the schema and the settings say: indexes that lack, repeat or rot.

Reads only: in a transaction that is READ ONLY, with a time limit for each statement and
for all of it.
"""

from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from toolkit.database.connecting import on_connection
from toolkit.database.sqlite_reading import without_trace
from toolkit.database.urls import Kind, kind_of
from toolkit.project.facts import Project
from toolkit.queries.catalog import mysql, postgresql, sqlite
from toolkit.queries.catalog.locate import Locator, locate
from toolkit.queries.catalog.reading import begin_reading
from toolkit.queries.catalog.report import STATISTICS_DAYS, CatalogReport, Reader

__all__ = ["CatalogReport", "locate", "read_findings"]

SECONDS = 60.0
"""For all of it; each statement has less (see reading.py)."""
READERS: dict[Kind, Callable[[Reader], str]] = {
    "postgresql": postgresql.read,
    "mysql": mysql.read,
    "sqlite": sqlite.read,
}


def read_findings(
    url: URL, project: Project | None = None, *, statistics_days: float = STATISTICS_DAYS
) -> CatalogReport:
    """What the catalog of the database at `url` shows; changes nothing.

    `project` gives findings the line of the model. An index counts as unused only if the
    server has counted for `statistics_days`. Raises what the driver raises, TimeoutError,
    and ValueError for another kind of database.
    """
    kind = kind_of(url.drivername)
    if kind is None:
        raise ValueError("catalogs of PostgreSQL, MySQL, MariaDB and SQLite are read only")

    def work(connection: Connection) -> CatalogReport:
        begin_reading(connection, kind)
        reader = Reader(connection, url, Locator(project), statistics_days)
        name = READERS[kind](reader)
        return CatalogReport(tuple(reader.findings), name, tuple(reader.notes))

    with without_trace(url) as address:
        return on_connection(address, work, seconds=SECONDS)
