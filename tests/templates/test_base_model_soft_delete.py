"""base_model.py: soft delete, on all three databases."""

import asyncio
import pickle
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import (
    ForeignKey,
    String,
    UniqueConstraint,
    delete,
    event,
    exists,
    func,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.exc import CompileError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import (
    Mapped,
    aliased,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
    subqueryload,
)

from base_model import (
    INCLUDE_DELETED,
    Base,
    BaseModel,
    QueryMixin,
    SimpleBaseModel,
    active_marker,
    unique_active,
    utcnow,
    uuid7,
)


class Author(BaseModel):
    __tablename__ = "soft_authors"

    name: Mapped[str] = mapped_column(String(50))
    books: Mapped[list["Book"]] = relationship(
        back_populates="author", cascade="all, delete-orphan", passive_deletes=True
    )
    awards: Mapped[list["Award"]] = relationship(cascade="all, delete-orphan")
    fans: Mapped[list["Fan"]] = relationship()
    shelves: Mapped[list["Shelf"]] = relationship(cascade="all, delete-orphan")


class Book(BaseModel):
    __tablename__ = "soft_books"

    title: Mapped[str] = mapped_column(String(50))
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("soft_authors.id", ondelete="CASCADE"))
    author: Mapped[Author] = relationship(back_populates="books")
    pages: Mapped[list["Page"]] = relationship(cascade="all, delete-orphan")


class Page(BaseModel):
    __tablename__ = "soft_pages"

    number: Mapped[int]
    book_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("soft_books.id", ondelete="CASCADE"))


class Award(SimpleBaseModel):
    """Belongs to its author, but cannot be soft-deleted."""

    __tablename__ = "soft_awards"

    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("soft_authors.id", ondelete="CASCADE"))


class Fan(BaseModel):
    """Soft-deletable, but no cascade: lives on without the author."""

    __tablename__ = "soft_fans"

    author_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("soft_authors.id"))


class Folder(BaseModel):
    """A tree in one table."""

    __tablename__ = "soft_folders"

    parent_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("soft_folders.id"))
    children: Mapped[list["Folder"]] = relationship(cascade="all, delete-orphan")


class Shelf(BaseModel):
    __tablename__ = "soft_shelves"

    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("soft_authors.id", ondelete="CASCADE"))
    labels: Mapped[list["Label"]] = relationship(lazy="joined")


class Label(BaseModel):
    __tablename__ = "soft_labels"

    shelf_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("soft_shelves.id"))


class Account(BaseModel):
    __tablename__ = "soft_accounts"
    __table_args__ = (unique_active("email"),)

    email: Mapped[str] = mapped_column(String(50))


class MarkedAccount(BaseModel):
    __tablename__ = "soft_marked_accounts"
    __table_args__ = (UniqueConstraint("email", "active"),)

    email: Mapped[str] = mapped_column(String(50))
    active: Mapped[bool | None] = active_marker()


MODELS: list[Any] = [Author, Book, Page, Award, Fan, Folder, Shelf, Label, MarkedAccount]


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(database_url)
    tables = [model.__table__ for model in MODELS]
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all, tables=tables)
    yield engine
    await engine.dispose()


@pytest.fixture
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


@pytest.fixture
async def author(session: AsyncSession) -> Author:
    """An author with two books, the second of which is deleted; nothing of it in memory."""
    author = Author(name="Ada", books=[Book(title="kept"), Book(title="gone")], awards=[], fans=[])
    await author.save(session)
    await author.books[1].soft_delete(session)
    await session.commit()
    session.expunge_all()
    return author


async def commit_and_forget(session: AsyncSession) -> None:
    await session.commit()
    session.expunge_all()


async def titles(session: AsyncSession, statement: Any, **options: Any) -> list[str]:
    return sorted(await session.scalars(statement, execution_options=options))


