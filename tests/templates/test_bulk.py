"""bulk.py: the same rows as by the ORM, any number of them, on three databases."""

import contextlib
import enum
import tracemalloc
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    TypeDecorator,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from base_model import Base, BaseModel
from bulk import bulk_insert, stream_rows
from errors import is_unavailable, is_unique_violation
from servers.proxy import Proxy
from session_manager import DatabaseConfig, DatabaseSessionManager


class Colour(enum.Enum):
    RED = "red"


class BulkItem(BaseModel):
    __tablename__ = "bulk_items"

    code: Mapped[str] = mapped_column(String(40), unique=True)
    day: Mapped[date | None]
    at: Mapped[datetime | None]
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    data: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    colour: Mapped[Colour | None]
    other: Mapped[uuid.UUID | None]
    size: Mapped[float | None]
    stock: Mapped[int] = mapped_column(default=3)


class SqlItem(Base):
    """Has what COPY cannot do."""

    __tablename__ = "sql_items"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    code: Mapped[str] = mapped_column(String(40), default=func.lower("SQL"))


@pytest.fixture
async def database(database_url: str):
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as manager:
        async with manager.engine.begin() as connection:
            tables = [BulkItem.__table__, SqlItem.__table__]
            await connection.run_sync(Base.metadata.create_all, tables=tables)
        yield manager


def full_row(code: str) -> dict[str, Any]:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, timezone(timedelta(hours=2)))
    return {
        **{"code": code, "day": date(2026, 1, 2), "at": moment, "price": Decimal("1.50")},
        **{"data": {"a": [1, "\N{SNOWMAN}"]}, "colour": Colour.RED, "size": 0.5},
        "other": uuid.UUID(int=7),
    }


async def test_rows_are_those_that_the_orm_would_write(database: DatabaseSessionManager):
    async with database.begin() as session:
        session.add(BulkItem(**full_row("orm")))
        await bulk_insert(session, BulkItem, [full_row("bulk")])
    async with database.session() as session:
        one, two = await session.scalars(select(BulkItem).order_by(BulkItem.code))
    same = {"at", "day", "price", "data", "colour", "other", "size", "stock", "deleted_at"}
    values = [{key: getattr(item, key) for key in same} for item in (one, two)]
    assert values[0] == values[1]
    assert one.at == full_row("")["at"] and one.at.tzinfo is UTC
    assert one.updated_at == one.created_at
    assert one.id.version == 7


async def test_any_number_of_rows_in_one_transaction(database: DatabaseSessionManager):
    """40,000 parameters and more, and several batches; undone as a whole."""
    rows = [{"code": f"c{number}", "stock": number} for number in range(12_000)]
    async with database.engine.connect() as connection:
        await bulk_insert(connection, BulkItem.__table__, iter(rows))
        count = select(func.count()).select_from(BulkItem.__table__)
        assert await connection.scalar(count) == 12_000
        await connection.rollback()
        assert await connection.scalar(count) == 0


async def test_duplicates_and_returning(database: DatabaseSessionManager):
    async with database.begin() as session:
        await bulk_insert(session, BulkItem, [{"code": "a"}])
    with pytest.raises(IntegrityError) as raised:
        async with database.begin() as session:
            await bulk_insert(session, BulkItem, [{"code": "b"}, {"code": "a"}])
    assert is_unique_violation(raised.value, "uq_bulk_items_code", Base.metadata)
    rows = [{"code": code} for code in ("a", "b", "c")]
    async with database.begin() as session:
        found = await bulk_insert(
            session, BulkItem, rows, skip_duplicates=True, returning=["code", "stock"]
        )
    assert sorted(found) == [("b", 3), ("c", 3)]
    async with database.begin() as session:
        await bulk_insert(session, BulkItem, rows, skip_duplicates=True)
        many = [{"code": f"r{number}", "stock": number} for number in range(6000)]
        found = await bulk_insert(session, BulkItem, many, returning=["stock"])
    assert sorted(found) == [(number,) for number in range(6000)]


