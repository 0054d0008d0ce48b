"""The declarative base, and the mixins that models are built from.

```python
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from .base_model import BaseModel, unique_active


class Customer(BaseModel):
    __tablename__ = "customers"
    __table_args__ = (unique_active("email"),)
    updatable_fields = frozenset({"name"})
    private_fields = frozenset({"password_hash"})

    email: Mapped[str] = mapped_column(String(320))
    name: Mapped[str] = mapped_column(String(100))
    password_hash: Mapped[str] = mapped_column(String(200))
```

A type for money is `Money` in `examples/concurrency_patterns.py`.

What to change: MAX_PAGE, and BaseModel if your models need another set of mixins. Every model
must derive from this one Base, because Alembic sees only what its metadata holds.

Nothing here commits. Methods that write flush, so that constraints speak up at once and
generated values can be read; the caller knows where the unit of work ends, and commits.

PostgreSQL, SQLite, MySQL 8.0.13+ or MariaDB 10.5+; SQLAlchemy 2.0.58+ or 2.1.9+.
"""

import enum
import secrets
import sys
import threading
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Computed,
    Connection,
    DateTime,
    Dialect,
    Enum,
    Index,
    MetaData,
    Table,
    TypeDecorator,
    Uuid,
    event,
    func,
    select,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.exc import CompileError
from sqlalchemy.ext.asyncio import AsyncAttrs, AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    LoaderCallableStatus,
    Mapped,
    MappedColumn,
    Mapper,
    ORMExecuteState,
    PassiveFlag,
    Session,
    class_mapper,
    mapped_column,
    object_session,
    with_loader_criteria,
    with_parent,
)
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.compiler import DDLCompiler, SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeEngine

INCLUDE_DELETED = "include_deleted"
"""Execution option that shows soft-deleted rows to one statement."""

MAX_PAGE = 1000
"""Most rows that one get_all() returns."""


def _active_suffix(index: Index, _table: Table) -> str:
    return "_active" if index.info.get("active_only") else ""


