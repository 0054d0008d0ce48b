"""Twelve ways to use a session, from a FastAPI dependency to dynamic filters.

    python examples/async_context_examples.py [DATABASE_URL]

No function here commits a session that it was given: who opened a session ends its unit of work.
Only pattern 2 and the retry of 9 open one themselves, and therefore take the manager.

What each costs in statements, BEGIN and COMMIT not counted:

    1  dependency injection   2, however many posts
    2  manual session         2
    3  nested transaction     6; locks the post and both authors until the commit
    4  bulk                   1 for an insert of any size; 1 for each 1000 rows updated
    5  eager loading          4 with all relationships, 2 with one, however many users
    6  aggregation            1
    7  streaming              1, read in batches; keeps its connection until it is closed
    8  soft delete            3 and one for each post; the list of the deleted is 1
    9  errors and retries     3 (SAVEPOINT, INSERT, RELEASE), in up to 4 attempts
    10 transformation         2 from objects, 1 from columns
    11 pagination             3 by page number, 2 by cursor
    12 dynamic filters        3, whichever are set

MySQL and MariaDB take up to one more for each object that is updated, MySQL also for each that is
inserted: its generated columns are read back by a SELECT, where the others have RETURNING.
"""

import base64
import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Generic, Literal, TypeVar, cast

import pydantic
from fastapi import APIRouter, HTTPException
from pydantic import AwareDatetime, Field, StringConstraints
from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Executable,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, contains_eager, joinedload, selectinload

import _setup
from base_model import UTCDateTime, utcnow, uuid7
from retries import run_in_transaction
from session_manager import DatabaseSessionManager, ReadOnlyDbSession
from user_model import Post, Role, User, UserStatus, seed

T = TypeVar("T")

MAX_SIZE = 100
"""Most items on a page."""

MAX_OFFSET = 10_000
"""How deep a page number may reach: the database reads all rows before it and drops them."""

CHUNK = 1000
"""Values in one IN list. asyncpg takes 32,767 parameters in a statement, and no more."""


class NotFoundError(LookupError):
    """There is no such row, or it was deleted."""


class EmailTakenError(Exception):
    """A user who is not deleted has this address."""


class BadRequestError(ValueError):
    """A value of the client is refused. The text may be shown to it."""


class InvalidCursorError(BadRequestError):
    """The cursor was changed, or is of another list."""

    def __init__(self) -> None:
        super().__init__("this cursor is not one of this list: begin with the first page")


# PostgreSQL cannot store the character NUL in a text, and says so with an error.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", strip_whitespace=True)]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=100)]
Email = Annotated[
    Text, StringConstraints(pattern=r"^[^@\s\x00]+@[^@\s\x00]+$", max_length=320, to_lower=True)
]


class NewUser(pydantic.BaseModel):
    """What it takes to make a user, checked."""

    email: Email
    name: Name
    password_hash: str = Field(repr=False, max_length=200)
    status: UserStatus = UserStatus.ACTIVE


class UserOut(pydantic.BaseModel):
    """A user as others may see it. It has no field for the password's hash, so none can leak."""

    id: uuid.UUID
    email: str
    name: str
    status: UserStatus
    roles: list[str]
    created_at: datetime


class PostOut(pydantic.BaseModel):
    id: uuid.UUID
    title: str
    author: str
    tags: list[str]
    views: int
    published_at: datetime | None


class UserWithPosts(pydantic.BaseModel):
    id: uuid.UUID
    name: str
    posts: list[str]


def user_out(user: User) -> UserOut:
    """Needs `roles` to be loaded."""
    return UserOut(
        id=user.id,
        email=user.email,
        name=user.name,
        status=user.status,
        roles=[role.name for role in user.roles],
        created_at=user.created_at,
    )


def post_out(post: Post) -> PostOut:
    """Needs `author` and `tags` to be loaded."""
    return PostOut(
        id=post.id,
        title=post.title,
        author=post.author.name,
        tags=[tag.name for tag in post.tags],
        views=post.views,
        published_at=post.published_at,
    )


# 1. Dependency injection

router = APIRouter()