@pytest.mark.parametrize("options", [{}, {"skip_duplicates": True}])
async def test_more_values_than_a_statement_has_parameters(
    database: DatabaseSessionManager, options: dict[str, Any]
):
    """Two batches, the second of one row; each has more values than 32,767."""
    rows = [{"id": number, "code": f"c{number}"} for number in range(25_001)]
    async with database.begin() as session:
        await bulk_insert(session, SqlItem, rows[:1])
        await bulk_insert(session, SqlItem, rows if options else rows[1:], **options)
    async with database.session() as session:
        count, distinct = func.count(), func.count(SqlItem.code.distinct())
        assert (await session.execute(select(count, distinct))).one() == (25_001, 25_001)


async def test_what_comes_back_is_typed(database: DatabaseSessionManager):
    names = ["code", "at", "price", "data", "colour", "other", "size", "id"]
    async with database.begin() as session:
        (row,) = await bulk_insert(session, BulkItem, [full_row("x")], returning=names)
        given = full_row("x")
        assert list(row[:-1]) == [given[name] for name in names[:-1]]
        assert row[1].tzinfo is UTC
        assert row[-1] == await session.scalar(select(BulkItem.id))


async def test_a_default_that_is_sql_is_carried_out(database: DatabaseSessionManager):
    async with database.begin() as session:
        await bulk_insert(session, SqlItem, [{"id": 1}, {"id": 2}])
    async with database.session() as session:
        assert (await session.scalars(select(SqlItem.code))).all() == ["sql", "sql"]


class Lower(TypeDecorator[str]):
    """A type whose values go through SQL."""

    impl = String(40)
    cache_ok = True

    def bind_expression(self, bindparam: Any) -> Any:
        return func.lower(bindparam)


async def test_a_type_that_is_sql_is_carried_out(database: DatabaseSessionManager):
    table = Table("lower_items", MetaData(), Column("code", Lower))
    async with database.engine.begin() as connection:
        await connection.run_sync(table.create)
        await bulk_insert(connection, table, [{"code": "SHOUTED"}])
        assert await connection.scalar(select(table.c.code)) == "shouted"


async def test_a_default_sees_the_row_that_it_is_for(database: DatabaseSessionManager):
    def twice(context: Any) -> int:
        return int(context.get_current_parameters()["number"]) * 2

    columns = Column("number", Integer), Column("double", Integer, default=twice)
    table = Table("double_items", MetaData(), *columns)
    async with database.engine.begin() as connection:
        await connection.run_sync(table.create)
        await bulk_insert(connection, table, [{"number": 1}, {"number": 21}])
        doubled = await connection.scalars(select(table.c.double).order_by(table.c.number))
        assert doubled.all() == [2, 42]


@pytest.mark.dialects("postgresql")
async def test_rows_go_into_the_table_of_its_own_schema(database: DatabaseSessionManager):
    """Not into one of the same name that the search_path finds."""
    async with database.engine.begin() as connection:
        await connection.execute(text("CREATE SCHEMA archive"))
        for schema in (None, "archive"):
            table = Table("old_items", MetaData(), Column("id", Integer), schema=schema)
            await connection.run_sync(table.create)
        await bulk_insert(connection, table, [{"id": 1}])
        names = ("archive.old_items", "public.old_items")
        counts = [await connection.scalar(text(f"SELECT count(*) FROM {one}")) for one in names]
        assert counts == [1, 0]


async def test_nothing_is_nothing_to_do(database: DatabaseSessionManager):
    async with database.begin() as session:
        assert await bulk_insert(session, BulkItem, iter([])) == []
        assert not session.get_bind().pool.checkedout() or session.in_transaction()


