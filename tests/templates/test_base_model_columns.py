"""base_model.py: types, names, keys, timestamps and versions, on all three databases."""

import enum
import threading
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import (
    Computed,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import CompileError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.schema import CreateTable

import base_model
from base_model import (
    Base,
    BaseModel,
    SimpleBaseModel,
    UTCDateTime,
    UUIDMixin,
    VersionMixin,
    unique_active,
    utcnow,
    uuid7,
)

NEW_YORK = timezone(timedelta(hours=-5))
MOMENT = datetime(2026, 3, 4, 23, 30, 15, 123456, tzinfo=NEW_YORK)


class Kind(enum.Enum):
    FIRST = "first-kind"
    SECOND = "second-kind"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 20


class Color(enum.StrEnum):
    RED = "r"


class OldColor(str, enum.Enum):  # noqa: UP042 (the form that people still write)
    BLUE = "b"


class Note(SimpleBaseModel):
    __tablename__ = "column_notes"

    title: Mapped[str] = mapped_column(String(50), default="")
    happened: Mapped[datetime | None]
    reference: Mapped[uuid.UUID | None]
    kind: Mapped[Kind | None]
    level: Mapped[Level | None]
    color: Mapped[Color | None]
    old_color: Mapped[OldColor | None]


class Generated(SimpleBaseModel):
    """A column of the database's making, and __mapper_args__ of its own."""

    __tablename__ = "column_generated"
    __mapper_args__ = {"confirm_deleted_rows": True}  # noqa: RUF012

    price: Mapped[int]
    double_price: Mapped[int] = mapped_column(Computed("price * 2", persisted=True))


class Document(VersionMixin, BaseModel):
    __tablename__ = "column_documents"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "document"}  # noqa: RUF012

    kind: Mapped[str] = mapped_column(String(20))
    body: Mapped[str] = mapped_column(String(50))


class Letter(Document):
    __tablename__ = "column_letters"
    __mapper_args__ = {"polymorphic_identity": "letter"}  # noqa: RUF012

    id: Mapped[uuid.UUID] = mapped_column(ForeignKey("column_documents.id"), primary_key=True)
    address: Mapped[str] = mapped_column(String(50))


class Named(BaseModel):
    __tablename__ = "column_named"
    __table_args__ = (
        UniqueConstraint("tenant", "email"),
        UniqueConstraint("tenant", "phone"),
        Index(None, "tenant", "email"),
        Index(None, "email", unique=True),
        unique_active("email"),
        unique_active("tenant", "email"),
        unique_active("tenant", "phone"),
    )

    tenant: Mapped[int] = mapped_column(index=True)
    email: Mapped[str] = mapped_column(String(50))
    phone: Mapped[str] = mapped_column(String(50))


TABLES = [m.__table__ for m in (Note, Generated, Document, Letter)]


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all, tables=TABLES)
    yield engine
    await engine.dispose()


@pytest.fixture
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


async def reloaded(session: AsyncSession, note: Note) -> Note:
    await session.commit()
    session.expunge_all()
    return await session.get_one(Note, note.id)


async def raw(session: AsyncSession, column: str) -> Any:
    return (await session.execute(text(f"SELECT {column} FROM column_notes"))).scalar_one()


# -- types


async def test_seed_10_a_datetime_comes_back_in_utc_with_microseconds(
    session: AsyncSession,
) -> None:
    note = await reloaded(session, await Note(happened=MOMENT).save(session))
    assert note.happened == MOMENT
    assert note.happened.tzinfo is UTC
    assert note.happened.microsecond == 123456
    assert note.created_at.tzinfo is UTC
    assert utcnow() - note.created_at < timedelta(minutes=1)
    found = await session.scalar(select(Note).where(Note.happened == MOMENT.astimezone(UTC)))
    assert found is note
    assert await session.scalar(select(func.max(Note.happened))) == MOMENT


