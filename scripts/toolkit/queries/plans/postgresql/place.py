"""The database for the copy, which has to sort text as the given one does.

By the order of text PostgreSQL decides whether an index answers LIKE 'x%', so that a copy with
another one would propose what production does not use.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from toolkit.database.scratch import Scratch, execute
from toolkit.queries.plans.connections import on_connection
from toolkit.queries.plans.job import Job
from toolkit.queries.plans.postgresql.definition import Locale, Schema, read_locale
from toolkit.report.quoting import identifier

# Those that only a superuser may create are in the databases that he prepared, and in no other.
NOT_TRUSTED = """
    SELECT a.name FROM pg_available_extensions a JOIN pg_available_extension_versions v
      ON v.name = a.name AND v.version = a.default_version
    WHERE NOT v.trusted AND a.name = ANY(:names)
"""


@contextmanager
def copy_database(scratch: Scratch, schema: Schema, job: Job) -> Iterator[URL]:
    """The scratch database, or on a private server one beside it with the given one's order."""

    def look(connection: Connection) -> tuple[Locale, list[str]]:
        names = [name for name, _ in schema.extensions]
        rows = connection.execute(text(NOT_TRUSTED), {"names": names})
        return read_locale(connection)[0], list(rows.scalars())

    url = scratch.url
    if scratch.private:
        here, needed = on_connection(url, look, job.clock)
        if str(here) != str(schema.locale) and not needed:
            with sorted_database(url, schema.locale) as other:
                yield other
            return
    yield url


@contextmanager
def sorted_database(url: URL, locale: Locale) -> Iterator[URL]:
    """A new one where the machine has this order, else the database of `url`."""
    name = f"{url.database}_sorted"
    try:
        execute(url, f"CREATE DATABASE {identifier(name)} TEMPLATE template0 {locale.clause}")
    except (SQLAlchemyError, OSError):
        yield url
        return
    try:
        yield url.set(database=name)
    finally:
        with suppress(SQLAlchemyError, OSError):
            execute(url, f"DROP DATABASE {identifier(name)} WITH (FORCE)")
