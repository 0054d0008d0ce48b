"""Queries that ask the database for what is needed, and for nothing else.

    python examples/query_patterns.py [DATABASE_URL]

Every pattern is a function that takes a session (or the manager), and none commits a session
that it was given. Its docstring says what it costs, in statements: each is at least one round
trip. Three need PostgreSQL and raise UnsupportedError elsewhere: latest_posts_lateral, copy_posts,
and explain with `analyze`.

The statements hide soft-deleted rows, as all ORM statements of these models do. The exceptions
say so: bulk updates by primary key, and what goes through the driver.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar, cast
from weakref import WeakValueDictionary

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Select,
    String,
    Text,
    any_,
    bindparam,
    column,
    event,
    func,
    insert,
    literal,
    literal_column,
    select,
    table,
    text,
    true,
    type_coerce,
    union_all,
    update,
)
from sqlalchemy import (
    cast as sql_cast,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    aliased,
    contains_eager,
    joinedload,
    load_only,
    selectinload,
    subqueryload,
)
from sqlalchemy.orm.interfaces import ORMOption
from sqlalchemy.sql.base import Executable

import _setup
from base_model import uuid7
from session_manager import DatabaseSessionManager
from user_model import FIRST_DAY, Post, Tag, User, post_tags, seed

logger = logging.getLogger(__name__)
T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

MAX_PARAMETERS = 30_000
"""Below what one statement can take: 32,767 by asyncpg, 32,766 by SQLite."""


class UnsupportedError(NotImplementedError):
    """This database has no such thing; the message says what to do instead."""


def dialect_of(session: AsyncSession) -> str:
    """postgresql, sqlite or mysql; MariaDB is mysql, too."""
    name = session.get_bind().dialect.name
    return "mysql" if name == "mariadb" else name


# What was sent


@dataclass
class Statements:
    """The statements that were sent, as text."""

    seen: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.seen)


@contextmanager
def count_statements(database: DatabaseSessionManager) -> Iterator[Statements]:
    """Record what the whole engine sends while the block runs, whoever sends it.

    An executemany is one statement. BEGIN and COMMIT are none, on any database.
    """
    statements = Statements()

    def record(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        # The template begins SQLite's transactions by hand.
        if not statement.startswith(("BEGIN", "PRAGMA")):
            statements.seen.append(statement)

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", record)


@contextmanager
def log_slow_statements(database: DatabaseSessionManager, seconds: float) -> Iterator[None]:
    """Log, as a warning, each statement that takes longer; for an application's lifespan.

    Without its parameters, which may be anybody's data. The time includes that of the network,
    but not of fetching rows.
    """

    def start(connection: Connection, *_: object) -> None:
        connection.info.setdefault("started", []).append(time.perf_counter())

    def stop(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        took = time.perf_counter() - connection.info["started"].pop()
        if took > seconds:
            logger.warning("%.3f s: %s", took, " ".join(statement.split()))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", start)
    event.listen(engine, "after_cursor_execute", stop)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", start)
        event.remove(engine, "after_cursor_execute", stop)


# N+1, and its cures

Titles = dict[str, list[str]]
"""The titles of each author's posts, by the author's name."""


async def titles_one_by_one(session: AsyncSession) -> Titles:
    """THE MISTAKE: 1 + N statements for N authors. Under asyncio it looks like an await in a loop,
    as an attribute that loads itself would raise MissingGreenlet."""
    users = (await session.scalars(select(User).order_by(User.name))).all()
    titles = {}
    for user in users:
        posts = select(Post.title).where(Post.author_id == user.id).order_by(Post.title)
        titles[user.name] = list(await session.scalars(posts))
    return titles


async def titles_by_selectin(session: AsyncSession) -> Titles:
    """2 statements: the authors, then the posts of all of them (one more for each 500 authors)."""
    users = select(User).order_by(User.name).options(selectinload(User.posts))
    return {user.name: [post.title for post in user.posts] for user in await session.scalars(users)}


async def titles_by_join(session: AsyncSession) -> Titles:
    """1 statement, but the author's columns come once for each post, and unique() sorts it out."""
    users = select(User).order_by(User.name).options(joinedload(User.posts))
    return {
        user.name: [post.title for post in user.posts]
        for user in (await session.scalars(users)).unique()
    }


async def titles_by_columns(session: AsyncSession) -> Titles:
    """1 statement, and no objects at all: the cheapest, for what is only shown."""
    rows = await session.execute(
        select(User.name, Post.title)
        .join(Post, Post.author_id == User.id, isouter=True)
        .order_by(User.name, Post.title)
    )
    titles: Titles = {}
    for name, title in rows:
        titles.setdefault(name, []).extend([title] if title is not None else [])
    return titles


