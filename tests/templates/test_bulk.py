"""bulk.py: the same rows as by the ORM, any number of them, on three databases."""

import enum
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import JSON, Numeric, String, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from base_model import Base, BaseModel
from bulk import bulk_insert
from errors import is_unique_violation
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


@pytest.fixture
async def database(database_url: str):
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as manager:
        async with manager.engine.begin() as connection:
            tables = [BulkItem.__table__]
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


@pytest.mark.dialects("postgresql")
async def test_rows_that_differ_are_refused(database: DatabaseSessionManager):
    async with database.begin() as session:
        with pytest.raises(ValueError, match="rows differ in their columns"):
            await bulk_insert(session, BulkItem, [{"code": "a"}, {"code": "b", "stock": 1}])