# All columns are in the name (column_0_N_name), so that two uniques that begin with the same
# column do not collide; "active" keeps unique_active() apart from a plain index.
NAMING_CONVENTION: dict[str, Any] = {
    "active": _active_suffix,
    "ix": "ix_%(table_name)s_%(column_0_N_name)s%(active)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def utcnow() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(UTC)


class UTCDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored and read back in UTC with microseconds on every database.

    A naive value is refused with ValueError (SQLAlchemy wraps it in StatementError): whose
    clock it shows is unknown, and a guess shifts it silently by hours.
    """

    impl = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if not isinstance(value, datetime):
            raise TypeError(f"a datetime is expected here, not {value!r}")
        if value.utcoffset() is None:
            raise ValueError(
                f"naive datetime {value!r}: write datetime.now(UTC) in place of utcnow() or "
                "now(), and .replace(tzinfo=UTC) on a value that is known to be UTC"
            )
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def coerce_compared_value(self, op: OperatorType | None, value: object) -> TypeEngine[Any]:
        # `created_at + timedelta(days=1)`: the right side is an interval, not a datetime.
        if value is None or isinstance(value, datetime):
            return self
        return self.impl_instance.coerce_compared_value(op, value)


class utc_now_default(FunctionElement[datetime]):
    """Server default: the database's time now in UTC, in the form that UTCDateTime reads."""

    type = UTCDateTime()
    inherit_cache = True


@compiles(utc_now_default)
def _now(_element: utc_now_default, _compiler: SQLCompiler, **_: object) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(utc_now_default, "sqlite")
def _now_sqlite(_element: utc_now_default, _compiler: SQLCompiler, **_: object) -> str:
    # %f has milliseconds only; padded, so that text compares in the order of time.
    return "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"


@compiles(utc_now_default, "mysql", "mariadb")
def _now_mysql(_element: utc_now_default, _compiler: SQLCompiler, **_: object) -> str:
    # CURRENT_TIMESTAMP would be in the time zone of the connection.
    return "(utc_timestamp(6))"


class _Uuid7Clock:
    """The last 48-bit milliseconds and 42-bit counter that were used, as one number."""

    lock = threading.Lock()
    last = 0

    @classmethod
    def tick(cls) -> int:
        # The counter starts below half, so that counting on seldom carries into the milliseconds.
        start = time.time_ns() // 1_000_000 << 42 | secrets.randbits(41)
        with cls.lock:
            cls.last = max(cls.last + 1, start)
            return cls.last


def _uuid7() -> uuid.UUID:
    """UUID version 7 of RFC 9562 with a counter (section 6.2, method 1) and 32 random bits."""
    tick = _Uuid7Clock.tick()
    high = (tick >> 42) << 16 | 0x7000 | (tick >> 30 & 0xFFF)
    low = 0b10 << 62 | (tick & 0x3FFFFFFF) << 32 | secrets.randbits(32)
    return uuid.UUID(int=high << 64 | low)


# Time-ordered keys go to the end of the primary key's index; random ones (uuid4) all over it.
# Within a process each is larger than the one before, also when the clock is set back.
if sys.version_info >= (3, 14):
    uuid7 = uuid.uuid7
else:
    uuid7 = _uuid7


def _uuid_type() -> Uuid[uuid.UUID]:
    # MySQL has no UUID type, and MariaDB's is used by SQLAlchemy 2.1 only: CHAR(32) is the same
    # on both, readable, and sorts by time.
    return Uuid().with_variant(Uuid(native_uuid=False), "mysql", "mariadb")


class Base(AsyncAttrs, DeclarativeBase):
    """The one base of all models.

    - `Mapped[datetime]` is UTCDateTime, `Mapped[UUID]` a UUID.
    - `Mapped[SomeEnum]` is a VARCHAR(50) that holds the member's value. There is no database
      type or CHECK to change when a member is added; the ORM refuses what is no member.
    - `Mapped[str]` without a length is refused by MySQL ("VARCHAR requires a length"): write
      `mapped_column(String(100))`, or Text.
    - Values that the database generates are read back with every INSERT and UPDATE
      (eager_defaults): under asyncio they could not be loaded when first touched.
    """

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UTCDateTime(),
        uuid.UUID: _uuid_type(),
        enum.Enum: Enum(
            enum.Enum,
            native_enum=False,
            length=50,
            validate_strings=True,
            values_callable=lambda members: [str(member.value) for member in members],
        ),
    }

    def __repr__(self) -> str:
        """Class and primary key, from what is in memory: never a query, never other columns."""
        state = instance_state(self)
        names = [state.mapper.get_property_by_column(c).key for c in state.mapper.primary_key]
        key = state.identity or [state.dict.get(name) for name in names]
        pairs = ", ".join(f"{name}={value}" for name, value in zip(names, key, strict=True))
        return f"<{type(self).__name__} {pairs}>"


@event.listens_for(Base, "instrument_class", propagate=True)
def _eager_defaults(mapper: Mapper[Any], _class: type[Any]) -> None:
    # Not in Base.__mapper_args__: a model with __mapper_args__ of its own would lose it.
    if mapper.eager_defaults == "auto":
        mapper.eager_defaults = True


class UUIDMixin:
    """A time-ordered UUID as primary key `id`, made in Python at flush."""

    id: Mapped[uuid.UUID] = mapped_column(
        _uuid_type(), primary_key=True, default=uuid7, sort_order=-100
    )


def _created_at(context: DefaultExecutionContext) -> datetime:
    """A new row was last updated when it was created, not a microsecond later."""
    # get_current_parameters() fails for `insert(Model).values([{...}, {...}])`.
    parameters: Mapping[str, Any] = context.current_parameters or {}
    created: datetime = parameters.get("created_at") or utcnow()
    return created