N_PLUS_1_AND_CURES: Mapping[str, Callable[[AsyncSession], Awaitable[Titles]]] = {
    "one by one": titles_one_by_one,
    "selectinload": titles_by_selectin,
    "joinedload": titles_by_join,
    "columns": titles_by_columns,
}


# Loader strategies

LOADERS: Mapping[str, ORMOption] = {
    "selectinload": selectinload(User.posts),
    "joinedload": joinedload(User.posts),
    "subqueryload": subqueryload(User.posts),
}
"""One for a path: two on the same path are an InvalidRequestError."""


@dataclass(frozen=True)
class Measured:
    statements: int
    milliseconds: float
    """The best of the rounds."""
    posts: int


async def compare_loaders(
    database: DatabaseSessionManager, *, rounds: int = 3
) -> dict[str, Measured]:
    """Load all users with all their posts by each strategy, in a new session each time."""
    return {name: await _measure(database, option, rounds) for name, option in LOADERS.items()}


async def _measure(database: DatabaseSessionManager, option: ORMOption, rounds: int) -> Measured:
    times, posts = [], 0
    for _ in range(rounds):
        with count_statements(database) as statements:
            async with database.read_only_session() as session:
                start = time.perf_counter()
                users = (await session.scalars(select(User).options(option))).unique().all()
                times.append((time.perf_counter() - start) * 1000)
                posts = sum(len(user.posts) for user in users)
    return Measured(len(statements), min(times), posts)


async def users_with_popular_posts(session: AsyncSession, views: int) -> Sequence[User]:
    """Users who have a post of at least that many views, with these posts only. 1 statement.

    `posts` then is a part of them. populate_existing, so that a collection that the session holds
    already is replaced; do not change it, and do not use the object elsewhere.
    """
    statement = (
        select(User)
        .join(User.posts)
        .where(Post.views >= views)
        .options(contains_eager(User.posts))
        .order_by(User.name, Post.views.desc())
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(statement)).unique().all()


async def users_with_drafts(session: AsyncSession) -> Sequence[User]:
    """All users, each with the drafts only among `posts`. 2 statements."""
    drafts = selectinload(User.posts.and_(Post.published_at.is_(None)))
    statement = select(User).options(drafts).order_by(User.name)
    return (await session.scalars(statement.execution_options(populate_existing=True))).all()


async def post_list(session: AsyncSession, limit: int = 20) -> Sequence[Post]:
    """Posts for a list: without their bodies, each with its author's name. 1 statement.

    raiseload: to read another column is an error here, where it would be a MissingGreenlet.
    """
    statement = (
        select(Post)
        .options(
            load_only(Post.title, Post.views, Post.published_at, raiseload=True),
            joinedload(Post.author, innerjoin=True).load_only(User.name, raiseload=True),
        )
        .order_by(Post.views.desc(), Post.id)
        .limit(limit)
    )
    return (await session.scalars(statement)).all()


# Subqueries


def _posts_of_user() -> Select[Any]:
    # select(...).exists() and not User.posts.any(): SQLAlchemy 2.0 does not hide soft-deleted
    # rows inside of any().
    return select(Post.id).where(Post.author_id == User.id)


async def users_who_published(session: AsyncSession) -> Sequence[User]:
    """Users with a published post: EXISTS stops at the first, and needs no DISTINCT."""
    published = _posts_of_user().where(Post.is_published).exists()
    return (await session.scalars(select(User).where(published).order_by(User.name))).all()


async def users_without_posts(session: AsyncSession) -> Sequence[User]:
    """NOT EXISTS. A NOT IN would give no row at all as soon as the list has a NULL in it."""
    statement = select(User).where(~_posts_of_user().exists()).order_by(User.name)
    return (await session.scalars(statement)).all()


async def has_post(session: AsyncSession, author_id: uuid.UUID) -> bool:
    """Whether there is one, without counting them."""
    found = select(Post.id).where(Post.author_id == author_id).exists()
    return bool(await session.scalar(select(found)))


async def posts_above_average(session: AsyncSession) -> Sequence[str]:
    """Titles of the posts with more views than the average of active authors' posts.

    The subquery is about an alias. What it shares with the query around it, it takes from there
    (it is correlated): about Post itself, only users would be left in its FROM. The average of a
    column from outside is then refused as a misused aggregate, or wrong (MariaDB).
    """
    anyone = aliased(Post)
    average = (
        select(func.avg(anyone.views))
        .where(anyone.author_id == User.id, User.is_active)
        .scalar_subquery()
    )
    statement = select(Post.title).where(Post.views > average).order_by(Post.views.desc())
    return (await session.scalars(statement)).all()


