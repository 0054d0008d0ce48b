"""What a database's schema is, as plain data that can be compared and kept as JSON.

Imported by the toolkit, and by its path where a project's code runs, which must not see
this package's name: hence relative imports, the standard library and SQLAlchemy only.
"""

from sqlalchemy import Connection

from . import mysql, postgresql, sqlite
from .compare import Difference, differences, round_trip
from .model import Catalog, Entry

__all__ = ["Catalog", "Difference", "Entry", "differences", "read_catalog", "round_trip"]

READERS = {
    "postgresql": postgresql.read,
    "mysql": mysql.read,
    "mariadb": mysql.read,
    "sqlite": sqlite.read,
}


def read_catalog(connection: Connection) -> Catalog:
    """The schema that `connection` sees: all schemas, without Alembic's own table.

    Runs SELECTs only, in the connection's transaction. Raises KeyError for a database that
    is neither PostgreSQL, MySQL, MariaDB nor SQLite.
    """
    return READERS[connection.dialect.name](connection)