class TimestampMixin:
    """`created_at` and `updated_at`, aware, in UTC.

    The ORM sets them in Python, so they can be read after a flush without a query. The server
    defaults fill rows that other programs insert, and existing rows when the columns are added
    to a table that has some (on SQLite in Alembic's batch mode). An ORM UPDATE, also a bulk
    one, moves updated_at; plain SQL does not (that takes a trigger).
    """

    created_at: Mapped[datetime] = mapped_column(
        UTCDateTime(), default=utcnow, server_default=utc_now_default(), sort_order=100
    )
    updated_at: Mapped[datetime] = mapped_column(
        UTCDateTime(),
        default=_created_at,
        onupdate=utcnow,
        server_default=utc_now_default(),
        sort_order=101,
    )


@event.listens_for(TimestampMixin, "before_update", propagate=True)
def _advance_updated_at(_mapper: Mapper[Any], _connection: Connection, row: TimestampMixin) -> None:
    """Move strictly forward, although another server's clock may be ahead of this one's."""
    session = object_session(row)
    changed = session is not None and session.is_modified(row, include_collections=False)
    if not changed or instance_state(row).attrs.updated_at.history.added:
        return
    now, before = utcnow(), instance_state(row).dict.get("updated_at")
    row.updated_at = max(now, before + timedelta(microseconds=1)) if before else now


class SoftDeleteMixin:
    """Rows that are marked as deleted, by `deleted_at`, and hidden.

    Hidden from every ORM statement: select (also aliased, in joins and subqueries), relationship
    loads, session.get, bulk UPDATE and DELETE; a many-to-one to a hidden row reads as None. One
    statement shows them with `.execution_options(include_deleted=True)`; a later lazy load is a
    statement of its own.

    Not hidden: Core statements on `Model.__table__` and raw SQL; bulk UPDATE by primary key
    (`session.execute(update(Model), [{...}])`); on SQLAlchemy 2.0 the insides of `any()`, `has()`
    and a bare `exists()` (write `select(...).exists()`); and an object that this session holds
    already, which session.get and a many-to-one take from memory (get_by_id does hide it).
    session.merge() does not find a hidden row and would INSERT it again.

    Children: soft_delete() and restore() follow the relationships with a delete cascade
    (`cascade="all, delete-orphan"`) whose children are soft-deletable, one SELECT for each; all
    others stay as they are. restore() brings back the children that were deleted together with
    the parent, not those deleted before.
    """

    deleted_at: Mapped[datetime | None] = mapped_column(UTCDateTime(), sort_order=102)

    @hybrid_property
    def is_deleted(self) -> bool:
        """Of a row; and `where(Model.is_deleted)` or `filter_by(is_deleted=True)` in a query,
        which shows what is hidden with `include_deleted` only."""
        return self.deleted_at is not None

    @is_deleted.inplace.expression
    @classmethod
    def _is_deleted(cls) -> ColumnElement[bool]:
        return cls.deleted_at.is_not(None)

    async def soft_delete(self, session: AsyncSession) -> None:
        """Hide this row and its children (see the class), and flush. Twice is harmless."""
        if self.deleted_at is None:
            await _set_deleted_at(session, self, utcnow())

    async def restore(self, session: AsyncSession) -> None:
        """Show this row again with the children that were deleted together with it; flush.

        IntegrityError if its place was taken meanwhile (unique_active).
        """
        if self.deleted_at is not None:
            await _set_deleted_at(session, self, None)


async def _set_deleted_at(
    session: AsyncSession, row: SoftDeleteMixin, deleted_at: datetime | None
) -> None:
    session.add(row)
    before = row.deleted_at
    rows = [row]
    while rows:
        parent = rows.pop()
        parent.deleted_at = deleted_at
        for relation in class_mapper(type(parent)).relationships:
            child = relation.mapper.class_
            if relation.cascade.delete and issubclass(child, SoftDeleteMixin):
                children = select(child).where(
                    with_parent(parent, relation.class_attribute), child.deleted_at == before
                )
                found = await session.scalars(children.execution_options(include_deleted=True))
                rows += [child for child in found.unique() if child.deleted_at == before]
    await session.flush()


def _is_active(model: type[SoftDeleteMixin]) -> ColumnElement[bool]:
    # A named function: loaded objects carry the criteria, and a lambda cannot be pickled.
    return model.deleted_at.is_(None)