async def posts_above_authors_average(session: AsyncSession) -> list[tuple[str, str]]:
    """Author and title of the posts above their own author's average, by a CTE."""
    averages = (
        select(Post.author_id, func.avg(Post.views).label("views"))
        .group_by(Post.author_id)
        .cte("averages")
    )
    statement = (
        select(User.name, Post.title)
        .join(Post, Post.author_id == User.id)
        .join(averages, averages.c.author_id == User.id)
        .where(Post.views > averages.c.views)
        .order_by(User.name, Post.title)
    )
    return [(name, title) for name, title in await session.execute(statement)]


async def team_of(
    session: AsyncSession, manager_id: uuid.UUID, *, max_depth: int = 20
) -> list[tuple[int, str]]:
    """Depth and name of all who report to this user, directly or not, in the order of a tree.

    A recursive CTE: 1 statement, however deep. `max_depth` ends it where the data goes in a
    circle, which no foreign key forbids.
    """
    # Both parts in one type: MySQL cuts a path to the length that it has in the first part, and
    # PostgreSQL refuses to guess.
    length = String(1000)
    path = sql_cast(User.name, length)
    team = (
        select(User.id, User.name, literal(0).label("depth"), path.label("path"))
        .where(User.id == manager_id)
        .cte("team", recursive=True)
    )
    report = aliased(User)
    longer = sql_cast(team.c.path + "/" + report.name, length)
    team = team.union_all(
        select(report.id, report.name, team.c.depth + 1, longer)
        .join(team, report.manager_id == team.c.id)
        .where(team.c.depth < max_depth)
    )
    statement = select(team.c.depth, team.c.name).where(team.c.depth > 0).order_by(team.c.path)
    return [(depth, name) for depth, name in await session.execute(statement)]


async def newest(session: AsyncSession, limit: int = 5) -> list[tuple[str, str]]:
    """What was added last, users and posts in one list: UNION ALL, which unlike UNION does not
    sort everything to look for duplicates."""
    added = union_all(
        select(literal("user").label("kind"), User.name.label("title"), User.created_at, User.id),
        select(literal("post"), Post.title, Post.created_at, Post.id),
    ).subquery()
    statement = (
        select(added.c.kind, added.c.title)
        .order_by(added.c.created_at.desc(), added.c.id.desc())
        .limit(limit)
    )
    return [(kind, title) for kind, title in await session.execute(statement)]


# Window functions


async def top_posts(session: AsyncSession, count: int) -> Sequence[Post]:
    """The most viewed posts of each author, `count` of each, with the author. 1 statement.

    Only these rows leave the database. A window function cannot stand in WHERE: hence the
    subquery, and `.c` of it. The key ends the ORDER BY, as ties would be broken at random.
    """
    place = func.row_number().over(
        partition_by=Post.author_id, order_by=(Post.views.desc(), Post.id)
    )
    ranked = select(Post.id, place.label("place")).subquery()
    statement = (
        select(Post)
        .join(ranked, ranked.c.id == Post.id)
        .join(Post.author)
        .where(ranked.c.place <= count)
        .options(contains_eager(Post.author))
        .order_by(User.name, ranked.c.place)
    )
    return (await session.scalars(statement)).all()


async def running_views(session: AsyncSession) -> list[tuple[str, str, int]]:
    """Author, title, and the views of the author's posts up to this one, by date.

    Each row adds its own, by ROWS and by the key at the end of the order: the default (RANGE) adds
    all the rows of an equal date at once.
    """
    total = func.sum(Post.views).over(
        partition_by=Post.author_id, order_by=(Post.published_at, Post.id), rows=(None, 0)
    )
    statement = (
        select(User.name, Post.title, total)
        .join(User, Post.author_id == User.id)
        .where(Post.is_published)
        .order_by(User.name, Post.published_at, Post.id)
    )
    # MySQL's sums are decimals.
    return [(name, title, int(views)) for name, title, views in await session.execute(statement)]