async def test_the_database_holds_utc(session: AsyncSession, dialect: str) -> None:
    await Note(happened=MOMENT).save(session)
    column = "happened AT TIME ZONE 'UTC'" if dialect == "postgresql" else "happened"
    assert str(await raw(session, column)) == "2026-03-05 04:30:15.123456"


async def test_a_naive_datetime_is_refused(session: AsyncSession) -> None:
    naive = datetime(2026, 1, 1)
    with pytest.raises(StatementError, match=r"naive datetime .*write datetime\.now\(UTC\)"):
        await Note(happened=naive).save(session)
    await session.rollback()
    with pytest.raises(StatementError, match="naive datetime"):
        await session.scalars(select(Note).where(Note.happened > naive))
    with pytest.raises(StatementError, match="a datetime is expected"):
        await session.execute(update(Note).values(happened="2026-01-01"))


@pytest.mark.dialects("postgresql")
async def test_datetimes_take_part_in_interval_arithmetic(session: AsyncSession) -> None:
    await Note(happened=MOMENT).save(session)
    later = await session.scalar(select(Note.happened + timedelta(hours=1)))
    assert later == MOMENT + timedelta(hours=1)


async def test_enums_are_stored_by_value(session: AsyncSession) -> None:
    note = Note(kind=Kind.SECOND, level=Level.HIGH, color=Color.RED, old_color=OldColor.BLUE)
    note = await reloaded(session, await note.save(session))
    assert (note.kind, note.level) == (Kind.SECOND, Level.HIGH)
    assert note.color is Color.RED
    assert note.old_color is OldColor.BLUE
    columns = [await raw(session, c) for c in ("kind", "level", "color", "old_color")]
    assert columns == ["second-kind", "20", "r", "b"]
    assert Note.__table__.c.kind.type.length == 50  # room for longer members
    with pytest.raises(StatementError, match="not among the defined enum values"):
        await session.execute(update(Note).values(kind="third-kind"))


def test_a_string_without_length_fails_clearly_on_mysql() -> None:
    class Unbounded(SimpleBaseModel):
        __tablename__ = "column_unbounded"
        name: Mapped[str]

    with pytest.raises(CompileError, match=r"column_unbounded.*name.*VARCHAR requires a length"):
        CreateTable(Unbounded.__table__).compile(dialect=mysql.dialect())


# -- names


async def test_no_two_constraints_have_the_same_name(database_url: str, dialect: str) -> None:
    table = Named.__table__
    names = [str(c.name) for c in table.constraints] + [str(i.name) for i in table.indexes]
    assert sorted(names) == [
        "ix_column_named_email",
        "ix_column_named_email_active",
        "ix_column_named_tenant",
        "ix_column_named_tenant_email",
        "ix_column_named_tenant_email_active",
        "ix_column_named_tenant_phone_active",
        "pk_column_named",
        "uq_column_named_tenant_email",
        "uq_column_named_tenant_phone",
    ]
    if dialect == "mysql":
        return
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all, tables=[table])
        inside = await connection.run_sync(lambda c: inspect(c).get_indexes(table.name))
    await engine.dispose()
    assert {n for n in names if n.startswith("ix_")} <= {i["name"] for i in inside}


# -- keys