_ONLY_ACTIVE = with_loader_criteria(SoftDeleteMixin, _is_active, include_aliases=True)


@event.listens_for(Session, "do_orm_execute")
def _hide_deleted(state: ORMExecuteState) -> None:
    hideable = state.is_select or state.is_update or state.is_delete
    if hideable and not state.execution_options.get(INCLUDE_DELETED, False):
        state.statement = state.statement.options(_ONLY_ACTIVE)


def unique_active(*columns: str | ColumnElement[Any], name: str | None = None) -> Index:
    """Unique among the rows that are not soft-deleted, for `__table_args__`.

    Without regard to case: `unique_active(func.lower(text("email")), name="uq_customers_email")`
    (an expression wants a name), and look it up by `func.lower(Customer.email) == email.lower()`.

    An e-mail address can then be registered again after its owner was deleted. A partial unique
    index: PostgreSQL and SQLite. MySQL has none and refuses this one when it is created; use
    active_marker() there.
    """
    active = text("deleted_at IS NULL")
    return Index(
        name,
        *columns,
        unique=True,
        postgresql_where=active,
        sqlite_where=active,
        info={"active_only": True},
    )


def active_marker() -> MappedColumn[bool | None]:
    """A generated column, true while the row is not deleted, then NULL: unique_active for MySQL.

    ```python
    from sqlalchemy import UniqueConstraint

    from .base_model import active_marker


    class Subscriber(BaseModel):
        __tablename__ = "subscribers"
        __table_args__ = (UniqueConstraint("email", "active"),)

        email: Mapped[str] = mapped_column(String(320))
        active: Mapped[bool | None] = active_marker()
    ```

    NULLs are never equal in a unique constraint. Works on all databases.
    """
    # 1 = 0 and not false: PostgreSQL and MariaDB give it back as written, so Alembic is quiet.
    return mapped_column(Boolean, Computed("NULLIF(deleted_at IS NULL, 1 = 0)", persisted=True))


@compiles(CreateIndex, "mysql", "mariadb")
def _refuse_partial_unique(create: CreateIndex, compiler: DDLCompiler, **options: object) -> str:
    index = create.element
    if index.unique and index.dialect_options["postgresql"]["where"] is not None:
        raise CompileError(
            f"MySQL has no partial indexes: {index.name} would be unique over deleted rows, too. "
            "Use active_marker() and a UniqueConstraint over it instead of unique_active()."
        )
    ddl: str = compiler.visit_create_index(create, **options)  # type: ignore[no-untyped-call]
    return ddl


class VersionMixin:
    """Optimistic locking: an UPDATE or DELETE of a row that someone else has changed since it
    was loaded raises StaleDataError and changes nothing.

    Not covered: bulk `update(Model)`, Core and raw SQL neither check the version nor raise it
    (add `version=Model.version + 1` to the values); nor does a change of a collection only. It
    compares with what this session loaded: if a client sends the version that it saw (If-Match),
    compare the two yourself.
    """

    version: Mapped[int] = mapped_column(server_default=text("1"), sort_order=103)


@event.listens_for(VersionMixin, "instrument_class", propagate=True)
def _version_id_col(mapper: Mapper[Any], _class: type[Any]) -> None:
    # Not in __mapper_args__, for the same reason as eager_defaults: locking would be lost.
    if mapper.version_id_col is None:
        mapper.version_id_col = mapper.local_table.c.version