async def latest_posts_lateral(session: AsyncSession, count: int) -> list[tuple[str, str]]:
    """Author and title of the newest posts of each author, `count` of each. PostgreSQL.

    LATERAL looks into the index once for each author, and wins over a window function where
    authors are few and posts many. (MySQL 8 has it, MariaDB and SQLite have not.)
    """
    if dialect_of(session) != "postgresql":
        raise UnsupportedError("LATERAL needs PostgreSQL; top_posts() does it by a window function")
    newest_posts = (
        select(Post.title, Post.published_at)
        .where(Post.author_id == User.id, Post.is_published)
        .order_by(Post.published_at.desc(), Post.id.desc())
        .limit(count)
        .lateral("newest_posts")
    )
    statement = (
        select(User.name, newest_posts.c.title)
        .join(newest_posts, true())
        .order_by(User.name, newest_posts.c.published_at.desc())
    )
    return [(name, title) for name, title in await session.execute(statement)]


# Upsert

Row = Mapping[str, Any]


async def upsert_users(session: AsyncSession, rows: Sequence[Row]) -> None:
    """Insert users; of an address that is there already, update the name. 1 statement.

    `rows` have email, name and password_hash. Of a deleted user with that address nothing
    changes: a new one is inserted. `updated_at` is named, as onupdate does not see an upsert; it is
    that of the row refused, as aiomysql takes no further parameter here. Objects in the session
    keep their old values.
    """
    rows = [{**row, "email": row["email"].strip().lower()} for row in rows]  # past the validator
    if not rows:
        return
    statement: Executable
    if dialect_of(session) == "mysql":
        into_mysql = mysql.insert(User)
        new = into_mysql.inserted
        statement = into_mysql.on_duplicate_key_update(name=new.name, updated_at=new.updated_at)
    else:
        kind = postgresql.insert if dialect_of(session) == "postgresql" else sqlite.insert
        into = kind(User)
        statement = into.on_conflict_do_update(
            index_elements=["email", "active"],
            set_={"name": into.excluded.name, "updated_at": into.excluded.updated_at},
        )
    await session.execute(statement, rows)


async def ensure_tags(session: AsyncSession, names: Sequence[str]) -> Mapping[str, Tag]:
    """The tags of these names, inserted where they are missing. 2 statements.

    Safe when two do it at once: nobody gets an error, both get the same tags. In sorted order, as
    two that insert the same names in opposite orders would wait for each other for ever.
    """
    rows = [{"name": name} for name in sorted(set(names))]
    if not rows:
        return {}
    statement: Executable
    if dialect_of(session) == "mysql":
        # Not INSERT IGNORE, which also ignores that a name is too long.
        into_mysql = mysql.insert(Tag)
        statement = into_mysql.on_duplicate_key_update(name=into_mysql.inserted.name)
    else:
        kind = postgresql.insert if dialect_of(session) == "postgresql" else sqlite.insert
        statement = kind(Tag).on_conflict_do_nothing(index_elements=["name"])
    await session.execute(statement, rows)
    found = await session.scalars(select(Tag).where(Tag.name.in_(names)).order_by(Tag.name))
    return {tag.name: tag for tag in found}


# Many rows


async def insert_posts(session: AsyncSession, rows: Sequence[Row]) -> None:
    """Insert any number of rows as one executemany, with the defaults of the model.

    Not insert(Post).values(rows): that is one statement with all the values as parameters, of
    which asyncpg takes 32,767, and several times slower. The rows have the same keys.
    """
    if rows:  # an empty list would insert one row of nothing but defaults
        await session.execute(insert(Post), [dict(row) for row in rows])


async def insert_posts_returning(session: AsyncSession, rows: Sequence[Row]) -> Sequence[uuid.UUID]:
    """As insert_posts, and the new ids in the order of the rows.

    Keys made in Python need no RETURNING. Where the database makes them (identity columns),
    it is insert(Post).returning(Post.id, sort_by_parameter_order=True), and not on MySQL.
    """
    keyed = [{"id": uuid7(), **row} for row in rows]
    await insert_posts(session, keyed)
    return [row["id"] for row in keyed]


async def set_views(session: AsyncSession, views: Mapping[uuid.UUID, int]) -> None:
    """Set each post's own value, by primary key, as one executemany.

    Soft-deleted rows are set, too, and stay deleted. An id that is not there is passed over.
    """
    if views:
        rows = [{"id": key, "views": value} for key, value in views.items()]
        await session.execute(update(Post), rows)


async def add_views(session: AsyncSession, counted: Mapping[uuid.UUID, int]) -> None:
    """Add to each post's own value, as one executemany; counts of others are not lost.

    Through the table, as the ORM's update by primary key takes values and no expressions. In the
    order of the keys, so that two of these do not deadlock.
    """
    if not counted:
        return
    posts = Post.__table__
    statement = (
        update(Post)
        .where(posts.c.id == bindparam("key"))
        .values(views=posts.c.views + bindparam("more"))
    )
    rows = [{"key": key, "more": counted[key]} for key in sorted(counted)]
    connection = await session.connection()
    await connection.execute(statement, rows)