@pytest.mark.parametrize("second", [{"id": 2, "code": "b"}, {"code": "b"}])
@pytest.mark.parametrize("options", [{}, {"skip_duplicates": True}])
async def test_rows_that_differ_are_refused(
    database: DatabaseSessionManager, second: dict[str, Any], options: dict[str, Any]
):
    async with database.begin() as session:
        with pytest.raises((ValueError, KeyError), match=r"rows differ in their columns|'id'"):
            await bulk_insert(session, SqlItem, [{"id": 1}, second], **options)
        await session.rollback()
    async with database.session() as session:
        assert await session.scalar(select(func.count()).select_from(SqlItem)) == 0


async def test_a_read_only_session_writes_nothing(database: DatabaseSessionManager):
    async with database.read_only_session() as session:
        with pytest.raises(ValueError, match="read-only"):
            await bulk_insert(session, SqlItem, [{"id": 1}])


@pytest.mark.faults
@pytest.mark.dialects("postgresql")
async def test_a_server_that_falls_silent_in_a_copy_is_unavailable(database_url: str):
    url = make_url(database_url)
    async with Proxy(url.host or "", url.port or 0) as proxy:
        through = url.set(host="127.0.0.1", port=proxy.port)
        config = DatabaseConfig(through, statement_timeout=1)
        async with DatabaseSessionManager(config) as manager:
            async with manager.engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all, tables=[SqlItem.__table__])

            def rows():
                yield {"id": 1, "code": "c"}
                proxy.swallow = True

            with contextlib.suppress(DBAPIError):  # of the rollback, which is not heard either
                async with manager.session() as session:
                    with pytest.raises(DBAPIError) as raised:
                        await bulk_insert(session, SqlItem, rows())
            assert is_unavailable(raised.value)


# Out


async def test_streamed_rows_are_those_of_a_select(database: DatabaseSessionManager):
    names = ("code", "day", "at", "price", "data", "colour", "other", "size", "stock", "id")
    columns = [getattr(BulkItem, name) for name in names]
    statement = select(*columns).where(BulkItem.stock.in_([3, 4])).order_by(BulkItem.code)
    async with database.begin() as session:
        rows = [full_row(f"c{number:02}") for number in range(25)]
        await bulk_insert(session, BulkItem, [*rows, full_row("z")])
        hidden = await session.scalar(select(BulkItem).where(BulkItem.code == "z"))
        assert hidden is not None
        await hidden.soft_delete(session)
    for opened in (database.session, database.read_only_session):
        async with opened() as session:
            expected = (await session.execute(statement)).all()
            batches = [batch async for batch in stream_rows(session, statement, 10)]
        assert [len(batch) for batch in batches] == [10, 10, 5]
        assert [tuple(row) for batch in batches for row in batch] == [*map(tuple, expected)]


async def test_a_stream_of_entities_is_refused_and_one_left_early_is_no_harm(
    database: DatabaseSessionManager,
):
    async with database.begin() as session:
        await bulk_insert(session, SqlItem, [{"id": number} for number in range(500)])
    async with database.session() as session:
        with pytest.raises(ValueError, match="select these, not an entity"):
            async for _batch in stream_rows(session, select(SqlItem), 10):
                pass
        async with contextlib.aclosing(stream_rows(session, select(SqlItem.id), 10)) as batches:
            async for batch in batches:
                assert len(batch) == 10
                break
        assert await session.scalar(select(func.count()).select_from(SqlItem)) == 500
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_a_stream_holds_a_batch_at_a_time(database: DatabaseSessionManager):
    async with database.begin() as session:
        rows = ({"id": number, "code": "c" * 40} for number in range(12_000))
        await bulk_insert(session, SqlItem, rows)

    async def peak(batched: bool) -> int:
        statement = select(SqlItem.id, SqlItem.code)
        seen = 0
        tracemalloc.start()
        try:
            async with database.read_only_session() as session:
                if batched:
                    async for batch in stream_rows(session, statement, 200):
                        seen += len(batch)
                else:
                    seen = len((await session.execute(statement)).all())
            assert seen == 12_000
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    await peak(batched=True)  # fills the caches
    assert await peak(batched=True) < await peak(batched=False) / 4
