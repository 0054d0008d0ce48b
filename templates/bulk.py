"""Thousands of rows in or out, as fast as the driver. Copy it if you import or export rows.

```python
from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from .base_model import Base
from .bulk import bulk_insert, stream_rows
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
        async with database.read_only_session() as session:
            async for batch in stream_rows(session, select(Customer.id, Customer.email)):
                print(batch[0][1], len(batch))
```

Rows go in by COPY on PostgreSQL, by executemany elsewhere, in the transaction that the connection
is in. What it costs: defaults of columns are filled in (in Python, with one call a row each), and
types that convert in Python convert; the ORM's events do not run. It needs SQLAlchemy and the
driver only.
"""

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
)
from itertools import chain, islice
from operator import itemgetter
from typing import Any, cast

from sqlalchemy import Connection, Dialect, Float, Select, Table, bindparam, inspect
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

Row = Mapping[str, Any]
Record = Sequence[Any]  # a tuple, or what compares and unpacks like one
Reader = Callable[[Any], Any] | None
BATCH = 25_000
"""Rows held in memory at a time."""


async def bulk_insert(
    target: AsyncConnection | AsyncSession,
    model: type[Any] | Table,
    rows: Iterable[Row],
    *,
    skip_duplicates: bool = False,
    returning: Sequence[str] = (),
) -> list[Record]:
    """Insert rows, any number of them; all have the same keys (names of columns).

    `skip_duplicates` leaves out what breaks a unique constraint (ON CONFLICT DO NOTHING, on MySQL
    INSERT IGNORE, which makes a warning of other errors as well). `returning` gives these columns
    of what was inserted, in no order (MariaDB has that, MySQL not). With either it is INSERT, not
    COPY, and so it is where a type or a default is SQL. Nothing is committed.
    """
    connection = await target.connection() if isinstance(target, AsyncSession) else target
    dialect = connection.dialect
    table: Table = model if isinstance(model, Table) else inspect(model).local_table
    if cast(Connection, connection.sync_connection).get_execution_options().get("read_only"):
        raise ValueError("a read-only session writes nothing")
    if returning and not dialect.insert_executemany_returning:
        raise ValueError("MySQL gives no rows back: insert, then select by a key of your own")
    rows = iter(rows)
    if (first := next(rows, None)) is None:
        return []
    batches = _batches(chain((first,), rows), first.keys())
    statement = _statement(dialect.name, table, skip_duplicates)
    found: list[Record] = []
    if returning:
        statement = statement.returning(*(table.c[name] for name in returning))
        if dialect.driver != "asyncpg":
            for batch in batches:
                found += await connection.execute(statement, batch)
            return found
    makers = _defaults(table, first.keys())
    keys = [*first, *makers]
    compiled = statement.compile(dialect=dialect, column_keys=keys)
    is_insert = dialect.driver != "asyncpg" or skip_duplicates or returning
    copies = not is_insert and not _needs_sql(table, keys, dialect)
    names = keys if copies else compiled.positiontup
    # What a default that is SQL has of its own.
    makers |= {name: _Always(compiled.params[name]) for name in names if name not in keys}
    values = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
    types = [_in_dialect(compiled.binds[name].type, dialect) for name in names]
    processors = [type_.bind_processor(dialect) for type_ in types]
    read = [(table.c[name].type, _oid(table.c[name].type)) for name in returning]
    write = await _writer(connection, table, str(compiled), names if copies else (), read)
    for batch in batches:
        filled = _filled(batch, makers) if makers else batch
        records = _processed(map(values, filled), processors)
        try:
            found += await write(records)
        except Exception as error:
            if (told := _told(error, dialect)) is error:
                raise
            raise told from error
    return found


async def stream_rows(
    target: AsyncConnection | AsyncSession, statement: Select[Any], size: int = 1000
) -> AsyncIterator[list[Record]]:
    """The rows of a SELECT of columns (not of entities), in lists of `size`, each row a tuple.

    No more than one list is in memory; types that convert in Python convert. It is three times as
    fast as `stream()` on PostgreSQL, which makes a Row of each. Leave it early by way of
    `async with contextlib.aclosing(stream_rows(...)) as batches:`.
    """

    if any(one["expr"] is one.get("entity") for one in statement.column_descriptions):
        raise ValueError("stream_rows gives columns: select these, not an entity")

    def begin(sync: Session | Connection) -> Any:
        result: Any = sync.execute(statement, execution_options={"stream_results": True})
        return getattr(result, "raw", None) or result  # what is below an ORM's result

    result = await target.run_sync(begin)
    try:
        cursor, dialect = result.cursor, result.dialect
        types = [column.type for column in statement.selected_columns]
        readers = _readers(zip(types, [one[1] for one in cursor.description], strict=True), dialect)
        # By SQLAlchemy, which has read one row already; from there on, past it.
        records: list[Record] = await target.run_sync(lambda _: result.fetchmany(size))
        while records:
            yield records
            if len(records) < size:
                break
            records = await target.run_sync(lambda _: cursor.fetchmany(size))
            records = list(_processed(records, readers)) if any(readers) else records
    except Exception as error:
        if (told := _told(error, dialect)) is error:
            raise
        raise told from error
    finally:
        await target.run_sync(lambda _: result.close())