@router.get("/users/{user_id}/posts")
async def user_with_posts(user_id: uuid.UUID, session: ReadOnlyDbSession) -> UserWithPosts:
    """An endpoint: FastAPI opens the session before, and closes it before the response is sent.

    An endpoint that writes takes `DbSession` instead. The answer is built here, while the session
    is open; a mapped object would be read after it is closed.
    """
    statement = select(User).where(User.id == user_id).options(selectinload(User.posts))
    user = (await session.scalars(statement)).one_or_none()
    if user is None:
        raise HTTPException(404, "there is no such user")
    return UserWithPosts(id=user.id, name=user.name, posts=[post.title for post in user.posts])


# 2. Manual session


async def rename_user(database: DatabaseSessionManager, user_id: uuid.UUID, name: str) -> str:
    """A unit of work outside of a request: in a script, a worker, a background task.

    `begin()` commits at the end of the block, also when it is left by `return`, and rolls back
    what an exception leaves. Returns the old name.
    """
    async with database.begin() as session:
        user = await User.get_by_id(session, user_id)
        if user is None:
            raise NotFoundError(f"there is no user {user_id}")
        before = user.name
        await user.update(session, {"name": name})
        return before


# 3. Nested transaction

Note = Callable[[AsyncSession, User, Post], Awaitable[None]]


async def note_given_away(session: AsyncSession, old_author: User, post: Post) -> None:
    """Remember in the preferences of the old author what was given away."""
    titles = old_author.preferences.get("given_away", [])
    # A new list: the change inside of the old one would not be noticed.
    old_author.preferences["given_away"] = [*titles, post.title]
    await session.flush()


async def transfer_post(
    session: AsyncSession,
    post_id: uuid.UUID,
    new_author_id: uuid.UUID,
    *,
    note: Note = note_given_away,
) -> bool:
    """Give a post to another author. False if that could not be noted for the old one.

    The note is in a savepoint: when a statement of it fails, only the savepoint is undone, and
    the post is given all the same. What was changed within a savepoint that was undone is
    expired: read nothing of `old_author` after that.

    The rows are locked, since a note that is read, changed and written back would lose one that
    is made meanwhile; both authors in the order of their keys, so that two opposite transfers
    wait for each other instead of forming a deadlock.
    """
    # populate_existing: an object that the session holds already would keep what it had when it
    # was read, before the lock.
    fresh = {"populate_existing": True}
    locked_post = select(Post).where(Post.id == post_id).with_for_update()
    post = (await session.scalars(locked_post, execution_options=fresh)).one_or_none()
    if post is None:
        raise NotFoundError(f"there is no post {post_id}")
    ids = {post.author_id, new_author_id}
    locked_users = select(User).where(User.id.in_(ids)).order_by(User.id).with_for_update()
    found = await session.scalars(locked_users, execution_options=fresh)
    authors = {user.id: user for user in found}
    if new_author_id not in authors:
        raise NotFoundError(f"there is no user {new_author_id}")
    old_author = authors.get(post.author_id)  # before it is another one
    post.author = authors[new_author_id]
    await session.flush()
    if old_author is None:
        return False
    try:
        async with session.begin_nested():
            await note(session, old_author, post)
    except SQLAlchemyError:
        return False
    return True


# 4. Bulk


async def bulk_create_users(session: AsyncSession, users: Sequence[NewUser]) -> list[uuid.UUID]:
    """Insert any number of users; their keys in the same order.

    A list beside the statement is sent as one batch. In `insert().values([...])` each value would
    be a parameter of one huge statement, which is slower and ends at 32,767 of them; `add_all`
    builds an object for each row. No objects also means: no `@validates`, which is why NewUser
    brings the address into its form.
    """
    rows = [{"id": uuid7(), "preferences": {}, **user.model_dump()} for user in users]
    if rows:  # an empty list would insert one row of defaults
        await session.execute(insert(User), rows)
    return [row["id"] for row in rows]


async def bulk_update_status(
    session: AsyncSession, user_ids: Sequence[uuid.UUID], status: UserStatus
) -> int:
    """Set the status of these users; how many had another one. A deleted user stays as it is."""
    changed = 0
    for start in range(0, len(user_ids), CHUNK):
        statement = (
            update(User)
            .where(User.id.in_(user_ids[start : start + CHUNK]), User.status != status)
            .values(status=status)
        )
        result = await session.execute(statement)
        changed += cast(CursorResult[Any], result).rowcount
    return changed