async def publish(session: AsyncSession, author_id: uuid.UUID, when: datetime) -> Sequence[Post]:
    """Publish an author's drafts, and return them. 1 statement where the database has UPDATE ...
    RETURNING; on MySQL and MariaDB 3, of which the first takes the locks."""
    drafts = (Post.author_id == author_id, Post.published_at.is_(None))
    change = update(Post).values(published_at=when)
    if session.get_bind().dialect.update_returning:
        return (await session.scalars(change.where(*drafts).returning(Post))).all()
    ids = (await session.scalars(select(Post.id).where(*drafts).with_for_update())).all()
    await session.execute(change.where(Post.id.in_(ids)))
    fresh = select(Post).where(Post.id.in_(ids)).execution_options(populate_existing=True)
    return (await session.scalars(fresh)).all()


async def posts_by_ids(session: AsyncSession, ids: Sequence[uuid.UUID]) -> list[Post]:
    """Any number of posts by primary key, in no order.

    PostgreSQL takes the list as one parameter, an array: 1 statement, the same text whatever the
    length. Others take MAX_PARAMETERS at a time.
    """
    if dialect_of(session) == "postgresql":
        wanted = bindparam("ids", list(ids), type_=ARRAY(Post.id.type))
        return list(await session.scalars(select(Post).where(Post.id == any_(wanted))))
    posts: list[Post] = []
    for start in range(0, len(ids), MAX_PARAMETERS):
        part = ids[start : start + MAX_PARAMETERS]
        posts += await session.scalars(select(Post).where(Post.id.in_(part)))
    return posts


async def copy_posts(session: AsyncSession, rows: Sequence[Row]) -> None:
    """Insert by COPY, through asyncpg itself; in the session's transaction. PostgreSQL.

    The fastest there is: 3 times insert_posts, 5 times on a narrow table. COPY knows nothing of the
    model: `rows` have author_id, title and body; what Python would make is made here, and the
    server's defaults do the rest. A unique violation fails the whole of it.
    """
    if dialect_of(session) != "postgresql":
        raise UnsupportedError("COPY needs PostgreSQL; insert_posts() is next best")
    await session.flush()
    # SQLAlchemy sends BEGIN with the first statement. Without one before it, COPY would be a
    # transaction of its own, and a rollback would not undo it.
    await session.execute(text("SELECT 1"))
    fairy = await (await session.connection()).get_raw_connection()
    columns = ("author_id", "title", "body")
    records = ([uuid7(), *(row[name] for name in columns)] for row in rows)
    await cast(Any, fairy.driver_connection).copy_records_to_table(
        Post.__tablename__, records=records, columns=["id", *columns]
    )


# JSON


async def users_by_theme(session: AsyncSession, theme: str) -> Sequence[User]:
    """Users by a value inside of a JSON column; the same on all databases."""
    wanted = User.preferences["theme"].as_string() == theme
    return (await session.scalars(select(User).where(wanted).order_by(User.name))).all()


async def users_by_language(session: AsyncSession, language: str) -> Sequence[User]:
    """Users with a value in a JSON array. On PostgreSQL from the GIN index, if they are many."""
    condition: ColumnElement[bool]
    match dialect_of(session):
        case "postgresql":
            preferences = type_coerce(User.preferences, JSONB)
            condition = preferences.contains({"languages": [language]})
        case "mysql":
            wanted = func.json_quote(language)
            condition = func.json_contains(User.preferences, wanted, "$.languages") == 1
        case _:
            each = func.json_each(User.preferences, "$.languages").table_valued("value")
            condition = select(each.c.value).where(each.c.value == language).exists()
    return (await session.scalars(select(User).where(condition).order_by(User.name))).all()


async def set_theme(session: AsyncSession, old: str, new: str) -> None:
    """Change one key inside of the JSON of many users, by the database. 1 statement.

    Other keys, and what others write to them meanwhile, stay. Objects in the session keep the old
    value until `await session.refresh(user)`.
    """
    match dialect_of(session):
        case "postgresql":
            # The path is an array of text and the value is JSON; neither is a plain string.
            path = sql_cast(["theme"], ARRAY(Text))
            changed = func.jsonb_set(User.preferences, path, func.to_jsonb(sql_cast(new, Text)))
        case _:
            changed = func.json_set(User.preferences, "$.theme", new)
    statement = (
        update(User)
        .where(User.preferences["theme"].as_string() == old)
        .values(preferences=changed)
        .execution_options(synchronize_session=False)
    )
    await session.execute(statement)