async def test_seed_11_selects_hide_deleted_rows(session: AsyncSession, author: Author) -> None:
    other = aliased(Book)
    having_books = select(Book.author_id).where(Book.title == "gone")
    for statement in [
        select(Book.title),
        select(other.title),
        select(Book.title).where(Book.title.in_(["kept", "gone"])),
        select(Book.title).join(Book.author),
        select(Book.title).select_from(Author).join(Author.books),
        select(Book.title).select_from(Author).outerjoin(Author.books),
        select(select(Book.title).subquery().c.title),
        select(select(Book.title).cte().c.title),
        union_all(select(Book.title), select(Book.title).where(Book.title == "gone")),
    ]:
        assert await titles(session, statement) == ["kept"], statement
    assert [book.title for book in await session.scalars(select(Book))] == ["kept"]
    assert await session.scalar(select(func.count()).select_from(Book)) == 1
    assert await session.scalar(select(func.count(Book.id))) == 1
    assert (await session.scalars(select(Author).where(Author.id.in_(having_books)))).all() == []
    gone = select(Book.id).where(Book.title == "gone")
    assert not await session.scalar(select(gone.exists()))
    assert not await session.scalar(select(exists(Book.id).where(Book.title == "gone")))


@pytest.mark.parametrize("find", [exists().where(Book.title == "gone"), Author.books.any()])
async def test_exists_without_a_select_hides_deleted_rows_from_sqlalchemy_2_1_on(
    session: AsyncSession, author: Author, find: Any
) -> None:
    """As SoftDeleteMixin says."""
    await session.execute(delete(Book))
    found = (await session.scalars(select(Author).where(find))).all()
    assert bool(found) == sqlalchemy.__version__.startswith("2.0.")


async def test_one_option_shows_them(session: AsyncSession, author: Author) -> None:
    assert await titles(session, select(Book.title), include_deleted=True) == ["gone", "kept"]
    shown = select(Book.title).execution_options(include_deleted=True)
    assert await titles(session, shown) == ["gone", "kept"]
    assert await titles(session, select(Book.title)) == ["kept"]


async def test_core_statements_are_not_filtered(session: AsyncSession, author: Author) -> None:
    """As SoftDeleteMixin says."""
    assert await titles(session, select(Book.__table__.c.title)) == ["gone", "kept"]
    assert await titles(session, text("SELECT title FROM soft_books")) == ["gone", "kept"]


@pytest.mark.parametrize("load", [selectinload, joinedload, subqueryload])
async def test_eager_loads_hide_deleted_rows(
    session: AsyncSession, author: Author, load: Any
) -> None:
    statement = select(Author).options(load(Author.books))
    found = (await session.scalars(statement)).unique().one()
    assert [book.title for book in found.books] == ["kept"]
    session.expunge_all()
    shown = statement.execution_options(include_deleted=True)
    found = (await session.scalars(shown)).unique().one()
    assert sorted(book.title for book in found.books) == ["gone", "kept"]


async def test_lazy_loads_hide_deleted_rows(session: AsyncSession, author: Author) -> None:
    found = await session.get_one(Author, author.id)
    assert [book.title for book in await found.awaitable_attrs.books] == ["kept"]
    await session.refresh(found, ["books"])
    assert [book.title for book in found.books] == ["kept"]


async def test_a_lazy_load_on_an_object_that_no_query_made(session: AsyncSession) -> None:
    author = await Author(name="new").save(session)
    await Book(title="gone", author_id=author.id, deleted_at=utcnow()).save(session)
    assert await author.awaitable_attrs.books == []


@pytest.mark.dialects("sqlite")
async def test_loaded_objects_can_be_pickled(session: AsyncSession, author: Author) -> None:
    """For a cache: a lambda among their criteria would prevent it."""
    found = (await session.scalars(select(Author).options(selectinload(Author.books)))).one()
    copy = pickle.loads(pickle.dumps(found))
    assert (copy.id, copy.books[0].title) == (found.id, "kept")


