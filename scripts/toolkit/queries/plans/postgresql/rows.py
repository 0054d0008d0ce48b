"""Rows out of the given database and into the scratch copy, by COPY.

They wait in files without a name: the given database's transaction ends as soon as they are out,
and a run that is killed leaves nothing.
"""

# ruff: noqa: S608  (names are quoted)

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any

from sqlalchemy import Connection
from sqlalchemy.util import await_only

from toolkit.queries.plans.bench import Clock
from toolkit.queries.plans.model import Place
from toolkit.queries.plans.postgresql.definition import Copied, Schema
from toolkit.report.quoting import identifier, qualified

CHUNK = 1 << 20


class NoCopy(Exception):
    """The rows can't be copied. The text says why, without a value."""


@contextmanager
def refusals() -> Iterator[None]:
    """NoCopy for what the server refuses: these errors come past SQLAlchemy."""
    try:
        yield
    except Exception as error:
        state = getattr(error, "sqlstate", None)
        if state is None:
            raise
        words = {"57014": "it takes too long", "42501": "the role may not read it"}
        raise NoCopy(words.get(state, f"SQLSTATE {state}")) from None


@dataclass(frozen=True)
class Dumped:
    """The rows of one table."""

    table: Copied
    file: IO[bytes]
    percent: float | None
    """Of the rows, where they are a sample."""


def shares(sizes: Mapping[Place, int], limit: int) -> dict[Place, float | None]:
    """The percentage of each table that fits; None: all of it. Small tables go first."""
    left, found = limit, dict[Place, float | None]()
    order = sorted(sizes, key=lambda place: sizes[place])
    for number, place in enumerate(order):
        fair = left / (len(order) - number)
        size = sizes[place]
        found[place] = None if size <= fair else max(100 * fair / size, 0.0001)
        left -= min(size, int(fair))
    return found


def dump(
    connection: Connection,
    schema: Schema,
    percents: Mapping[Place, float | None],
    *,
    files: ExitStack,
    clock: Clock,
    say: Callable[[str], None],
) -> list[Dumped]:
    """The rows of all tables in one snapshot. Raises NoCopy, Stopped."""
    found = []
    for table in schema.tables:
        clock.check()
        say(f"copying {table.place.name} to a scratch database")
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(clock.left * 1000) + 1}")
        percent = percents[table.place]
        columns = ", ".join(map(identifier, table.columns))
        sql = f"SELECT {columns} FROM {qualified(table.place.schema, table.place.name)}"
        if percent is not None:
            sql += f" TABLESAMPLE SYSTEM ({percent:.4f})"
        file = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        with refusals():
            copy_out(connection, sql, file)
        found.append(Dumped(table, file, percent))
    return found


def load(connection: Connection, dumped: Dumped) -> None:
    dumped.file.seek(0)
    with refusals():
        copy_in(connection, dumped.table, dumped.file)


def copy_out(connection: Connection, sql: str, file: IO[bytes]) -> None:
    driver: Any = connection.connection.driver_connection
    if hasattr(driver, "copy_from_query"):  # asyncpg
        await_only(driver.copy_from_query(sql, output=file))
    elif hasattr(driver, "pgconn"):  # psycopg
        with driver.cursor() as cursor, cursor.copy(f"COPY ({sql}) TO STDOUT") as copy:
            for chunk in copy:
                file.write(chunk)
    else:
        raise NoCopy("COPY needs the driver asyncpg or psycopg")


def copy_in(connection: Connection, table: Copied, file: IO[bytes]) -> None:
    driver: Any = connection.connection.driver_connection
    if hasattr(driver, "copy_to_table"):
        await_only(
            driver.copy_to_table(
                table.place.name,
                schema_name=table.place.schema,
                columns=list(table.columns),
                source=file,
            )
        )
    elif hasattr(driver, "pgconn"):
        columns = ", ".join(map(identifier, table.columns))
        name = qualified(table.place.schema, table.place.name)
        with driver.cursor() as cursor, cursor.copy(f"COPY {name} ({columns}) FROM STDIN") as copy:
            while chunk := file.read(CHUNK):
                copy.write(chunk)
    else:
        raise NoCopy("COPY needs the driver asyncpg or psycopg")