# 5. Eager loading


async def users_with_relationships(session: AsyncSession) -> Sequence[User]:
    """All users by name with posts, their tags, roles and manager: 4 statements.

    selectinload for collections: one statement for those of all users. joinedload for a single
    object, which fits into the row. A joined collection repeats the user in each of its rows, and
    two of them multiply.
    """
    statement = (
        select(User)
        .order_by(User.name, User.id)
        .options(
            selectinload(User.posts).selectinload(Post.tags),
            selectinload(User.roles),
            joinedload(User.manager),
        )
    )
    return (await session.scalars(statement)).all()


async def user_with_roles(session: AsyncSession, user_id: uuid.UUID) -> User | None:
    """One user with the roles and nothing else: 2 statements. Touching `posts` then raises
    InvalidRequestError (the mapping says lazy="raise") instead of loading them."""
    statement = select(User).where(User.id == user_id).options(selectinload(User.roles))
    return (await session.scalars(statement)).one_or_none()


# 6. Aggregation


@dataclass(frozen=True)
class AuthorTotals:
    id: uuid.UUID
    name: str
    posts: int
    views: int


async def users_with_post_count(session: AsyncSession) -> list[AuthorTotals]:
    """All users by name with their posts and views; those without a post have 0.

    A deleted post is not counted. The condition for that is put into the ON of the outer join; in
    a WHERE it would drop the users whose posts are all deleted.
    """
    statement = select(*_TOTALS).outerjoin(User.posts).group_by(User.id, User.name)
    return await _totals(session, statement.order_by(User.name, User.id))


async def top_authors(session: AsyncSession, limit: int = 10) -> list[AuthorTotals]:
    """The users whose published posts were seen most."""
    statement = (
        select(*_TOTALS)
        .join(User.posts)
        .where(Post.is_published)
        .group_by(User.id, User.name)
        # The key at the end: of two with equal views always the same one is in the list.
        .order_by(func.sum(Post.views).desc(), User.id)
        .limit(limit)
    )
    return await _totals(session, statement)


# count(Post.id), not count(*): a user without posts is a row, too, but has no post in it.
_TOTALS = (User.id, User.name, func.count(Post.id), func.coalesce(func.sum(Post.views), 0))


async def _totals(session: AsyncSession, statement: Executable) -> list[AuthorTotals]:
    rows = await session.execute(statement)
    # A SUM of integers is a Decimal on PostgreSQL and MySQL.
    return [AuthorTotals(key, name, posts, int(views)) for key, name, posts, views in rows]


# 7. Streaming


@dataclass(frozen=True)
class PostLine:
    id: uuid.UUID
    title: str
    views: int


async def stream_posts(
    session: AsyncSession, *, batch: int = 500
) -> AsyncGenerator[list[PostLine], None]:
    """All posts in batches, with one batch in memory.

    `yield_per` is what bounds the memory: `stream()` without it fetches all rows first. Whoever
    may leave early wraps it, so that the cursor is closed at once:

        async with aclosing(stream_posts(session)) as batches:
            async for lines in batches: ...

    The session can do nothing else meanwhile (MySQL has one result for each connection).
    """
    statement = select(Post.id, Post.title, Post.views).order_by(Post.id)
    result = await session.stream(statement, execution_options={"yield_per": batch})
    try:
        async for rows in result.partitions():
            yield [PostLine(*row) for row in rows]
    finally:
        await result.close()


# 8. Soft delete


@dataclass(frozen=True)
class DeletedUser:
    id: uuid.UUID
    email: str
    deleted_at: datetime


async def soft_delete_user(session: AsyncSession, user_id: uuid.UUID) -> None:
    """Hide a user and the posts. NotFoundError if that was done before."""
    user = await User.get_by_id(session, user_id)
    if user is None:
        raise NotFoundError(f"there is no user {user_id}")
    await user.soft_delete(session)