def test_uuid7_has_the_layout_of_the_rfc(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9562, appendix A.6: its example, from its fields."""
    rand_b = 0x18C4DC0C0C07398F
    tick = 0x017F22E279B0 << 42 | 0xCC3 << 30 | rand_b >> 32
    monkeypatch.setattr(base_model._Uuid7Clock, "tick", lambda: tick)
    monkeypatch.setattr(base_model.secrets, "randbits", lambda bits: rand_b & 0xFFFFFFFF)
    assert base_model._uuid7() == uuid.UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")


@pytest.mark.parametrize("make", [uuid7, base_model._uuid7])
def test_uuid7_is_unique_and_ordered_in_every_thread(make: Any) -> None:
    made: list[list[uuid.UUID]] = [[] for _ in range(4)]

    def work(mine: list[uuid.UUID]) -> None:
        mine.extend(make() for _ in range(5000))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    everything = {one for mine in made for one in mine}
    assert len(everything) == 20_000
    assert {one.version for one in everything} == {7}
    assert {one.variant for one in everything} == {uuid.RFC_4122}
    age = utcnow().timestamp() * 1000 - (max(everything).int >> 80)
    assert -5 < age < 60_000


def test_uuid7_goes_on_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = base_model._uuid7()
    monkeypatch.setattr(base_model.time, "time_ns", lambda: 0)
    after = [base_model._uuid7() for _ in range(100)]
    assert [before, *after] == sorted([before, *after])


def test_uuid7_counts_over_into_the_next_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_model.time, "time_ns", lambda: 5_000_000)
    monkeypatch.setattr(base_model._Uuid7Clock, "last", (5 << 42) + (1 << 42) - 2)
    full, over = base_model._uuid7(), base_model._uuid7()
    assert full < over
    assert (full.int >> 80, over.int >> 80) == (5, 6)


async def test_keys_sort_by_creation_in_the_database(session: AsyncSession, dialect: str) -> None:
    notes = [Note(title=str(n)) for n in range(300)]
    session.add_all(notes)
    await session.flush()
    assert all(note.id.version == 7 for note in notes)
    titles = (await session.scalars(select(Note.title).order_by(Note.id))).all()
    assert titles == [str(n) for n in range(300)]
    if dialect != "sqlite":
        query = "SELECT data_type FROM information_schema.columns WHERE table_name='column_notes'"
        kind = await session.scalar(text(query + " AND column_name='id'"))
        assert kind == {"postgresql": "uuid", "mysql": "char"}[dialect]


# -- timestamps


async def test_seed_09_timestamps_can_be_read_after_every_flush(session: AsyncSession) -> None:
    """No refresh and no MissingGreenlet, and each UPDATE moves updated_at."""
    note = await Note(title="new").save(session)
    assert note.created_at == note.updated_at
    for n in range(20):
        before = note.updated_at
        note.title = str(n)
        await session.flush()
        assert note.updated_at > before
    created, updated = note.created_at, note.updated_at
    note = await reloaded(session, note)
    assert (note.created_at, note.updated_at) == (created, updated)


async def test_a_change_moves_updated_at_beyond_a_clock_that_is_ahead(
    session: AsyncSession,
) -> None:
    ahead = utcnow() + timedelta(hours=1)
    note = await Note(title="new").save(session)
    note.title, note.updated_at = "set by hand", ahead
    await session.commit()
    assert note.updated_at == ahead
    note.title = "changed"
    await session.commit()
    assert note.updated_at == ahead + timedelta(microseconds=1)


async def test_many_rows_in_one_statement_have_both_timestamps(session: AsyncSession) -> None:
    await session.execute(insert(Note).values([{"title": "one"}, {"title": "two"}]))
    await session.execute(insert(Note), [{"title": "three"}, {"title": "four"}])
    notes = list(await session.scalars(select(Note)))
    assert len(notes) == 4
    for note in notes:
        assert abs(note.updated_at - note.created_at) < timedelta(seconds=1)


async def test_no_change_does_not_move_updated_at(session: AsyncSession) -> None:
    note = await Note(title="same").save(session)
    before = note.updated_at
    note.title = "same"
    await session.commit()
    assert (await reloaded(session, note)).updated_at == before


async def test_a_bulk_update_moves_updated_at(session: AsyncSession) -> None:
    note = await Note(title="new").save(session)
    before = note.updated_at
    await session.execute(update(Note).values(title="bulk"))
    assert (await reloaded(session, note)).updated_at > before


async def test_the_server_fills_in_utc_for_other_programs(
    session: AsyncSession, dialect: str
) -> None:
    """Also on a connection that lives in another time zone."""
    zone = {
        "postgresql": "SET TIME ZONE 'America/New_York'",
        "mysql": "SET time_zone = '-05:00'",
        "sqlite": "SELECT 1",
    }
    await session.execute(text(zone[dialect]))
    insert = text("INSERT INTO column_notes (id, title) VALUES (:id, 'raw')")
    for _ in range(3):
        key = uuid7()
        await session.execute(insert, {"id": str(key) if dialect == "postgresql" else key.hex})
    notes = (await session.scalars(select(Note))).all()
    for note in notes:
        assert abs(utcnow() - note.created_at) < timedelta(minutes=1)
        assert abs(utcnow() - note.updated_at) < timedelta(minutes=1)
    assert any(note.created_at.microsecond for note in notes)
    # As text, too, which is all that SQLite has, it compares with what Python writes.
    for note in notes:
        same = select(Note.id).where(Note.created_at == note.created_at)
        assert note.id in (await session.scalars(same)).all()


async def test_what_the_database_generates_is_read_back(session: AsyncSession) -> None:
    """eager_defaults hold although the model has __mapper_args__ of its own."""
    row = Generated(price=2)
    session.add(row)
    await session.flush()
    assert row.double_price == 4
    row.price = 5
    await session.commit()
    assert row.double_price == 10


def test_what_a_model_says_of_defaults_and_versions_itself_stays() -> None:
    class Own(VersionMixin, SimpleBaseModel):
        __tablename__ = "column_own"
        edition: Mapped[int] = mapped_column()
        __mapper_args__ = {"eager_defaults": False, "version_id_col": edition}  # noqa: RUF012

    assert inspect(Own).eager_defaults is False
    assert inspect(Own).version_id_col is Own.__table__.c.edition


async def test_updated_at_moves_when_only_a_child_table_changes(session: AsyncSession) -> None:
    letter = await Letter(body="dear", address="here").save(session)
    before = letter.updated_at
    letter.address = "there"
    await session.commit()
    assert letter.updated_at > before


# -- versions


async def test_the_second_of_two_writers_is_refused(
    engine: AsyncEngine, session: AsyncSession
) -> None:
    """Also with __mapper_args__ of the model's own, and in a joined subclass."""
    letter = await Letter(body="dear", address="here").save(session)
    await session.commit()
    assert letter.version == 1
    async with AsyncSession(engine) as other:
        theirs = await other.get_one(Letter, letter.id)
        theirs.body = "theirs"
        await other.commit()
    letter.body = "mine"
    with pytest.raises(StaleDataError):
        await session.commit()
    await session.rollback()
    await session.refresh(letter)
    assert (letter.body, letter.version) == ("theirs", 2)


async def test_a_version_sees_a_soft_delete(engine: AsyncEngine, session: AsyncSession) -> None:
    document = await Document(body="mine").save(session)
    await session.commit()
    async with AsyncSession(engine, expire_on_commit=False) as other:
        await (await other.get_one(Document, document.id)).soft_delete(other)
        await other.commit()
    document.body = "changed"
    with pytest.raises(StaleDataError):
        await session.commit()


async def test_a_bulk_update_is_not_covered_by_the_version(session: AsyncSession) -> None:
    document = await Document(body="mine").save(session)
    await session.execute(update(Document).values(body="bulk"))
    await session.refresh(document)
    assert (document.body, document.version) == ("bulk", 1)
    await session.execute(update(Document).values(body="again", version=Document.version + 1))
    await session.refresh(document)
    assert document.version == 2


def test_the_mixins_need_no_type_map() -> None:
    """They carry their types, so they also fit on a base that a project already has."""
    from sqlalchemy.orm import DeclarativeBase

    class Other(DeclarativeBase):
        pass

    class Thing(UUIDMixin, base_model.TimestampMixin, base_model.SoftDeleteMixin, Other):
        __tablename__ = "things"

    assert isinstance(Thing.__table__.c.created_at.type, UTCDateTime)
    assert isinstance(Thing.__table__.c.deleted_at.type, UTCDateTime)
    assert list(Thing.__table__.c.keys()) == ["id", "created_at", "updated_at", "deleted_at"]