# Full-text search

CREATE_SEARCH: Mapping[str, Sequence[str]] = {
    "postgresql": [
        "CREATE INDEX ix_posts_search ON posts "
        "USING gin (to_tsvector('english', title || ' ' || body))"
    ],
    "mysql": ["CREATE FULLTEXT INDEX ix_posts_search ON posts (title, body)"],
    # By id, as a row's rowid may change (VACUUM) in a table whose key is not an integer.
    "sqlite": [
        "CREATE VIRTUAL TABLE posts_search USING fts5(post_id UNINDEXED, title, body)",
        "INSERT INTO posts_search SELECT id, title, body FROM posts",
        "CREATE TRIGGER posts_search_insert AFTER INSERT ON posts BEGIN "
        "INSERT INTO posts_search VALUES (new.id, new.title, new.body); END",
        "CREATE TRIGGER posts_search_update AFTER UPDATE OF title, body ON posts BEGIN "
        "UPDATE posts_search SET title = new.title, body = new.body WHERE post_id = new.id; END",
        "CREATE TRIGGER posts_search_delete AFTER DELETE ON posts BEGIN "
        "DELETE FROM posts_search WHERE post_id = old.id; END",
    ],
}
"""What a migration executes. The index costs each insert of a post; on SQLite an update or delete
searches it row by row, as FTS5 has no index on an id."""

DROP_SEARCH: Mapping[str, Sequence[str]] = {
    "postgresql": ["DROP INDEX ix_posts_search"],
    "mysql": ["DROP INDEX ix_posts_search ON posts"],
    "sqlite": [
        *(f"DROP TRIGGER posts_search_{event}" for event in ("insert", "update", "delete")),
        "DROP TABLE posts_search",
    ],
}


async def change_schema(
    database: DatabaseSessionManager, statements: Mapping[str, Sequence[str]]
) -> None:
    """Run the DDL of this database. In a project, `op.execute` in a migration does it."""
    dialect = database.engine.dialect.name
    async with database.engine.begin() as connection:
        for statement in statements["mysql" if dialect == "mariadb" else dialect]:
            await connection.exec_driver_sql(statement)


async def search_posts(session: AsyncSession, query: str, limit: int = 20) -> Sequence[Post]:
    """Posts with all the words of a query in title or body, the best first. 1 statement.

    Only words are taken from the query: what else a user types is no operator, and no error.
    PostgreSQL finds other forms of a word, too ("index": Indexes). MySQL ignores words of less
    than three letters and shows rows only after their commit.
    """
    words = re.findall(r"\w+", query)
    if not words:
        return []
    statement = select(Post)
    match dialect_of(session):
        case "postgresql":
            # The very expression of the index: any other would not use it.
            document = func.to_tsvector(
                literal_column("'english'"), literal_column("posts.title || ' ' || posts.body")
            )
            wanted = func.plainto_tsquery(literal_column("'english'"), " ".join(words))
            statement = statement.where(document.bool_op("@@")(wanted)).order_by(
                func.ts_rank(document, wanted).desc()
            )
        case "mysql":
            posts = Post.__table__.c
            match_words = " ".join(f"+{word}" for word in words)
            found = mysql.match(posts.title, posts.body, against=match_words).in_boolean_mode()
            statement = statement.where(found).order_by(found.desc())
        case _:
            index = table(
                "posts_search", column("post_id", Post.id.type), column("rank"), column("query")
            )
            quoted = " ".join(f'"{word}"' for word in words)
            statement = (
                statement.join(index, index.c.post_id == Post.id)
                .where(literal_column("posts_search").bool_op("MATCH")(quoted))
                .order_by(index.c.rank)
            )
    return (await session.scalars(statement.order_by(Post.id).limit(limit))).all()


# Streaming


async def stream_posts(
    session: AsyncSession, batch: int = 1000
) -> AsyncGenerator[Sequence[Post], None]:
    """All posts, `batch` of them in memory at a time. Let go of each batch before the next.

    yield_per is what bounds the memory; stream() alone reads everything first. By batches and
    not row by row, which takes twice as long. The session is busy until the end. To leave early,
    enter `contextlib.aclosing(stream_posts(...))`: what MySQL has not delivered yet is in the way
    of the connection's next user.
    """
    statement = select(Post).order_by(Post.id).execution_options(yield_per=batch)
    result = await session.stream_scalars(statement)
    try:
        async for posts in result.partitions():
            yield posts
    finally:
        await result.close()