async def deleted_users(session: AsyncSession) -> list[DeletedUser]:
    """The deleted, last one first. Only a statement that asks for deleted rows sees them."""
    statement = (
        select(User.id, User.email, User.deleted_at)
        .where(User.deleted_at.is_not(None))
        .order_by(User.deleted_at.desc(), User.id)
        .execution_options(include_deleted=True)
    )
    rows = await session.execute(statement)
    return [DeletedUser(key, email, at) for key, email, at in rows if at is not None]


async def restore_user(session: AsyncSession, user_id: uuid.UUID) -> User:
    """Show a user again, with the posts that were deleted together with it.

    EmailTakenError if someone else has the address now; the session can still be used.
    """
    user = await User.get_by_id(session, user_id, include_deleted=True)
    if user is None:
        raise NotFoundError(f"there is no user {user_id}")
    email = user.email  # cannot be read any more when the savepoint was undone
    await session.flush()
    try:
        async with session.begin_nested():
            await user.restore(session)
    except IntegrityError as error:
        if is_unique_violation(error):
            raise EmailTakenError(email) from error
        raise
    return user


async def purge_deleted_users(session: AsyncSession, before: datetime) -> int:
    """Remove for good who was deleted before this (aware) time; the database removes the posts."""
    statement = delete(User).where(User.deleted_at < before)
    result = await session.execute(statement, execution_options={"include_deleted": True})
    return cast(CursorResult[Any], result).rowcount


# 9. Errors and retries


def is_unique_violation(error: IntegrityError) -> bool:
    """Whether a row with this value exists, and not, say, a foreign key points nowhere."""
    return (
        getattr(error.orig, "sqlstate", None) == "23505"
        or getattr(error.orig, "sqlite_errorcode", None) in (1555, 2067)
        or next(iter(getattr(error.orig, "args", ())), None) == 1062
    )


async def add_user(session: AsyncSession, new: NewUser) -> User:
    """Add a user. EmailTakenError if the address is in use; the session can still be used.

    It does not look first whether the address is free: between the look and the INSERT another
    request can take it. The savepoint undoes the INSERT, and nothing else of the caller.
    """
    # What the caller has pending is written first: its errors are not of this address, and the
    # savepoint would undo it, too.
    await session.flush()
    user = User(**new.model_dump(), roles=[])
    try:
        async with session.begin_nested():
            await user.save(session)
    except IntegrityError as error:
        if is_unique_violation(error):
            raise EmailTakenError(new.email) from error
        raise
    return user


async def create_user_with_retry(database: DatabaseSessionManager, new: NewUser) -> UserOut:
    """Add a user in a transaction of its own, again after a deadlock or a lost connection.

    A duplicate is raised at once: it would be one the next time, too. What is retried is the
    whole transaction, in a new session: after an error the old one cannot go on, and to roll back
    a session of the caller would lose the caller's work.
    """

    async def work(session: AsyncSession) -> UserOut:
        return user_out(await add_user(session, new))

    return await run_in_transaction(database, work)


# 10. Transformation


@dataclass(frozen=True)
class UserCard:
    id: uuid.UUID
    name: str


async def users_as_dtos(session: AsyncSession) -> list[UserOut]:
    """All users by name with their roles, as plain values that outlive the session."""
    statement = select(User).order_by(User.name, User.id).options(selectinload(User.roles))
    return [user_out(user) for user in await session.scalars(statement)]


async def user_cards(session: AsyncSession) -> list[UserCard]:
    """The same from two columns. No objects are built and tracked, which is most of the time that
    a large list takes; the soft-deleted are hidden here as well."""
    statement = select(User.id, User.name).order_by(User.name, User.id)
    return [UserCard(*row) for row in await session.execute(statement)]


# 11. Pagination

Columns = Mapping[str, InstrumentedAttribute[Any]]

# What a client may sort by. Each is NOT NULL: a NULL is neither before nor after a cursor.
POST_SORTS: Columns = {"created_at": Post.created_at, "title": Post.title, "views": Post.views}
USER_SORTS: Columns = {"created_at": User.created_at, "email": User.email, "name": User.name}


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]
    page: int
    size: int
    total: int