async def test_a_refresh_of_a_parent_hides_its_deleted_children(
    session: AsyncSession, author: Author
) -> None:
    """Joined into the refresh of a row that is itself deleted."""
    found = await session.get_one(Author, author.id)
    found.deleted_at = utcnow()
    await session.flush()
    copy = Shelf(author_id=found.id)
    await copy.save(session)
    await copy.soft_delete(session)
    await Label(shelf_id=copy.id, deleted_at=utcnow()).save(session)
    await session.refresh(copy)
    await session.refresh(copy, ["labels"])
    assert copy.labels == []
    assert copy.is_deleted


async def test_a_many_to_one_to_a_deleted_row_reads_as_none(
    session: AsyncSession, author: Author
) -> None:
    book = (await session.scalars(select(Book))).one()
    await session.execute(update(Author).values(deleted_at=utcnow()))
    assert await book.awaitable_attrs.author is None
    assert book.author_id == author.id


async def test_get_hides_deleted_rows(session: AsyncSession, author: Author) -> None:
    gone = author.books[1].id
    assert await session.get(Book, gone) is None
    assert await Book.get_by_id(session, gone) is None
    shown = await session.get(Book, gone, execution_options={INCLUDE_DELETED: True})
    assert shown is not None
    assert shown.title == "gone"


async def test_get_after_a_soft_delete_in_the_same_session(
    session: AsyncSession, author: Author
) -> None:
    """get_by_id hides it; session.get takes what the session holds, as SoftDeleteMixin says."""
    book = await session.get_one(Book, author.books[0].id)
    await book.soft_delete(session)
    assert await Book.get_by_id(session, book.id) is None
    assert await Book.get_by_id(session, book.id, include_deleted=True) is book
    assert await session.get(Book, book.id) is book
    await commit_and_forget(session)
    assert await session.get(Book, book.id) is None


async def test_bulk_statements_leave_deleted_rows_alone(
    session: AsyncSession, author: Author
) -> None:
    renamed = await session.execute(update(Book).values(title="renamed"))
    assert renamed.rowcount == 1
    removed = await session.execute(delete(Book))
    assert removed.rowcount == 1
    assert await titles(session, select(Book.title), include_deleted=True) == ["gone"]
    shown = {INCLUDE_DELETED: True}
    removed = await session.execute(delete(Book), execution_options=shown)
    assert removed.rowcount == 1


async def test_a_bulk_update_by_primary_key_is_not_filtered(
    session: AsyncSession, author: Author
) -> None:
    """As SoftDeleteMixin says."""
    await session.execute(update(Book), [{"id": author.books[1].id, "title": "reached"}])
    assert await titles(session, select(Book.title), include_deleted=True) == ["kept", "reached"]


async def test_a_deleted_object_can_be_read_and_refreshed(
    session: AsyncSession, author: Author
) -> None:
    book = await session.get_one(Book, author.books[0].id)
    before, start = book.updated_at, utcnow()
    await book.soft_delete(session)
    assert book.deleted_at is not None
    assert start <= book.deleted_at <= utcnow()
    assert book.updated_at > before
    deleted_at = book.deleted_at
    await session.commit()
    await session.refresh(book)
    assert book.deleted_at == deleted_at
    await book.soft_delete(session)
    assert book.deleted_at == deleted_at


async def test_seed_13_nothing_commits(
    engine: AsyncEngine, session: AsyncSession, author: Author
) -> None:
    book = await session.get_one(Book, author.books[0].id)
    gone = await session.get_one(
        Book, author.books[1].id, execution_options={INCLUDE_DELETED: True}
    )
    await Author(name="pending").save(session)
    await book.soft_delete(session)
    await gone.restore(session)
    await session.rollback()
    async with AsyncSession(engine) as other:
        assert await titles(other, select(Author.name)) == ["Ada"]
        assert await titles(other, select(Book.title)) == ["kept"]


