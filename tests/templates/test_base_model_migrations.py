"""base_model.py and Alembic: nothing left to migrate, mixins for tables with rows, names."""

import re
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    MetaData,
    String,
    UniqueConstraint,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import CompileError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import Mapped, mapped_column

import base_model
from base_model import BaseModel, VersionMixin, active_marker, unique_active, utcnow


class Order(VersionMixin, BaseModel):
    __tablename__ = "migration_orders"
    __table_args__ = (
        UniqueConstraint("shop", "number"),
        CheckConstraint("number > 0", name="positive"),
    )

    shop: Mapped[str] = mapped_column(String(50), index=True)
    number: Mapped[int]
    parent_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("migration_orders.id"))
    active: Mapped[bool | None] = active_marker()


class Login(BaseModel):
    __tablename__ = "migration_logins"
    __table_args__ = (unique_active("email"),)

    email: Mapped[str] = mapped_column(String(50), index=True)


class Legacy(VersionMixin, BaseModel):
    """A table that was there, with rows, before it had the mixins."""

    __tablename__ = "migration_legacy"

    name: Mapped[str] = mapped_column(String(50))


def own_metadata(*models: Any) -> MetaData:
    """The models' tables alone, since all tests share Base.metadata."""
    metadata = MetaData(naming_convention=base_model.NAMING_CONVENTION)
    for model in models:
        model.__table__.to_metadata(metadata)
    return metadata


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(database_url)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def run(connection: AsyncConnection, work: Callable[..., Any], *arguments: Any) -> Any:
    result = await connection.run_sync(work, *arguments)
    await connection.commit()
    return result


def models_for(dialect: str) -> list[Any]:
    return [Order] if dialect == "mysql" else [Order, Login]


def context(connection: Connection) -> MigrationContext:
    options = {"compare_type": True, "compare_server_default": True}
    return MigrationContext.configure(connection, opts=options)


async def test_a_created_schema_leaves_nothing_to_migrate(
    connection: AsyncConnection, dialect: str
) -> None:
    metadata = own_metadata(*models_for(dialect))
    await run(connection, metadata.create_all)
    assert await run(connection, lambda c: compare_metadata(context(c), metadata)) == []


async def test_the_rendered_migration_makes_the_same_schema(
    connection: AsyncConnection, dialect: str
) -> None:
    """Up, compared, down, and up again: every constraint has the name that it is dropped by."""
    metadata = own_metadata(*models_for(dialect))

    def migrate(sync: Connection, code: str) -> None:
        names: dict[str, Any] = {"sa": sqlalchemy, "base_model": base_model}
        names["op"] = Operations(context(sync))
        for module in re.findall(r"\b(mysql|postgresql)\.", code):
            names[module] = __import__(f"sqlalchemy.dialects.{module}", fromlist=["x"])
        exec(code, names)

    def render(sync: Connection) -> tuple[str, str]:
        script = produce_migrations(context(sync), metadata)
        assert script.upgrade_ops is not None
        assert script.downgrade_ops is not None
        options: Any = {"render_as_batch": dialect == "sqlite", "migration_context": context(sync)}
        up = render_python_code(script.upgrade_ops, **options)
        down = render_python_code(script.downgrade_ops, **options)
        return dedented(up), dedented(down)

    up, down = await run(connection, render)
    await run(connection, migrate, up)
    assert await run(connection, lambda c: compare_metadata(context(c), metadata)) == []
    await run(connection, migrate, down)
    assert await run(connection, lambda c: inspect(c).get_table_names()) == []
    await run(connection, migrate, up)


def dedented(code: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in code.splitlines())


MIXED_IN = ["created_at", "updated_at", "deleted_at", "version"]


def mixed_in_columns() -> list[Column[Any]]:
    return [own_metadata(Legacy).tables["migration_legacy"].c[name]._copy() for name in MIXED_IN]


def create_legacy(sync: Connection) -> None:
    """The table before, with three rows."""
    kind = {"postgresql": "UUID", "mysql": "CHAR(32)", "sqlite": "CHAR(32)"}[sync.dialect.name]
    sync.execute(
        text(
            f"CREATE TABLE migration_legacy (id {kind} NOT NULL, name VARCHAR(50) NOT NULL,"
            " CONSTRAINT pk_migration_legacy PRIMARY KEY (id))"
        )
    )
    for n in range(3):
        sync.execute(
            text("INSERT INTO migration_legacy VALUES (:id, :name)"),
            {"id": uuid.UUID(int=n).hex, "name": f"old {n}"},
        )


async def test_seed_15_the_mixins_can_be_added_to_a_table_with_rows(
    connection: AsyncConnection, dialect: str
) -> None:
    """With batch mode on SQLite, and a plain ALTER TABLE elsewhere."""

    def add(sync: Connection) -> None:
        operations = Operations(context(sync))
        if dialect == "sqlite":
            with operations.batch_alter_table("migration_legacy") as batch:
                for column in mixed_in_columns():
                    batch.add_column(column)
        else:
            for column in mixed_in_columns():
                operations.add_column("migration_legacy", column)

    await run(connection, create_legacy)
    await run(connection, add)
    assert await run(
        connection, lambda c: compare_metadata(context(c), own_metadata(Legacy))
    ) == []  # fmt: skip
    async with AsyncSession(connection, expire_on_commit=False) as session:
        rows = (await session.scalars(select(Legacy).order_by(Legacy.id))).all()
        assert [row.name for row in rows] == ["old 0", "old 1", "old 2"]
        for row in rows:
            assert abs(utcnow() - row.created_at) < timedelta(minutes=1)
            assert (row.version, row.deleted_at) == (1, None)
        before = rows[0].updated_at
        rows[0].name = "changed"
        await rows[1].soft_delete(session)
        await session.flush()
        assert rows[0].updated_at > before
        assert (rows[0].version, await Legacy.count(session)) == (2, 2)


@pytest.mark.dialects("sqlite")
async def test_sqlite_needs_batch_mode_for_it(connection: AsyncConnection) -> None:
    """As TimestampMixin says; this fails when SQLite has learnt it."""

    def add(sync: Connection) -> None:
        Operations(context(sync)).add_column("migration_legacy", mixed_in_columns()[0])

    await run(connection, create_legacy)
    with pytest.raises(OperationalError, match="Cannot add a column with non-constant default"):
        await run(connection, add)


@pytest.mark.dialects("mysql")
async def test_a_migration_cannot_make_a_wrong_index_on_mysql(connection: AsyncConnection) -> None:
    """The unique_active index that autogenerate writes is refused there, too."""

    def add(sync: Connection) -> None:
        sync.execute(text("CREATE TABLE t (email VARCHAR(50), deleted_at DATETIME(6))"))
        Operations(context(sync)).create_index(
            "ix_t_email_active",
            "t",
            ["email"],
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
            sqlite_where=text("deleted_at IS NULL"),
        )

    with pytest.raises(CompileError, match="active_marker"):
        await run(connection, add)