class CursorPage(pydantic.BaseModel, Generic[T]):
    items: list[T]
    next_cursor: str | None
    """None on the last page."""


def parse_sort(sort: str, columns: Columns) -> tuple[InstrumentedAttribute[Any], bool]:
    """The column of `title` or `-title`, and whether it descends. BadRequestError for any name
    that is not in `columns`: to sort by the hash of the password would publish its order."""
    name = sort.removeprefix("-")
    if name not in columns:
        raise BadRequestError(f"sort by one of {', '.join(columns)}, with a - before it to reverse")
    return columns[name], sort.startswith("-")


def check_size(size: int) -> None:
    if not 1 <= size <= MAX_SIZE:
        raise BadRequestError(f"size={size}: it is 1 to {MAX_SIZE}")


def page_offset(page: int, size: int) -> int:
    """How many rows are before this page. BadRequestError if there is no such page."""
    check_size(size)
    if page < 1:
        raise BadRequestError(f"page={page}: the first page is 1")
    if (page - 1) * size > MAX_OFFSET:
        raise BadRequestError(f"page={page}: pages end at row {MAX_OFFSET}; search more narrowly")
    return (page - 1) * size


def _published(author_id: uuid.UUID | None) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = [Post.published_at.is_not(None)]
    if author_id is not None:
        where.append(Post.author_id == author_id)
    return where


async def posts_page(
    session: AsyncSession,
    *,
    page: int = 1,
    size: int = 20,
    sort: str = "-created_at",
    author_id: uuid.UUID | None = None,
) -> Page[PostOut]:
    """Published posts by page number, with the total.

    For people who jump to a page. The total counts all rows each time, and a post that is added
    at the front moves the others: one is seen again on the next page.
    """
    offset = page_offset(page, size)
    column, descends = parse_sort(sort, POST_SORTS)
    where = _published(author_id)
    # An inner join: a post is shown with its author, and without one it is not shown at all.
    counted = select(func.count()).select_from(Post).join(Post.author).where(*where)
    total = await session.scalar(counted)
    statement = (
        select(Post)
        .join(Post.author)
        .where(*where)
        .options(contains_eager(Post.author), selectinload(Post.tags))
        .order_by(*_in_order(column, Post.id, descends))
        .limit(size)
        .offset(offset)
    )
    items = [post_out(post) for post in await session.scalars(statement)]
    return Page(items=items, page=page, size=size, total=total or 0)


def _in_order(
    column: InstrumentedAttribute[Any], key: InstrumentedAttribute[uuid.UUID], descends: bool
) -> list[ColumnElement[Any]]:
    # The key breaks ties: without it rows that are equal in `column` come in any order, another
    # one for each page, so that some are shown twice and some never.
    return [column.desc(), key.desc()] if descends else [column.asc(), key.asc()]


