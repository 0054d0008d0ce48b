"""base_model.py: the common query methods, on all three databases."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import String, event, inspect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Mapped, deferred, mapped_column

import base_model
from base_model import Base, BaseModel, SimpleBaseModel, utcnow


class Person(BaseModel):
    __tablename__ = "query_people"
    updatable_fields = frozenset({"name", "note", "nmae"})
    private_fields = frozenset({"password_hash"})

    email: Mapped[str] = mapped_column(String(50), unique=True)
    name: Mapped[str] = mapped_column(String(50), default="")
    password_hash: Mapped[str] = mapped_column(String(50), default="secret")
    is_superuser: Mapped[bool] = mapped_column(default=False)
    note: Mapped[str | None] = deferred(mapped_column("note_column", String(50)))


class Plain(SimpleBaseModel):
    __tablename__ = "query_plain"

    name: Mapped[str] = mapped_column(String(50), default="")


class Pair(base_model.QueryMixin, Base):
    """A composite key of the user's own."""

    __tablename__ = "query_pairs"

    right: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    left: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(database_url)
    tables = [model.__table__ for model in (Person, Plain, Pair)]
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all, tables=tables)
    yield engine
    await engine.dispose()


@pytest.fixture
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


async def people(session: AsyncSession, count: int) -> list[Person]:
    rows = [Person(email=f"{n}@example.org", name="same") for n in range(count)]
    session.add_all(rows)
    await session.flush()
    return rows


async def test_save_flushes_and_does_not_commit(engine: AsyncEngine, session: AsyncSession) -> None:
    person = Person(email="a@b.c")
    assert await person.save(session) is person
    assert person.id is not None
    with pytest.raises(IntegrityError):
        await Person(email="a@b.c").save(session)
    await session.rollback()
    await Person(email="pending@b.c").save(session)
    async with AsyncSession(engine) as other:
        if engine.dialect.name != "sqlite":
            assert await Person.count(other) == 0
    await session.rollback()
    assert await Person.count(session) == 0


async def test_get_by_id(session: AsyncSession) -> None:
    person = await Person(email="a@b.c").save(session)
    assert await Person.get_by_id(session, person.id) is person
    assert await Person.get_by_id(session, base_model.uuid7()) is None
    plain = await Plain().save(session)
    assert await Plain.get_by_id(session, plain.id) is plain
    pair = await Pair(left=1, right=2).save(session)
    assert await Pair.get_by_id(session, (2, 1)) is pair


async def test_seed_19_pages_show_every_row_once(session: AsyncSession) -> None:
    """Although the column of the ORDER BY is the same in all rows, which change meanwhile."""
    rows = await people(session, 103)
    seen = []
    for offset in range(0, 110, 10):
        page = await Person.get_all(session, limit=10, offset=offset, order_by=[Person.name])
        assert len(page) <= 10
        seen += [person.email for person in page]
        # PostgreSQL moves changed rows to the end of the table.
        for row in rows[offset : offset + 5]:
            row.is_superuser = True
        await session.flush()
    assert seen == [f"{n}@example.org" for n in range(103)]
    first, *_ = await Person.get_all(session, order_by=[Person.email.desc()])
    assert first.email == "9@example.org"


async def test_get_all_and_count_filter(session: AsyncSession) -> None:
    rows = await people(session, 5)
    await rows[0].soft_delete(session)
    odd = Person.email.in_(["0@example.org", "1@example.org", "3@example.org"])
    assert [p.email[0] for p in await Person.get_all(session, odd)] == ["1", "3"]
    assert await Person.count(session) == 4
    assert await Person.count(session, odd, Person.name == "same") == 2
    assert await Person.count(session, odd, include_deleted=True) == 3
    assert len(await Person.get_all(session, odd, include_deleted=True)) == 3
    assert await Plain.count(session) == 0
    assert await Plain.get_all(session) == []


async def test_get_all_is_bounded(session: AsyncSession) -> None:
    await people(session, 101)
    assert len(await Person.get_all(session)) == 100
    for limit, offset in [(0, 0), (-1, 0), (base_model.MAX_PAGE + 1, 0), (10, -1)]:
        with pytest.raises(ValueError, match="limit is 1 to 1000, offset 0 or more"):
            await Person.get_all(session, limit=limit, offset=offset)


