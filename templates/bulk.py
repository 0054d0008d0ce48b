"""Thousands of rows in, as fast as the driver. Copy it if you import or export rows.

```python
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from .base_model import Base
from .bulk import bulk_insert
from .session_manager import DatabaseConfig, DatabaseSessionManager


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)


async def main() -> None:
    async with DatabaseSessionManager(DatabaseConfig.from_env()) as database:
        async with database.engine.begin() as connection:  # in a project: its migrations
            await connection.run_sync(Base.metadata.create_all)
            rows = ({"email": f"{n}@example.com"} for n in range(100_000))
            await bulk_insert(connection, Customer, rows)
```

COPY on PostgreSQL, executemany elsewhere, in the transaction that the connection is in. What it
costs: defaults of columns are filled in (in Python, with one call a row each), and types that
convert in Python convert; the ORM's events do not run. It needs SQLAlchemy and the driver only.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Column, Table, inspect
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

Row = Mapping[str, Any]
BATCH = 5000
"""Rows held in memory at a time."""


async def bulk_insert(
    target: AsyncConnection | AsyncSession,
    model: type[Any] | Table,
    rows: Iterable[Row],
    *,
    skip_duplicates: bool = False,
    returning: Sequence[str] = (),
) -> list[tuple[Any, ...]]:
    """Insert rows, any number of them; all of one batch have the same keys (names of columns).

    `skip_duplicates` leaves out what breaks a unique constraint (ON CONFLICT DO NOTHING, on MySQL
    INSERT IGNORE, which makes a warning of other errors as well). `returning` gives these columns
    of what was inserted, in no order (MariaDB has that, MySQL not). With either it is INSERT, not
    COPY. Nothing is committed.
    """
    connection = await target.connection() if isinstance(target, AsyncSession) else target
    table: Table = model if isinstance(model, Table) else inspect(model).local_table
    name = connection.dialect.name
    if returning and not connection.dialect.insert_executemany_returning:
        raise ValueError("MySQL gives no rows back: insert, then select by a key of your own")
    found: list[tuple[Any, ...]] = []
    for batch in _batches(rows):
        if connection.dialect.driver == "asyncpg" and not (skip_duplicates or returning):
            await _copy(connection, table, batch)
            continue
        statement = _statement(name, table, skip_duplicates)
        if not returning:
            await connection.execute(statement, batch)
            continue
        columns = [table.c[column] for column in returning]
        result = await connection.execute(statement.returning(*columns), batch)
        found += [tuple(row) for row in result]
    return found


def _batches(rows: Iterable[Row]) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(rows)
    while batch := [dict(row) for row in islice(iterator, BATCH)]:
        yield batch


def _statement(name: str, table: Table, skip_duplicates: bool) -> Any:
    if not skip_duplicates:
        return table.insert()
    if name in ("mysql", "mariadb"):
        return mysql.insert(table).prefix_with("IGNORE")
    dialect = postgresql if name == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing()


class _Context:
    """What a default in Python may ask for: the row that it is for."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.current_parameters = row

    def get_current_parameters(self, isolate_multiinsert_params: bool = True) -> dict[str, Any]:
        return self.current_parameters


async def _copy(connection: AsyncConnection, table: Table, batch: list[dict[str, Any]]) -> None:
    given = batch[0].keys()
    makers: dict[str, Callable[[_Context], Any]] = {}
    for column in table.columns:
        if column.key not in given and (default := _default(column)) is not None:
            makers[column.key] = default
    for row in batch:
        if row.keys() != given:
            raise ValueError(f"rows differ in their columns: {sorted(row)}, {sorted(given)}")
    for row in batch if makers else ():
        for key, make in makers.items():
            row[key] = make(_Context(row))
    columns = [table.c[key] for key in batch[0]]
    dialect = connection.dialect
    processors = [one.type.dialect_impl(dialect).bind_processor(dialect) for one in columns]
    records: Iterable[Sequence[Any]] = (tuple(row.values()) for row in batch)
    keys = tuple(batch[0])
    if any(processors) or any(tuple(row) != keys for row in batch):
        pairs = tuple(zip(keys, processors, strict=True))
        records = ([run(row[key]) if run else row[key] for key, run in pairs] for row in batch)
    # Begins the transaction that COPY is to be a part of: SQLAlchemy begins with a statement.
    await connection.exec_driver_sql("SELECT 1")
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    names = [column.name for column in columns]
    try:
        await driver.copy_records_to_table(
            table.name, schema_name=table.schema, columns=names, records=records
        )
    except Exception as error:
        if state := getattr(error, "sqlstate", None):
            kind = IntegrityError if state.startswith("23") else DBAPIError
            raise kind("COPY", None, error) from error
        raise


def _default(column: Column[Any]) -> Callable[[_Context], Any] | None:
    """What fills this column in Python; the database fills others."""
    default: Any = column.default
    if default is None or default.is_sequence:
        return None
    if default.is_scalar:
        return lambda _context: default.arg
    if default.is_callable:
        make: Callable[[_Context], Any] = default.arg
        return make
    raise ValueError(f"{column.name}: its default is SQL, which COPY cannot run; give the value")