@dataclass(frozen=True)
class Cursors:
    """Writes and reads cursors: where a page ended, signed, so that only ours are accepted.

    `secret` has 16 bytes or more, the same in all processes of the service. A cursor is bound to
    its list, sort and filters included. It is not encrypted: it holds values of the last row.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < 16:
            raise ValueError("the secret of cursors needs 16 bytes or more")

    def write(self, listing: str, position: Sequence[str | int]) -> str:
        payload = json.dumps(position, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._sign(listing, payload) + payload).decode()

    def read(self, listing: str, cursor: str) -> list[Any]:
        """InvalidCursorError, whatever is wrong with it."""
        try:
            signed = base64.urlsafe_b64decode(cursor)
        except ValueError:
            raise InvalidCursorError from None
        payload = signed[16:]
        # Decoding skips what is no base64, so that a changed text may still be the same bytes.
        is_ours = hmac.compare_digest(signed[:16], self._sign(listing, payload))
        if not is_ours or base64.urlsafe_b64encode(signed).decode() != cursor:
            raise InvalidCursorError
        position: list[Any] = json.loads(payload)
        return position

    def _sign(self, listing: str, payload: bytes) -> bytes:
        text = json.dumps(listing).encode() + payload
        return hmac.digest(self.secret, text, hashlib.sha256)[:16]


async def posts_after(
    session: AsyncSession,
    cursors: Cursors,
    *,
    cursor: str | None = None,
    size: int = 20,
    sort: str = "-created_at",
    author_id: uuid.UUID | None = None,
) -> CursorPage[PostOut]:
    """Published posts after a cursor (None: from the start), in a stable order.

    The next page begins after the last row that was seen, wherever that is by now: nothing is
    shown twice or left out because of what was added or deleted before it. An index on the sorted
    column and the key leads there, where an offset reads and drops all rows before.
    """
    check_size(size)
    column, descends = parse_sort(sort, POST_SORTS)
    listing = f"posts sort={sort} author={author_id}"
    where = _published(author_id)
    if cursor is not None:
        value, key = cursors.read(listing, cursor)
        value = datetime.fromisoformat(value) if isinstance(column.type, UTCDateTime) else value
        where.append(_after(column, value, Post.id, uuid.UUID(key), descends))
    statement = (
        select(Post)
        .join(Post.author)
        .where(*where)
        .options(contains_eager(Post.author), selectinload(Post.tags))
        .order_by(*_in_order(column, Post.id, descends))
        .limit(size + 1)  # the one too many tells that there is a next page
    )
    posts = (await session.scalars(statement)).all()
    following = None
    if len(posts) > size:
        value = getattr(posts[size - 1], column.key)
        value = value.isoformat() if isinstance(value, datetime) else value
        following = cursors.write(listing, [value, posts[size - 1].id.hex])
    return CursorPage(items=[post_out(post) for post in posts[:size]], next_cursor=following)


def _after(
    column: InstrumentedAttribute[Any],
    value: object,
    key: InstrumentedAttribute[uuid.UUID],
    last: uuid.UUID,
    descends: bool,
) -> ColumnElement[bool]:
    # `(column, key) > (value, last)`, written out: MySQL uses no index for a comparison of rows.
    # The first condition is implied by the second, and is the one that an index can start from.
    if descends:
        return and_(column <= value, or_(column < value, key < last))
    return and_(column >= value, or_(column > value, key > last))


# 12. Dynamic filters


class UserSearch(pydantic.BaseModel):
    """What a client may ask for. As `Annotated[UserSearch, Query()]` FastAPI reads it from the
    query string; any other name is refused."""

    model_config = pydantic.ConfigDict(extra="forbid")

    text: Annotated[Text, StringConstraints(max_length=100)] | None = None
    status: UserStatus | None = None
    role: Annotated[Text, StringConstraints(max_length=50)] | None = None
    created_after: AwareDatetime | None = None
    with_posts: bool | None = None
    sort: Literal["name", "-name", "email", "-email", "created_at", "-created_at"] = "name"
    page: int = Field(default=1, ge=1, le=MAX_OFFSET + 1)
    size: int = Field(default=20, ge=1, le=MAX_SIZE)


def user_conditions(search: UserSearch) -> list[ColumnElement[bool]]:
    """A condition for each filter that is set."""
    conditions: list[ColumnElement[bool]] = []
    if search.text is not None:
        # autoescape: % and _ in the text are two characters like others, not wildcards.
        contains = (column.icontains(search.text, autoescape=True) for column in _SEARCHED)
        conditions.append(or_(*contains))
    if search.status is not None:
        conditions.append(User.status == search.status)
    if search.role is not None:
        conditions.append(User.roles.any(Role.name == search.role))
    if search.created_after is not None:
        conditions.append(User.created_at > search.created_after)
    if search.with_posts is not None:
        # Not User.posts.any(): on SQLAlchemy 2.0 that sees deleted posts.
        has_posts = select(Post.id).where(Post.author_id == User.id).exists()
        conditions.append(has_posts if search.with_posts else ~has_posts)
    return conditions


_SEARCHED = (User.name, User.email)


async def search_users(session: AsyncSession, search: UserSearch) -> Page[UserOut]:
    """One page of the users that meet all filters that are set."""
    offset = page_offset(search.page, search.size)
    column, descends = parse_sort(search.sort, USER_SORTS)
    conditions = user_conditions(search)
    total = await User.count(session, *conditions)
    statement = (
        select(User)
        .where(*conditions)
        .options(selectinload(User.roles))
        .order_by(*_in_order(column, User.id, descends))
        .limit(search.size)
        .offset(offset)
    )
    items = [user_out(user) for user in await session.scalars(statement)]
    return Page(items=items, page=search.page, size=search.size, total=total)


async def main(database: DatabaseSessionManager) -> None:
    async with database.begin() as session:
        ada, bob, cleo = await seed(session)
    await _show_sessions(database, ada, bob, cleo)
    await _show_soft_delete(database, cleo)
    await _show_reading(database)


def _new(email: str, name: str) -> NewUser:
    return NewUser(email=email, name=name, password_hash=secrets.token_hex())


async def _show_sessions(
    database: DatabaseSessionManager, ada: User, bob: User, cleo: User
) -> None:
    async with database.read_only_session() as session:
        found = await user_with_posts(ada.id, session)
        print(f" 1 dependency     {found.name}: {len(found.posts)} posts")

    before = await rename_user(database, cleo.id, "Cleopatra")
    print(f" 2 manual         {before} is Cleopatra now")

    async with database.begin() as session:
        post = (await session.scalars(select(Post).where(Post.title == "Notes on COPY"))).one()
        noted = await transfer_post(session, post.id, bob.id)
        print(f" 3 nested         {post.title} given to Bob, noted for Ada: {noted}")

    async with database.begin() as session:
        new = [_new(f"New{number}@Example.com", f"New {number}") for number in range(100)]
        ids = await bulk_create_users(session, new)
        changed = await bulk_update_status(session, ids, UserStatus.SUSPENDED)
        print(f" 4 bulk           {len(ids)} users added, {changed} suspended")

    async with database.read_only_session() as session:
        users = await users_with_relationships(session)
        print(f" 5 eager          {users[0].name}: {[role.name for role in users[0].roles]}")
        for author in await top_authors(session, 2):
            print(f" 6 aggregation    {author.name}: {author.posts} posts, {author.views} views")

    async with database.session() as session, aclosing(stream_posts(session, batch=6)) as batches:
        print(f" 7 streaming      batches of {[len(lines) async for lines in batches]}")


async def _show_soft_delete(database: DatabaseSessionManager, cleo: User) -> None:
    async with database.begin() as session:
        await soft_delete_user(session, cleo.id)
        left = [card.name for card in await user_cards(session) if "New" not in card.name]
        deleted = [user.email for user in await deleted_users(session)]
        print(f" 8 soft delete    left: {left}, deleted: {deleted}")
        await add_user(session, _new("cleo@example.com", "Another Cleo"))
        try:
            await restore_user(session, cleo.id)
        except EmailTakenError as error:
            print(f" 8 soft delete    not restored: {error} is another's now")
        purged = await purge_deleted_users(session, utcnow() + timedelta(seconds=1))
        print(f" 8 soft delete    {purged} removed for good")

    try:
        await create_user_with_retry(database, _new("ADA@example.com", "Ada"))
    except EmailTakenError as error:
        print(f" 9 errors         {error} is taken; not tried again")


async def _show_reading(database: DatabaseSessionManager) -> None:
    async with database.read_only_session() as session:
        first, *_ = await users_as_dtos(session)
        print(f"10 transformation {first.model_dump(include={'name', 'roles'})}")

        page = await posts_page(session, page=2, size=3, sort="title")
        print(f"11 page 2 of {page.total:<4} {[post.title for post in page.items]}")
        cursors = Cursors(secrets.token_bytes(32))
        part = await posts_after(session, cursors, size=3, sort="title")
        part = await posts_after(session, cursors, cursor=part.next_cursor, size=3, sort="title")
        print(f"11 by cursor      {[post.title for post in part.items]}")
        try:
            await posts_after(session, cursors, cursor=part.next_cursor, size=3, sort="views")
        except InvalidCursorError as error:
            print(f"11 refused        {error}")

        for search in (UserSearch(text="%"), UserSearch(role="editor", with_posts=True)):
            matches = await search_users(session, search)
            asked = search.model_dump(exclude_defaults=True)
            print(f"12 filters        {asked}: {[user.name for user in matches.items]}")


if __name__ == "__main__":
    _setup.run(main)