async def test_pages_of_a_composite_key(session: AsyncSession) -> None:
    session.add_all(Pair(left=n % 3, right=n % 5) for n in range(15))
    pairs = [(p.right, p.left) for p in await Pair.get_all(session)]
    assert pairs == sorted(pairs)


async def test_seed_14_update_takes_only_what_is_allowed(session: AsyncSession) -> None:
    person = await Person(email="a@b.c", name="old").save(session)
    before = person.updated_at
    assert await person.update(session, {"name": "new"}) is person
    assert (person.name, person.updated_at > before) == ("new", True)
    key = person.id
    for field in ["is_superuser", "id", "save", "metadata", "unknown", "nmae"]:
        with pytest.raises(
            ValueError, match=rf"Person.update\(\) may not set {field}; it may set name, note"
        ):
            await person.update(session, {"name": "half", field: "x"})
        assert person.name == "new"
    assert not session.dirty
    assert person.id == key
    plain = await Plain().save(session)
    with pytest.raises(ValueError, match="it may set nothing: see updatable_fields"):
        await plain.update(session, {"name": "x"})


@pytest.mark.parametrize("loaded", [True, False])
async def test_update_that_changes_nothing_moves_nothing(
    session: AsyncSession, loaded: bool
) -> None:
    """A PATCH with the values that are there (#14). Of an expired one, the old value is unknown."""
    person = await Person(email="a@b.c", name="same").save(session)
    before = person.updated_at
    await session.commit()
    if not loaded:
        session.expire(person, ["name"])
    await person.update(session, {"name": "same"})
    assert person.updated_at == before
    await session.refresh(person)
    assert person.updated_at == before
    await person.update(session, {"name": "other"})
    assert person.updated_at > before


async def test_update_does_not_commit(session: AsyncSession) -> None:
    person = await Person(email="a@b.c", name="old").save(session)
    await session.commit()
    await person.update(session, {"name": "new"})
    await session.rollback()
    await session.refresh(person)
    assert person.name == "old"


async def test_delete_removes_the_row_and_does_not_commit(session: AsyncSession) -> None:
    person = await Person(email="a@b.c").save(session)
    await session.commit()
    await person.delete(session)
    assert await Person.count(session, include_deleted=True) == 0
    await session.rollback()
    assert await Person.count(session) == 1


async def test_seed_08_to_dict_has_the_loaded_columns_without_private_ones(
    session: AsyncSession,
) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    person = Person(email="a@b.c", name="A", created_at=moment)
    given = {name: value for name, value in person.to_dict().items() if value is not None}
    assert given == {"email": "a@b.c", "name": "A", "created_at": moment}
    await person.save(session)
    await session.commit()
    assert list(person.to_dict()) == [
        "id", "email", "name", "is_superuser", "created_at", "updated_at", "deleted_at"
    ]  # fmt: skip
    assert set(person.to_dict(exclude=["created_at", "updated_at", "deleted_at", "id"])) == {
        "email",
        "name",
        "is_superuser",
    }
    session.expire(person, ["name"])
    assert "name" not in person.to_dict()
    await session.refresh(person, ["note"])
    assert person.to_dict()["note"] is None


async def test_repr_never_loads(engine: AsyncEngine, session: AsyncSession) -> None:
    assert repr(Person(email="a@b.c")) == "<Person id=None>"
    person = await Person(email="a@b.c").save(session)
    pair = await Pair(left=1, right=2).save(session)
    await session.commit()
    key = person.id
    session.expire_all()
    statements: list[str] = []
    event.listen(
        engine.sync_engine, "before_cursor_execute", lambda *args: statements.append(args[2])
    )
    assert repr(person) == f"<Person id={key}>"
    assert repr(pair) == "<Pair right=2, left=1>"
    session.expunge(person)
    assert repr(person) == f"<Person id={key}>"
    assert statements == []
    assert "email" in inspect(person).expired_attributes
    assert utcnow().tzinfo is UTC