async def _writer(
    connection: AsyncConnection,
    table: Table,
    sql: str,
    copied: Sequence[str],
    returned: Iterable[tuple[TypeEngine[Any], object]],
) -> Callable[[Iterable[Record]], Awaitable[Iterable[Record]]]:
    """What writes a batch, and gives back what RETURNING does; COPY where columns are `copied`."""
    # SQLAlchemy begins a transaction with a statement, and knows of nothing that passes it by.
    await connection.exec_driver_sql("SELECT 1")
    driver: Any = (await connection.get_raw_connection()).driver_connection
    readers = _readers(returned, connection.dialect)
    columns = [table.c[key].name for key in copied]
    names: dict[str, Any] = {"schema_name": table.schema, "columns": columns}

    async def write(records: Iterable[Record]) -> Iterable[Record]:
        if copied:
            await driver.copy_records_to_table(table.name, records=records, **names)
        elif readers:
            return _processed(await driver.fetchmany(sql, records), readers)
        elif connection.dialect.driver in ("asyncpg", "aiosqlite"):
            await driver.executemany(sql, records)
        else:
            await connection.exec_driver_sql(sql, list(records))
        return ()

    return write


def _batches(rows: Iterator[Row], keys: KeysView[str]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, BATCH)):
        # Other keys, as many, are a KeyError soon; to compare the keys takes three times as long.
        if {*map(len, batch)} != {len(keys)}:
            raise ValueError(f"rows differ in their columns: not all have {sorted(keys)}")
        yield batch


def _statement(name: str, table: Table, skip_duplicates: bool) -> Any:
    if not skip_duplicates:
        return table.insert()
    if name in ("mysql", "mariadb"):
        return mysql.insert(table).prefix_with("IGNORE")
    dialect = postgresql if name == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing()


def _readers(types: Iterable[tuple[TypeEngine[Any], object]], dialect: Dialect) -> list[Reader]:
    return [_in_dialect(type_, dialect).result_processor(dialect, code) for type_, code in types]


def _oid(type_: TypeEngine[Any]) -> int:
    """PostgreSQL's double precision or numeric: only numbers ask for that."""
    return 701 if isinstance(type_, Float) else 1700


def _in_dialect(type_: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return type_.dialect_impl(dialect)


def _processed(records: Iterable[Record], processors: Sequence[Reader]) -> Iterable[Record]:
    """By columns, as most types need nothing."""
    if not any(processors):
        return records
    columns: list[Iterable[Any]] = list(zip(*records, strict=True))
    for number, run in enumerate(processors):
        if run is not None:
            columns[number] = map(run, columns[number])
    return zip(*columns, strict=True)


class _Context:
    """What a default in Python may ask for: the row that it is for."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.current_parameters = row

    def get_current_parameters(self, isolate_multiinsert_params: bool = True) -> dict[str, Any]:
        return self.current_parameters


class _Always:
    def __init__(self, value: object) -> None:
        self.value = value

    def __call__(self, _context: _Context) -> object:
        return self.value


def _filled(batch: list[Row], makers: Mapping[str, Callable[[_Context], Any]]) -> list[Row]:
    filled: list[Row] = []
    for given in batch:
        row = dict(given)
        context = _Context(row)
        for key, make in makers.items():
            row[key] = make(context)
        filled.append(row)
    return filled


def _defaults(table: Table, given: Collection[str]) -> dict[str, Callable[[_Context], Any]]:
    """What fills columns in Python; the database fills others."""
    makers: dict[str, Callable[[_Context], Any]] = {}
    for column in table.columns:
        default: Any = column.default
        if column.key in given or default is None:
            continue
        if default.is_scalar:
            makers[column.key] = _Always(default.arg)
        elif default.is_callable:
            makers[column.key] = default.arg
    return makers


def _needs_sql(table: Table, keys: Collection[str], dialect: Dialect) -> bool:
    """Is there what COPY cannot do: a default, or a type, that is an expression?"""
    return any(
        column.default is not None
        if column.key not in keys
        else _in_dialect(column.type, dialect).bind_expression(bindparam("value")) is not None
        for column in table.columns
    )


def _told(error: Exception, dialect: Dialect) -> Exception:
    """As SQLAlchemy would tell it, which was passed by."""
    base = cast(Any, dialect.loaded_dbapi).Error
    if isinstance(error, base):
        told: Exception = DBAPIError.instance("bulk", None, error, base, dialect=dialect)
        return told
    if isinstance(error, OSError):  # a TimeoutError is one
        return OperationalError("bulk", None, error, connection_invalidated=True)
    if state := getattr(error, "sqlstate", None):
        return (IntegrityError if state.startswith("23") else DBAPIError)("bulk", None, error)
    return error