async def count_words(database: DatabaseSessionManager, batch: int = 1000) -> int:
    """The words of all posts: columns instead of objects, 5 times as fast."""
    words = 0
    # Not a read-only session: a cursor of PostgreSQL lives in a transaction.
    async with database.session() as session:
        statement = select(Post.title, Post.body).execution_options(yield_per=batch)
        result = await session.stream(statement)
        async for rows in result.partitions():
            words += sum(len(title.split()) + len(body.split()) for title, body in rows)
    return words


# EXPLAIN


class _Captured(Exception):
    def __init__(self, sql: str, parameters: Sequence[Any]) -> None:
        self.sql, self.parameters = sql, parameters


async def explain(
    session: AsyncSession, statement: Executable, *, analyze: bool = False
) -> list[str]:
    """The database's plan for exactly what the session would send, hidden rows and all.

    With `analyze` (PostgreSQL) the statement is run and measured, and what it wrote undone.
    A plan depends on the data: with a few rows every database reads the whole table.
    """
    prefix = {"postgresql": "EXPLAIN", "sqlite": "EXPLAIN QUERY PLAN"}.get(
        dialect_of(session), "EXPLAIN"
    )
    if analyze:
        if dialect_of(session) != "postgresql":
            raise UnsupportedError("explain(analyze=True) needs PostgreSQL")
        prefix = "EXPLAIN (ANALYZE, BUFFERS)"

    def capture(_: object, __: object, sql: str, parameters: Sequence[Any], *___: object) -> None:
        raise _Captured(sql, parameters)

    async with session.begin_nested() as savepoint:
        connection = await session.connection()  # asked for here, else it is not in the savepoint
        event.listen(connection.sync_connection, "before_cursor_execute", capture)
        try:
            await session.execute(statement)
        except _Captured as captured:
            sql, parameters = f"{prefix} {captured.sql}", captured.parameters
        finally:
            event.remove(connection.sync_connection, "before_cursor_execute", capture)
        result = await connection.exec_driver_sql(sql, tuple(parameters))
        lines = [" | ".join(str(value) for value in row) for row in result]
        await savepoint.rollback()
    return lines


def titles_of_author(author_id: uuid.UUID) -> Executable:
    """For explain(): on PostgreSQL answered by the covering index alone."""
    return (
        select(Post.title, Post.published_at)
        .where(Post.author_id == author_id)
        .order_by(Post.published_at.desc())
    )


def newest_published(limit: int) -> Executable:
    """For explain(): the partial index has these rows, in this order."""
    return (
        select(Post.id, Post.published_at)
        .where(Post.published_at.is_not(None))
        .order_by(Post.published_at.desc(), Post.id.desc())
        .limit(limit)
    )


# Results in memory