class QueryMixin:
    """The common queries. Writing methods flush and never commit."""

    updatable_fields: ClassVar[Collection[str]] = frozenset()
    """The columns that update() may set; none until you name them."""

    private_fields: ClassVar[Collection[str]] = frozenset()
    """The columns that to_dict() never gives out."""

    @classmethod
    async def get_by_id(
        cls, session: AsyncSession, key: object, *, include_deleted: bool = False
    ) -> Self | None:
        """The row with this primary key (a tuple if it is composite), or None."""
        options = {INCLUDE_DELETED: include_deleted}
        row = await session.get(cls, key, execution_options=options)
        # session.get may have found it in memory, where nothing is hidden.
        hidden = isinstance(row, SoftDeleteMixin) and row.is_deleted and not include_deleted
        return None if hidden else row

    @classmethod
    async def get_all(
        cls,
        session: AsyncSession,
        *where: ColumnElement[bool],
        limit: int = 100,
        offset: int = 0,
        order_by: Sequence[ColumnElement[Any]] = (),
        include_deleted: bool = False,
    ) -> Sequence[Self]:
        """One page of the rows that match all conditions.

        The primary key ends every ORDER BY, so pages neither repeat nor skip rows that are equal
        in the others. ValueError unless 1 <= limit <= MAX_PAGE and offset >= 0.
        """
        if not 1 <= limit <= MAX_PAGE or offset < 0:
            raise ValueError(
                f"limit={limit}, offset={offset}: limit is 1 to {MAX_PAGE}, offset 0 or more"
            )
        statement = (
            select(cls)
            .where(*where)
            .order_by(*order_by, *class_mapper(cls).primary_key)
            .limit(limit)
            .offset(offset)
            .execution_options(include_deleted=include_deleted)
        )
        return (await session.scalars(statement)).unique().all()

    @classmethod
    async def count(
        cls, session: AsyncSession, *where: ColumnElement[bool], include_deleted: bool = False
    ) -> int:
        """How many rows match all conditions."""
        statement = select(func.count()).select_from(cls).where(*where)
        options = {INCLUDE_DELETED: include_deleted}
        return await session.scalar(statement, execution_options=options) or 0

    async def save(self, session: AsyncSession) -> Self:
        """Add this object and flush (everything in the session); generated values are loaded."""
        session.add(self)
        await session.flush()
        return self

    async def update(self, session: AsyncSession, values: Mapping[str, Any]) -> Self:
        """Set columns by name, and save. ValueError, and nothing is set, if a name is no column
        or is not in `updatable_fields`. Values that are there already change nothing."""
        allowed = {*class_mapper(type(self)).column_attrs.keys()} & {*self.updatable_fields}
        if refused := values.keys() - allowed:
            raise ValueError(
                f"{type(self).__name__}.update() may not set {', '.join(sorted(refused))}; "
                f"it may set {', '.join(sorted(allowed)) or 'nothing: see updatable_fields'}"
            )
        state = instance_state(self)
        if state.persistent and (unknown := state.unloaded & values.keys()):
            # Else the same value would be written again, and updated_at would move.
            await session.refresh(self, unknown)
        for name, value in values.items():
            setattr(self, name, value)
        return await self.save(session)

    async def delete(self, session: AsyncSession) -> None:
        """Remove the row for good and flush. To hide it, `soft_delete()`.

        Soft-deleted children are hidden from the ORM's cascade: give their foreign key
        ondelete="CASCADE", or the database refuses.
        """
        await session.delete(self)
        await session.flush()

    def to_dict(self, *, exclude: Collection[str] = ()) -> dict[str, Any]:
        """The columns that are loaded, by attribute name, without `private_fields`.

        Deferred and expired columns and relationships are left out, never loaded. Not for an
        API's answer: a column that is added later would appear in it. That is what a response
        model is for.
        """
        state = instance_state(self)
        hidden = {*self.private_fields, *exclude}
        values = {}
        for name in (attribute.key for attribute in state.mapper.column_attrs):
            # Not state.dict, which lacks a column that an INSERT left out: that one is None.
            impl = state.manager[name].impl
            value = impl.get(state, state.dict, PassiveFlag.PASSIVE_NO_FETCH)
            if name not in hidden and value is not LoaderCallableStatus.PASSIVE_NO_RESULT:
                values[name] = value
        return values


class SimpleBaseModel(UUIDMixin, TimestampMixin, QueryMixin, Base):
    """UUID key, timestamps and queries, for rows that are deleted for good."""

    __abstract__ = True


class BaseModel(UUIDMixin, TimestampMixin, SoftDeleteMixin, QueryMixin, Base):
    """UUID key, timestamps, queries and soft delete."""

    __abstract__ = True