async def test_it_works_inside_a_begin_block(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, session.begin():
        author = await Author(name="Ada").save(session)
        await author.soft_delete(session)
        await author.restore(session)
        await author.soft_delete(session)


async def family(session: AsyncSession) -> Author:
    author = Author(
        name="Ada",
        books=[
            Book(title="one", pages=[Page(number=1), Page(number=2)]),
            Book(title="before", pages=[Page(number=3)]),
        ],
        awards=[Award()],
        fans=[Fan()],
    )
    await author.save(session)
    await author.books[1].soft_delete(session)
    await commit_and_forget(session)
    return await session.get_one(Author, author.id)


async def counts(session: AsyncSession) -> dict[str, int]:
    models: list[type[QueryMixin]] = [Author, Book, Page, Award, Fan]
    return {model.__name__: await model.count(session) for model in models}


async def test_children_follow_the_delete_cascade(session: AsyncSession) -> None:
    """Deleted and restored together, grandchildren too; others stay as they are."""
    author = await family(session)
    before = await counts(session)
    assert before == {"Author": 1, "Book": 1, "Page": 2, "Award": 1, "Fan": 1}

    await author.soft_delete(session)
    await commit_and_forget(session)
    assert await counts(session) == {"Author": 0, "Book": 0, "Page": 0, "Award": 1, "Fan": 1}
    assert await Page.count(session, include_deleted=True) == 3

    hidden = await Author.get_by_id(session, author.id, include_deleted=True)
    assert hidden is not None
    loaded: list[str] = []
    event.listen(Book, "load", note := lambda book, _: loaded.append(book.title))
    await hidden.restore(session)
    event.remove(Book, "load", note)
    assert loaded == ["one"], "what was deleted before is not even read"
    await commit_and_forget(session)
    assert await counts(session) == before
    assert await titles(session, select(Book.title)) == ["one"]


async def test_children_with_a_joined_collection_of_their_own(
    session: AsyncSession, author: Author
) -> None:
    """Each comes in as many rows as it has labels."""
    shelf = Shelf(author_id=author.id, labels=[Label(), Label()])
    await shelf.save(session)
    await commit_and_forget(session)
    (found,) = await Shelf.get_all(session)
    assert len(found.labels) == 2
    owner = await session.get_one(Author, author.id)
    await owner.soft_delete(session)
    assert await Shelf.count(session) == 0
    await owner.restore(session)
    assert await Shelf.count(session) == 1


async def test_a_child_that_is_added_is_no_change_of_its_parent(
    session: AsyncSession, author: Author
) -> None:
    found = await session.get_one(Author, author.id)
    before = found.updated_at
    (await found.awaitable_attrs.books).append(Book(title="new"))
    await session.commit()
    await session.refresh(found)
    assert found.updated_at == before
    assert await Book.count(session) == 2


async def test_a_tree_in_one_table_and_a_ring_in_it(session: AsyncSession) -> None:
    root = Folder(children=[Folder(children=[Folder()]), Folder()])
    await root.save(session)
    await commit_and_forget(session)
    root = await session.get_one(Folder, root.id)
    await root.soft_delete(session)
    assert await Folder.count(session) == 0
    await root.restore(session)
    assert await Folder.count(session) == 4
    first = (await root.awaitable_attrs.children)[0]
    root.parent_id = first.id
    await session.flush()
    async with asyncio.timeout(60):
        with session.no_autoflush:
            await root.soft_delete(session)
    assert await Folder.count(session) == 0


@pytest.mark.dialects("postgresql", "mysql")  # on SQLite, foreign keys are the engine's matter
async def test_delete_and_hidden_children(session: AsyncSession, author: Author) -> None:
    """Removed by ON DELETE CASCADE; without it the database refuses, as delete() says."""
    fan = await Fan(author_id=author.id).save(session)
    await fan.soft_delete(session)
    await commit_and_forget(session)
    found = await session.get_one(Author, author.id)
    with pytest.raises(IntegrityError):
        await found.delete(session)
    await session.rollback()
    await session.execute(delete(Fan), execution_options={INCLUDE_DELETED: True})
    found = await session.get_one(Author, author.id, populate_existing=True)
    await found.delete(session)
    await commit_and_forget(session)
    assert await Author.count(session, include_deleted=True) == 0
    assert await Book.count(session, include_deleted=True) == 0


@pytest.mark.dialects("sqlite", "postgresql")
async def test_seed_12_an_email_can_be_registered_again(session: AsyncSession) -> None:
    connection = await session.connection()
    await connection.run_sync(Base.metadata.create_all, tables=[Account.__table__])
    await session.commit()
    await registering_again(session, Account)


async def test_an_email_can_be_registered_again_with_the_marker(session: AsyncSession) -> None:
    await registering_again(session, MarkedAccount)


async def registering_again(session: AsyncSession, model: Any) -> None:
    for _ in range(3):
        account = await model(email="a@b.c").save(session)
        await account.soft_delete(session)
    await session.commit()
    active = await model(email="a@b.c").save(session)
    await session.commit()
    with pytest.raises(IntegrityError):
        await model(email="a@b.c").save(session)
    await session.rollback()
    await session.refresh(account)
    with pytest.raises(IntegrityError):
        await account.restore(session)
    await session.rollback()
    await session.refresh(active)
    await active.soft_delete(session)
    await session.refresh(account)
    await account.restore(session)
    await session.commit()
    assert await model.count(session) == 1
    assert await model.count(session, include_deleted=True) == 4


class Caseless(BaseModel):
    __tablename__ = "soft_caseless"
    __table_args__ = (unique_active(func.lower(text("email")), name="uq_caseless_email"),)

    email: Mapped[str] = mapped_column(String(100))


@pytest.mark.dialects("sqlite", "postgresql")
async def test_an_email_is_unique_whatever_its_case(session: AsyncSession) -> None:
    connection = await session.connection()
    await connection.run_sync(Base.metadata.create_all, tables=[Caseless.__table__])
    await Caseless(email="Ada@b.c").save(session)
    await session.commit()
    with pytest.raises(IntegrityError):
        await Caseless(email="aDA@B.c").save(session)
    await session.rollback()
    found = await session.scalar(select(Caseless).where(func.lower(Caseless.email) == "ada@b.c"))
    assert found is not None
    await found.soft_delete(session)
    await Caseless(email="ADA@b.c").save(session)
    assert await Caseless.count(session) == 1


@pytest.mark.dialects("mysql")
async def test_mysql_refuses_a_partial_unique_index(session: AsyncSession) -> None:
    """Without the refusal it would be unique over deleted rows, too."""
    connection = await session.connection()
    with pytest.raises(CompileError, match=r"MySQL has no partial indexes.*active_marker"):
        await connection.run_sync(Base.metadata.create_all, tables=[Account.__table__])


async def test_merge_does_not_find_a_deleted_row(session: AsyncSession, author: Author) -> None:
    """As SoftDeleteMixin says."""
    gone = author.books[1]
    await session.merge(Book(id=gone.id, title="merged", author_id=author.id))
    with pytest.raises(IntegrityError):
        await session.flush()


async def test_a_transient_object_is_no_children_problem(session: AsyncSession) -> None:
    author = Author(id=uuid7(), name="never saved")
    await author.soft_delete(session)
    assert await Author.count(session) == 0
    assert await Author.count(session, include_deleted=True) == 1


async def test_is_deleted_is_for_queries_too(session: AsyncSession) -> None:
    """`== False` and filter_by, which people write, returned nothing (#14)."""
    here, gone = Author(name="here"), Author(name="gone")
    session.add_all([here, gone])
    await session.flush()
    await gone.soft_delete(session)
    for condition, expected in (
        (Author.is_deleted == False, [here]),  # noqa: E712
        (~Author.is_deleted, [here]),
        (Author.is_deleted.is_(False), [here]),  # type: ignore[attr-defined]
        (Author.is_deleted, [gone]),
        (Author.is_deleted == True, [gone]),  # noqa: E712
    ):
        found = select(Author).where(condition).execution_options(include_deleted=True)
        assert (await session.scalars(found)).all() == expected
    assert (await session.scalars(select(Author).filter_by(is_deleted=False))).all() == [here]
    assert (await session.scalars(select(Author).filter_by(is_deleted=True))).all() == []