class ResultCache(Generic[K, V]):
    """Results of queries, in the memory of this process, each for `seconds` at most.

    Expiry: an answer may be `seconds` old; other processes do not hear of forget(), so that this
    is how long they may differ. Invalidation: `forget_after_commit`. Only one task loads a key,
    and the others wait for it. Cache values (tuples, response models), never ORM objects, which
    belong to one session. The compiled cache of SQLAlchemy keeps SQL text and no results.
    """

    def __init__(
        self, *, seconds: float, size: int = 1000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds, self._size, self._clock = seconds, size, clock
        self._entries: dict[K, tuple[float, V]] = {}
        self._locks: WeakValueDictionary[K, asyncio.Lock] = WeakValueDictionary()
        self._forgotten = 0

    async def get(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """The value in memory, else what `load` returns. An error of it is not kept."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            entry = self._entries.get(key)
            if entry is not None and entry[0] > self._clock():
                return entry[1]
            before, started = self._forgotten, self._clock()
            value = await load()
            # Read before somebody's commit and done after it, it would be old from the start.
            if before == self._forgotten:
                self._entries.pop(key, None)
                while len(self._entries) >= self._size:
                    del self._entries[next(iter(self._entries))]
                self._entries[key] = (started + self._seconds, value)
            return value

    def forget(self, key: K) -> None:
        self._forgotten += 1
        self._entries.pop(key, None)

    def forget_after_commit(self, session: AsyncSession, key: K) -> None:
        """Forget it once the session's changes can be seen; before, others would reload the old.

        After a rollback it happens at the session's next commit, and does no harm.
        """
        event.listen(
            session.sync_session, "after_commit", lambda _session: self.forget(key), once=True
        )


async def tag_counts(session: AsyncSession) -> tuple[tuple[str, int], ...]:
    """Each tag and the number of its posts: worth a cache, as every page may show it."""
    statement = (
        select(Tag.name, func.count(Post.id))
        .join(post_tags, post_tags.c.tag_id == Tag.id, isouter=True)
        .join(Post, Post.id == post_tags.c.post_id, isouter=True)
        .group_by(Tag.name)
        .order_by(Tag.name)
    )
    return tuple((name, count) for name, count in await session.execute(statement))


async def main(database: DatabaseSessionManager) -> None:
    async with database.begin() as session:
        ada, bob, _cleo = await seed(session)

    print("N+1 and its cures: statements for three authors")
    for name, get_titles in N_PLUS_1_AND_CURES.items():
        with count_statements(database) as statements:
            async with database.read_only_session() as session:
                await get_titles(session)
        print(f"  {name:13} {len(statements)}")

    async with database.session() as session:
        await _show_queries(session, ada)
    async with database.session() as session:
        await _show_writes(session, bob)
    await _show_search(database)
    await _show_cache(database)
    await _show_many_rows(database)


async def _show_queries(session: AsyncSession, ada: User) -> None:
    print("published:", [user.name for user in await users_who_published(session)])
    print("above the average:", await posts_above_average(session))
    print("Ada's team:", await team_of(session, ada.id))
    top = await top_posts(session, 1)
    print("top 1 of each:", [(post.author.name, post.title) for post in top])
    print("running total:", [views for name, _, views in await running_views(session)][:4])
    try:
        print("lateral:", await latest_posts_lateral(session, 1))
    except UnsupportedError as error:
        print("lateral:", error)
    print("dark theme:", [user.name for user in await users_by_theme(session, "dark")])
    print("speak German:", [user.name for user in await users_by_language(session, "de")])
    print("plan:", (await explain(session, titles_of_author(ada.id)))[-1].strip())


async def _show_writes(session: AsyncSession, bob: User) -> None:
    newcomers = [
        {"email": f"{name.lower()}@example.com", "name": f"{name} II", "password_hash": "-"}
        for name in ("Ada", "Dan")
    ]
    await upsert_users(session, newcomers)
    print("upserted:", list(await session.scalars(select(User.name).order_by(User.name))))
    print("tags:", list(await ensure_tags(session, ["sql", "rust"])))
    print("published:", [post.title for post in await publish(session, bob.id, FIRST_DAY)])
    await set_theme(session, "dark", "black")
    print("black theme:", len(await users_by_theme(session, "black")))
    await session.rollback()


async def _show_search(database: DatabaseSessionManager) -> None:
    await change_schema(database, CREATE_SEARCH)
    try:
        async with database.session() as session:
            found = await search_posts(session, "async explained!")
            print("search:", [post.title for post in found])
    finally:
        await change_schema(database, DROP_SEARCH)


async def _show_cache(database: DatabaseSessionManager) -> None:
    cache: ResultCache[str, tuple[tuple[str, int], ...]] = ResultCache(seconds=60)

    async def load() -> tuple[tuple[str, int], ...]:
        async with database.read_only_session() as session:
            return await tag_counts(session)

    with count_statements(database) as statements:
        await asyncio.gather(*(cache.get("tags", load) for _ in range(100)))
    print("100 reads of the cache:", len(statements), "statement")


async def _show_many_rows(database: DatabaseSessionManager) -> None:
    async with database.begin() as session:
        users = [
            {"email": f"user{n}@example.com", "name": f"User {n}", "password_hash": "-"}
            for n in range(50)
        ]
        await session.execute(insert(User), users)
        ids = (await session.scalars(select(User.id))).all()
        rows = [
            {"author_id": key, "title": f"Post {n}", "body": "one two three"}
            for key in ids
            for n in range(20)
        ]
        start = time.perf_counter()
        await insert_posts(session, rows)
        print(f"inserted {len(rows)} posts in {(time.perf_counter() - start) * 1000:.0f} ms")
        if dialect_of(session) == "postgresql":
            start = time.perf_counter()
            async with session.begin_nested() as savepoint:
                await copy_posts(session, rows)
                print(f"copied as many in {(time.perf_counter() - start) * 1000:.0f} ms")
                await savepoint.rollback()
    async with database.session() as session:
        batches = [len(posts) async for posts in stream_posts(session, 1000)]
        print("streamed in batches of:", batches)
    print("words:", await count_words(database))
    for name, measured in (await compare_loaders(database)).items():
        print(
            f"  {name:13} {measured.statements} statements, {measured.posts} posts, "
            f"{measured.milliseconds:.0f} ms"
        )


if __name__ == "__main__":
    _setup.run(main)
