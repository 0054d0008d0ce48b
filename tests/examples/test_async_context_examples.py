"""examples/async_context_examples.py: the twelve patterns, on all three databases.

`seed_N` in a name is a numbered defect of the older public skill, `seed_row_N` a row of its
feature list: the test fails where that defect is.
"""

import asyncio
import inspect
import re
import sqlite3
import time
import tracemalloc
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pydantic
import pytest
from fastapi import FastAPI
from sqlalchemy import event, insert, make_url, select, update
from sqlalchemy.exc import IntegrityError, InvalidRequestError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

import async_context_examples as patterns
from async_context_examples import (
    MAX_OFFSET,
    MAX_SIZE,
    POST_SORTS,
    BadRequestError,
    Cursors,
    EmailTakenError,
    InvalidCursorError,
    NewUser,
    NotFoundError,
    UserSearch,
    add_user,
    bulk_create_users,
    bulk_update_status,
    create_user_with_retry,
    deleted_users,
    posts_after,
    posts_page,
    purge_deleted_users,
    rename_user,
    restore_user,
    router,
    search_users,
    soft_delete_user,
    stream_posts,
    top_authors,
    transfer_post,
    user_cards,
    user_with_roles,
    users_as_dtos,
    users_with_post_count,
    users_with_relationships,
)
from base_model import uuid7
from projects import warm
from projects.examples import statements
from session_manager import DatabaseConfig, DatabaseSessionManager
from user_model import FIRST_DAY, Post, Role, Tag, User, UserStatus, post_tags, user_roles

pytestmark = pytest.mark.older_sqlalchemy_on("sqlite", "postgresql")

EXAMPLE = Path(__file__).parents[2] / "examples" / "async_context_examples.py"
TABLES = [model.__table__ for model in (User, Post, Role, Tag)] + [user_roles, post_tags]
CURSORS = Cursors(b"a secret of tests only")


@pytest.fixture
async def database(seeded_url: str) -> AsyncIterator[DatabaseSessionManager]:
    async with opened(seeded_url) as manager:
        yield manager


@pytest.fixture
async def session(database: DatabaseSessionManager) -> AsyncIterator[AsyncSession]:
    async with database.session() as session:
        yield session


def opened(url: str, **settings: float) -> DatabaseSessionManager:
    return DatabaseSessionManager(DatabaseConfig(url, **settings))  # type: ignore[arg-type]


def is_mysql(database: DatabaseSessionManager) -> bool:
    return database.engine.dialect.name == "mysql"


def new(email: str, name: str = "N") -> NewUser:
    return NewUser(email=email, name=name, password_hash="-")


async def named(session: AsyncSession, name: str) -> User:
    statement = select(User).where(User.name == name).options(selectinload(User.posts))
    return (await session.scalars(statement)).one()


async def delete_everything_of_cleo(database: DatabaseSessionManager) -> None:
    """Cleo is deleted with her posts, and two of Ada's posts alone."""
    async with database.begin() as session:
        ada = await named(session, "Ada")
        for post in ada.posts[:2]:
            await post.soft_delete(session)
        await (await named(session, "Cleo")).soft_delete(session)


# The module


def test_seed_row_22_75_runs_as_a_program_and_shows_all_twelve(database_url: str):
    for arguments in [[database_url]] + [[]] * database_url.startswith("sqlite"):
        ran = warm.completed(EXAMPLE, *arguments)
        assert ran.returncode == 0, ran.stderr
        shown = {int(line[:2]) for line in ran.stdout.splitlines()}
        assert shown == set(range(1, 13))
        assert ran.stderr == ""


@pytest.mark.dialects("sqlite")
def test_seed_row_75_each_pattern_has_its_number_and_a_function():
    source = EXAMPLE.read_text()
    parts = re.split(r"^# (\d+)\. .*$", source, flags=re.MULTILINE)
    numbers, bodies = parts[1::2], parts[2::2]
    assert [int(number) for number in numbers] == list(range(1, 13))
    for body in bodies:
        assert re.search(r"^async def \w+\(", body, flags=re.MULTILINE)


async def test_seed_13_no_pattern_commits_the_session_that_it_is_given(
    database: DatabaseSessionManager,
):
    """Each is called in one session, whose rollback must undo them all."""
    async with database.session() as session:
        before = await everything(session)
    async with database.session() as session:
        session.add(User(email="pending@example.com", name="P", password_hash="-"))
        ada, bob = await named(session, "Ada"), await named(session, "Bob")
        await transfer_post(session, ada.posts[0].id, bob.id)
        ids = await bulk_create_users(session, [new("x@example.com")])
        await bulk_update_status(session, ids, UserStatus.SUSPENDED)
        await add_user(session, new("y@example.com"))
        await soft_delete_user(session, bob.id)
        await restore_user(session, bob.id)
        await soft_delete_user(session, ids[0])
        await purge_deleted_users(session, datetime.now(UTC) + timedelta(seconds=1))
        await users_with_relationships(session)
        await search_users(session, UserSearch())
        await session.rollback()
    async with database.session() as session:
        assert await everything(session) == before


@pytest.mark.dialects("sqlite")
def test_seed_13_only_those_that_take_the_manager_open_a_session():
    source = EXAMPLE.read_text()
    assert ".commit(" not in source and ".rollback(" not in source
    for name, function in inspect.getmembers(patterns, inspect.iscoroutinefunction):
        if function.__module__ == patterns.__name__ and not name.startswith("_"):
            taken = {"session", "database"} & set(inspect.signature(function).parameters)
            assert len(taken) == 1, name


async def everything(session: AsyncSession) -> list[tuple]:
    users = await session.execute(
        select(User.email, User.name, User.status, User.deleted_at)
        .order_by(User.email)
        .execution_options(include_deleted=True)
    )
    posts = await session.execute(
        select(Post.title, Post.author_id, Post.deleted_at)
        .order_by(Post.title)
        .execution_options(include_deleted=True)
    )
    return [tuple(row) for row in users] + [tuple(row) for row in posts]


# 1, 2


async def test_seed_row_23_endpoint_is_taken_by_fastapi(database: DatabaseSessionManager):
    app = FastAPI()
    app.include_router(router)
    app.state.database = database
    async with database.session() as session:
        ada = await named(session, "Ada")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        with statements(database) as sent:
            answer = await client.get(f"/users/{ada.id}/posts")
        assert answer.json() == {
            "id": str(ada.id),
            "name": "Ada",
            "posts": sorted(post.title for post in ada.posts),
        }
        assert len(sent) == 2
        assert (await client.get(f"/users/{uuid.uuid4()}/posts")).status_code == 404


async def test_seed_row_24_71_manual_session_commits_or_rolls_back(
    database: DatabaseSessionManager,
):
    async with database.session() as session:
        ada = await named(session, "Ada")
    with statements(database) as sent:
        assert await rename_user(database, ada.id, "Ada L.") == "Ada"
    assert len(sent) == 2 + is_mysql(database)
    with pytest.raises(NotFoundError):
        await rename_user(database, uuid.uuid4(), "X")
    with pytest.raises(StatementError):
        await rename_user(database, ada.id, None)  # type: ignore[arg-type]
    async with database.session() as session:
        assert (await User.get_by_id(session, ada.id)).name == "Ada L."  # type: ignore[union-attr]


# 3


async def test_seed_28_row_25_transfer_is_noted_for_the_old_author(
    database: DatabaseSessionManager,
):
    async with database.begin() as session:
        ada, bob = await named(session, "Ada"), await named(session, "Bob")
        first, second = ada.posts[:2]
    async with database.begin() as session:
        with statements(database) as sent:
            assert await transfer_post(session, first.id, bob.id)
        assert len(sent) == 6 + 2 * is_mysql(database)
        assert await transfer_post(session, second.id, bob.id)
    async with database.session() as session:
        ada, bob = await named(session, "Ada"), await named(session, "Bob")
        assert ada.preferences["given_away"] == [first.title, second.title]
        assert "given_away" not in bob.preferences
        assert (len(ada.posts), len(bob.posts)) == (3, 7)


async def test_nested_failure_undoes_the_note_and_not_the_transfer(
    database: DatabaseSessionManager,
):
    async def failing(session: AsyncSession, old_author: User, _post: Post) -> None:
        old_author.preferences["given_away"] = ["something"]
        session.add(Tag(name="sql"))  # there is one
        await session.flush()

    async with database.begin() as session:
        ada, bob = await named(session, "Ada"), await named(session, "Bob")
        session.add(User(email="pending@example.com", name="Pending", password_hash="-"))
        assert not await transfer_post(session, ada.posts[0].id, bob.id, note=failing)
    async with database.session() as session:
        ada, bob = await named(session, "Ada"), await named(session, "Bob")
        assert (len(ada.posts), len(bob.posts)) == (4, 6)
        assert "given_away" not in ada.preferences
        assert await named(session, "Pending")


async def test_transfer_refuses_who_is_not_there(database: DatabaseSessionManager):
    async with database.begin() as session:
        ada, cleo = await named(session, "Ada"), await named(session, "Cleo")
        await soft_delete_user(session, cleo.id)
        for post_id, user_id in (
            (uuid.uuid4(), ada.id),
            (ada.posts[0].id, uuid.uuid4()),
            (ada.posts[0].id, cleo.id),
            (cleo.posts[0].id, ada.id),
        ):
            with pytest.raises(NotFoundError):
                await transfer_post(session, post_id, user_id)


async def give(database: DatabaseSessionManager, post: Post, user: User) -> None:
    """Without retries: a deadlock would be raised."""
    async with database.begin() as session:
        assert await transfer_post(session, post.id, user.id)


async def test_transfers_at_once_lose_no_note(database: DatabaseSessionManager):
    """All sessions hold both users as they were before the first transfer."""
    async with database.session() as session:
        ada, bob = await named(session, "Ada"), await named(session, "Bob")
    all_have_read = asyncio.Barrier(10)

    async def read_and_give(post: Post, user: User) -> None:
        async with database.begin() as session:
            held = await users_with_relationships(session)
            await all_have_read.wait()
            assert await transfer_post(session, post.id, user.id)
            assert held

    jobs = [(post, bob) for post in ada.posts] + [(post, ada) for post in bob.posts]
    # SQLite has one writer at a time, so none could wait for the others.
    if database.engine.dialect.name == "sqlite":
        await asyncio.gather(*(give(database, *job) for job in jobs))
    else:
        await asyncio.gather(*(read_and_give(*job) for job in jobs))
    async with database.session() as session:
        for name, titles in (("Ada", ada.posts), ("Bob", bob.posts)):
            noted = (await named(session, name)).preferences["given_away"]
            assert sorted(noted) == sorted(post.title for post in titles)


async def locks_are_asked_for(sent: list[str], number: int) -> None:
    while sum("FOR UPDATE" in one for one in sent) < number:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)  # on its way to the server


@pytest.mark.dialects("postgresql", "mysql")
async def test_opposite_transfers_take_their_locks_in_one_order(database: DatabaseSessionManager):
    """Who gives to Ada waits for her row first, then who takes from her: if the second held Bob's
    row already, the first would now wait for it, and the second for Ada's."""
    async with database.session() as session:
        ada, bob = await named(session, "Ada"), await named(session, "Bob")
    async with database.session() as blocker:
        await blocker.get_one(User, ada.id, with_for_update=True)
        with statements(database) as sent:
            to_ada = asyncio.create_task(give(database, bob.posts[0], ada))
            await locks_are_asked_for(sent, 1)
            from_ada = asyncio.create_task(give(database, ada.posts[0], bob))
            await locks_are_asked_for(sent, 2)
        assert not to_ada.done() and not from_ada.done()
    await asyncio.gather(to_ada, from_ada)


# 4


async def test_seed_row_26_bulk_insert_is_one_statement(database: DatabaseSessionManager):
    """More values than one statement takes as parameters (32,767), and a form for each address."""
    many = [new(f" Many{number}@Example.com") for number in range(9000)]
    async with database.begin() as session:
        with statements(database) as sent:
            ids = await bulk_create_users(session, many)
        assert len(sent) == 1
        assert await bulk_create_users(session, []) == []
    async with database.session() as session:
        rows = await session.execute(select(User.id, User.email).where(User.email.like("many%")))
        stored = {email: key for key, email in rows}
        assert stored == {f"many{n}@example.com": key for n, key in enumerate(ids)}
        user = await session.get_one(User, ids[0])
        assert user.created_at == user.updated_at and user.preferences == {}


async def test_seed_row_26_bulk_update_leaves_the_deleted_alone(database: DatabaseSessionManager):
    async with database.begin() as session:
        ids = await bulk_create_users(session, [new(f"u{n}@example.com") for n in range(5)])
        await soft_delete_user(session, ids[0])
        first = await session.get_one(User, ids[1])
        before = first.updated_at
        unknown = [uuid.uuid4() for _ in range(40_000)] if not is_mysql(database) else []
        with statements(database) as sent:
            changed = await bulk_update_status(session, ids + unknown, UserStatus.SUSPENDED)
        assert changed == 4
        assert len(sent) == (41 if unknown else 1)
        assert await bulk_update_status(session, ids, UserStatus.SUSPENDED) == 0
        assert await bulk_update_status(session, [], UserStatus.SUSPENDED) == 0
        await session.refresh(first)
        assert first.updated_at > before
        gone = await User.get_by_id(session, ids[0], include_deleted=True)
        assert gone and gone.is_deleted and gone.status is UserStatus.ACTIVE


# 5


async def test_seed_row_27_71_eager_loading_takes_the_same_statements_for_more_users(
    database: DatabaseSessionManager,
):
    await delete_everything_of_cleo(database)
    counts = []
    for extra in (0, 50):
        async with database.begin() as session:
            await bulk_create_users(
                session, [new(f"e{extra}{n}@example.com") for n in range(extra)]
            )
        async with database.read_only_session() as session:
            with statements(database) as sent:
                users = await users_with_relationships(session)
            ada, bob = users[0], users[1]
            assert [role.name for role in ada.roles] == ["admin", "editor"]
            assert (len(ada.posts), len(bob.posts)) == (3, 5)
            assert {tag.name for post in ada.posts for tag in post.tags} == {"sql"}
            assert bob.manager is ada and ada.manager is None
            assert "Cleo" not in [user.name for user in users]
            counts.append(len(sent))
    assert counts == [4, 4]


async def test_seed_row_27_what_was_not_asked_for_is_not_loaded(database: DatabaseSessionManager):
    async with database.session() as session:
        ada, cleo = await named(session, "Ada"), await named(session, "Cleo")
        await soft_delete_user(session, cleo.id)
        await session.commit()
    async with database.session() as session:
        with statements(database) as sent:
            user = await user_with_roles(session, ada.id)
        assert user and len(user.roles) == 2 and len(sent) == 2
        with pytest.raises(InvalidRequestError, match=r"User.posts.*raise"):
            _ = user.posts
        assert await user_with_roles(session, cleo.id) is None


# 6


async def test_seed_11_row_28_nothing_deleted_is_counted(database: DatabaseSessionManager):
    async with database.begin() as session:
        await add_user(session, new("zoe@example.com", "Zoe"))
    async with database.read_only_session() as session:
        totals = await users_with_post_count(session)
        assert [(t.name, t.posts, t.views) for t in totals] == [
            ("Ada", 5, 2400),
            ("Bob", 5, 1200),
            ("Cleo", 5, 200),
            ("Zoe", 0, 0),
        ]
    await delete_everything_of_cleo(database)
    async with database.begin() as session:
        for post in (await named(session, "Bob")).posts:
            await post.soft_delete(session)
    async with database.read_only_session() as session:
        with statements(database) as sent:
            totals = await users_with_post_count(session)
            top = await top_authors(session)
        assert len(sent) == 2
        # Ada's first two by title are "Async sessions explained" (900) and "Indexes that help".
        assert [(t.name, t.posts, t.views) for t in totals] == [
            ("Ada", 3, 800),
            ("Bob", 0, 0),
            ("Zoe", 0, 0),
        ]
        assert [(t.name, t.posts, t.views) for t in top] == [("Ada", 2, 800)]
        assert all(type(t.views) is int for t in totals + top)


async def test_top_authors_with_equal_views_come_in_one_order(database: DatabaseSessionManager):
    async with database.begin() as session:
        await session.execute(update(Post).values(views=1))
    async with database.read_only_session() as session:
        everyone = [author.id for author in await top_authors(session)]
        assert everyone == sorted(everyone) and len(everyone) == 3
        assert [author.id for author in await top_authors(session, 2)] == everyone[:2]


# 7


async def add_posts(database: DatabaseSessionManager, count: int, **values: object) -> None:
    async with database.begin() as session:
        ada = await named(session, "Ada")
        row = {"author_id": ada.id, "body": "b" * 10, "published_at": FIRST_DAY, **values}
        rows = [{"id": uuid7(), "title": f"Post {n:06}", **row} for n in range(count)]
        await session.execute(insert(Post), rows)


async def test_seed_row_29_streams_in_batches_and_in_bounded_memory(
    database: DatabaseSessionManager,
):
    await delete_everything_of_cleo(database)
    await add_posts(database, 3_000)

    async def in_batches(session: AsyncSession, batch: int) -> int:
        rows = 0
        async with aclosing(stream_posts(session, batch=batch)) as batches:
            async for lines in batches:
                assert len(lines) <= batch
                rows += len(lines)
        return rows

    async def without_yield_per(session: AsyncSession) -> int:
        rows = await session.stream(select(Post.id, Post.title, Post.views))
        return len([row.views async for row in rows])

    async def peak(work: Callable[[AsyncSession], Awaitable[int]]) -> int:
        """The most bytes in use."""
        async with database.session() as session:
            tracemalloc.start()
            assert await work(session) == 3_000 + 15 - 5 - 2
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return most

    await peak(lambda session: in_batches(session, 50))  # fills the caches
    await peak(without_yield_per)
    with statements(database) as sent:
        small = await peak(lambda session: in_batches(session, 50))
        large = await peak(lambda session: in_batches(session, 20_000))
    assert len(sent) == 2
    assert small < large / 4
    assert small < await peak(without_yield_per) / 2  # it fetches all rows first


async def test_stream_that_is_left_early_leaves_the_session_in_order(
    database: DatabaseSessionManager,
):
    async with database.session() as session:
        async with aclosing(stream_posts(session, batch=2)) as batches:
            async for lines in batches:
                assert len(lines) == 2
                break
        assert await User.count(session) == 3
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.dialects("postgresql")
async def test_stream_on_a_read_only_session_of_postgresql(database: DatabaseSessionManager):
    """A cursor needs a transaction, which such a session begins for it."""
    reading = database.read_only_session()
    async with reading as session, aclosing(stream_posts(session)) as batches:
        assert await anext(batches)
    async with database.begin() as session:  # and the connection is as good as new
        await soft_delete_user(session, (await named(session, "Cleo")).id)


# 8


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
async def test_seed_row_30_deleted_at_is_the_time_now_in_any_time_zone(
    database: DatabaseSessionManager, zone: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        async with database.begin() as session:
            await soft_delete_user(session, (await named(session, "Cleo")).id)
        async with database.session() as session:
            (deleted,) = await deleted_users(session)
            assert abs(datetime.now(UTC) - deleted.deleted_at) < timedelta(seconds=30)
            recent = User.deleted_at > datetime.now(UTC) - timedelta(seconds=30)
            assert await User.count(session, recent, include_deleted=True) == 1
            later = User.deleted_at > datetime.now(UTC) + timedelta(seconds=30)
            assert await User.count(session, later, include_deleted=True) == 0
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_soft_delete_hides_restore_shows_and_purge_removes(
    database: DatabaseSessionManager,
):
    async with database.begin() as session:
        cleo = await named(session, "Cleo")
    async with database.begin() as session:
        with statements(database) as sent:
            await soft_delete_user(session, cleo.id)
        assert len(sent) == 3 + 5 + 2 * is_mysql(database)
        with pytest.raises(NotFoundError):
            await soft_delete_user(session, cleo.id)
        assert [user.email for user in await deleted_users(session)] == ["cleo@example.com"]
        assert await Post.count(session) == 10
    async with database.begin() as session:
        await restore_user(session, cleo.id)
        assert await deleted_users(session) == []
        assert await Post.count(session) == 15
        with pytest.raises(NotFoundError):
            await restore_user(session, uuid.uuid4())
    async with database.begin() as session:
        await soft_delete_user(session, cleo.id)
        day = timedelta(days=1)
        assert await purge_deleted_users(session, datetime.now(UTC) - day) == 0
        assert await purge_deleted_users(session, datetime.now(UTC) + day) == 1
        assert await Post.count(session, include_deleted=True) == 10
        assert await User.count(session, include_deleted=True) == 2
        with pytest.raises(StatementError, match="naive datetime"):
            await purge_deleted_users(session, datetime.now())


async def test_who_was_deleted_last_is_the_first_of_the_deleted(database: DatabaseSessionManager):
    async with database.begin() as session:
        for name in ("Ada", "Cleo", "Bob"):
            await soft_delete_user(session, (await named(session, name)).id)
        names = [user.email.partition("@")[0] for user in await deleted_users(session)]
    assert names == ["bob", "cleo", "ada"]


async def test_restore_of_a_taken_address_keeps_the_pending_work(
    database: DatabaseSessionManager,
):
    async with database.begin() as session:
        cleo = await named(session, "Cleo")
        await soft_delete_user(session, cleo.id)
        await add_user(session, new("Cleo@example.com", "Other"))
    async with database.begin() as session:
        session.add(User(email="pending@example.com", name="Pending", password_hash="-"))
        with pytest.raises(EmailTakenError, match=r"cleo@example\.com"):
            await restore_user(session, cleo.id)
        assert (await named(session, "Pending")).email == "pending@example.com"
    async with database.session() as session:
        assert await named(session, "Pending") and await named(session, "Other")
        assert len(await deleted_users(session)) == 1


# 9


async def test_seed_30_row_31_duplicate_is_not_tried_again(
    database: DatabaseSessionManager, slept: list[float]
):
    with statements(database) as sent, pytest.raises(EmailTakenError, match=r"ada@example\.com"):
        await create_user_with_retry(database, new("ADA@example.com"))
    assert sum(s.startswith("INSERT INTO users") for s in sent) == 1
    assert not any(slept)


async def test_seed_30_row_31_pending_work_of_the_caller_is_kept(
    database: DatabaseSessionManager,
):
    async with database.begin() as session:
        session.add(User(email="pending@example.com", name="Pending", password_hash="-"))
        with pytest.raises(EmailTakenError):
            await add_user(session, new("ada@example.com"))
        added = await add_user(session, new("after@example.com"))
        assert added.roles == []
    async with database.session() as session:
        emails = {user.email for user in await users_as_dtos(session)}
        assert {"pending@example.com", "after@example.com"} < emails


async def test_an_error_of_the_callers_own_work_is_not_taken_for_a_duplicate_address(
    database: DatabaseSessionManager,
):
    async with database.session() as session:
        session.add(Role(name="admin"))  # there is one
        with pytest.raises(IntegrityError):
            await add_user(session, new("free@example.com"))


async def test_seed_30_a_lost_connection_or_a_busy_database_is_tried_again(
    seeded_url: str, database: DatabaseSessionManager
):
    attempts: Counter[str] = Counter()

    def break_the_first(connection, _cursor, statement, *_) -> None:
        if not statement.startswith("INSERT INTO users"):
            return
        attempts["inserts"] += 1
        if attempts["inserts"] > 1 or connection.dialect.name == "sqlite":
            return
        kill = (
            "SELECT pg_terminate_backend(pg_backend_pid())"
            if connection.dialect.name == "postgresql"
            else "KILL CONNECTION_ID()"
        )
        with suppress(Exception):
            connection.connection.cursor().execute(kill)

    path = make_url(seeded_url).database
    assert path is not None
    async with opened(seeded_url, lock_timeout=0.2) as own:
        event.listen(own.engine.sync_engine, "before_cursor_execute", break_the_first)
        if database.engine.dialect.name == "sqlite":
            writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            writer.execute("BEGIN IMMEDIATE")

            def end_the_writer(_context: object) -> None:
                attempts["refused"] += 1
                writer.execute("ROLLBACK")

            event.listen(own.engine.sync_engine, "handle_error", end_the_writer, once=True)
            created = await create_user_with_retry(own, new("again@example.com"))
            assert attempts["refused"] == 1
            writer.close()
        else:
            created = await create_user_with_retry(own, new("again@example.com"))
            assert attempts["inserts"] == 2
    assert created.email == "again@example.com"
    async with database.session() as session:
        assert await User.count(session, User.email == "again@example.com") == 1


async def test_of_many_at_once_one_gets_the_address(database: DatabaseSessionManager):
    results = await asyncio.gather(
        *(create_user_with_retry(database, new("race@example.com")) for _ in range(8)),
        return_exceptions=True,
    )
    kinds = Counter(type(result).__name__ for result in results)
    assert kinds == {"UserOut": 1, "EmailTakenError": 7}


# 10


async def test_seed_8_11_row_32_dtos_outlive_the_session_and_hide_what_is_private(
    database: DatabaseSessionManager,
):
    await delete_everything_of_cleo(database)
    async with database.read_only_session() as session:
        with statements(database) as sent:
            users = await users_as_dtos(session)
            assert len(sent) == 2
            cards = await user_cards(session)
            assert len(sent) == 3
    assert [(user.name, user.roles) for user in users] == [
        ("Ada", ["admin", "editor"]),
        ("Bob", ["editor"]),
    ]
    assert [card.name for card in cards] == ["Ada", "Bob"]
    for user in users:
        assert "password" not in user.model_dump_json()
        assert user.created_at.tzinfo is not None
    assert "hash" not in repr(new("a@example.com"))


# 11


@pytest.mark.parametrize("sort", ["views", "-views", "created_at", "-title"])
async def test_seed_19_row_33_pages_of_equal_rows_neither_repeat_nor_skip(
    database: DatabaseSessionManager, sort: str
):
    await add_posts(database, 303, title="Same", views=7, created_at=FIRST_DAY)
    async with database.read_only_session() as session:
        total = (await posts_page(session, size=1)).total
        assert total == 303 + 12
        by_page: list[uuid.UUID] = []
        for page in range(1, 6):
            found = await posts_page(session, page=page, size=80, sort=sort)
            by_page += [post.id for post in found.items]
        by_cursor: list[uuid.UUID] = []
        cursor = None
        while True:
            part = await posts_after(session, CURSORS, cursor=cursor, size=80, sort=sort)
            by_cursor += [post.id for post in part.items]
            cursor = part.next_cursor
            if cursor is None:
                break
        assert len(set(by_page)) == len(by_page) == total
        assert by_cursor == by_page


async def test_pages_cost_the_same_and_show_nothing_deleted(database: DatabaseSessionManager):
    await delete_everything_of_cleo(database)
    async with database.read_only_session() as session:
        with statements(database) as sent:
            page = await posts_page(session, size=100, sort="title")
            assert len(sent) == 3
            part = await posts_after(session, CURSORS, size=100, sort="title")
            assert len(sent) == 5
        assert page.items == part.items and part.next_cursor is None
        assert page.total == len(page.items) == 6
        assert {post.author for post in page.items} == {"Ada", "Bob"}
        assert page.items[0].tags == ["async", "python"]
        bob = await named(session, "Bob")
        of_bob = await posts_after(session, CURSORS, author_id=bob.id)
        assert {post.author for post in of_bob.items} == {"Bob"} and len(of_bob.items) == 4
        assert (await posts_page(session, author_id=bob.id)).total == 4


async def test_post_that_outlived_its_author_is_on_no_page(database: DatabaseSessionManager):
    async with database.begin() as session:
        await session.execute(
            update(User).where(User.name == "Cleo").values(deleted_at=datetime.now(UTC))
        )
        page = await posts_page(session, size=100)
        assert page.total == len(page.items) == 8
        assert len((await posts_after(session, CURSORS, size=100)).items) == 8


async def test_by_cursor_nothing_is_repeated_when_a_row_is_added_before(
    database: DatabaseSessionManager,
):
    async with database.session() as session:
        page = await posts_page(session, size=5)
        part = await posts_after(session, CURSORS, size=5)
        await session.commit()
        await add_posts(database, 1)
        again = await posts_page(session, page=2, size=5)
        following = await posts_after(session, CURSORS, cursor=part.next_cursor, size=5)
        assert page.items[-1].id == again.items[0].id  # which is what offsets do
        seen = {post.id for post in part.items}
        assert len(seen | {post.id for post in following.items}) == 10
        # The row at which the page ended may be gone.
        last = await session.get_one(Post, part.items[-1].id)
        await last.soft_delete(session)
        same = await posts_after(session, CURSORS, cursor=part.next_cursor, size=5)
        assert same.items == following.items


@pytest.mark.parametrize(
    "page, size", [(0, 10), (-1, 10), (1, 0), (1, -5), (1, MAX_SIZE + 1), (10**30, 10)]
)
async def test_seed_row_33_there_is_no_such_page(session: AsyncSession, page: int, size: int):
    with pytest.raises(BadRequestError, match=r"it is 1 to 100|the first page is 1|pages end at"):
        await posts_page(session, page=page, size=size)
    if page == 1:
        with pytest.raises(BadRequestError, match="it is 1 to 100"):
            await posts_after(session, CURSORS, size=size)
    assert (await posts_page(session, page=MAX_OFFSET // 10 + 1, size=10)).items == []
    assert (await posts_page(session, page=99, size=10)).items == []


@pytest.mark.parametrize("sort", ["", "-", "password_hash", "--title", "title; drop", "id"])
async def test_sort_by_what_is_not_offered_is_refused(session: AsyncSession, sort: str):
    for pages in (posts_page(session, sort=sort), posts_after(session, CURSORS, sort=sort)):
        with pytest.raises(BadRequestError, match="sort by one of created_at, title, views"):
            await pages


@pytest.mark.dialects("sqlite")
def test_what_can_be_sorted_by_is_never_null():
    """A NULL is neither before nor after a cursor: its row would be on no page."""
    for column in (*POST_SORTS.values(), *patterns.USER_SORTS.values()):
        assert not column.property.columns[0].nullable


async def test_cursor_that_was_changed_or_is_of_another_list_is_refused(session: AsyncSession):
    part = await posts_after(session, CURSORS, size=2, sort="views")
    cursor = part.next_cursor
    assert cursor is not None
    bob = await named(session, "Bob")

    async def read(text: str, cursors: Cursors = CURSORS, sort: str = "views", **where) -> None:
        await posts_after(session, cursors, cursor=text, size=2, sort=sort, **where)

    await read(cursor)
    changed = [
        cursor[:place] + other + cursor[place + 1 :]
        for place in range(len(cursor))
        for other in "AB_=!"
        if other != cursor[place]
    ]
    broken = ["", "x", "=", cursor[:-1], cursor + "A", cursor + "\n", f" {cursor}", "é", "\x00"]
    for text in changed + broken:
        with pytest.raises(InvalidCursorError, match="not one of this list"):
            await read(text)
    with pytest.raises(InvalidCursorError):
        await read(cursor, sort="-views")
    with pytest.raises(InvalidCursorError):
        await read(cursor, author_id=bob.id)
    with pytest.raises(InvalidCursorError):
        await read(cursor, Cursors(b"another secret, as long"))


@pytest.mark.dialects("sqlite")
def test_secret_of_cursors_is_long_and_not_shown():
    with pytest.raises(ValueError, match="16 bytes"):
        Cursors(b"short")
    assert "secret of tests" not in repr(CURSORS)


# 12


async def test_seed_29_row_34_wildcards_match_only_themselves(database: DatabaseSessionManager):
    odd = ["100% wool", "snake_case", "slash/slash", r"back\slash", "quo'te", "Ünïcode"]
    async with database.begin() as session:
        await bulk_create_users(
            session, [new(f"odd{number}@x.example", name) for number, name in enumerate(odd)]
        )
    async with database.read_only_session() as session:

        async def names(text: str) -> list[str]:
            found = await search_users(session, UserSearch(text=text, size=100))
            assert found.total == len(found.items)
            return [user.name for user in found.items]

        assert await names("%") == ["100% wool"]
        assert await names("_") == ["snake_case"]
        assert await names("/") == ["slash/slash"]
        assert await names("\\") == [r"back\slash"]
        assert await names("'") == ["quo'te"]
        assert await names("nïc") == ["Ünïcode"]
        assert await names("%%") == await names("a%a") == await names("A_A") == []
        assert await names("ADA@EXAMPLE") == ["Ada"]
        assert len(await names("")) == 9


async def test_filters_and_their_sum(database: DatabaseSessionManager):
    async with database.begin() as session:
        await add_user(session, new("zoe@example.com", "Zoe"))
        bob = await named(session, "Bob")
        for post in bob.posts:
            await post.soft_delete(session)
        gone = await add_user(session, new("gone@example.com", "Gone"))
        await bulk_update_status(session, [bob.id, gone.id], UserStatus.SUSPENDED)
        await soft_delete_user(session, gone.id)
        now = datetime.now(UTC)
    async with database.read_only_session() as session:

        async def names(**search: object) -> list[str]:
            with statements(database) as sent:
                found = await search_users(session, UserSearch.model_validate(search))
            assert len(sent) == (3 if found.items else 2)
            return [user.name for user in found.items]

        assert await names() == ["Ada", "Bob", "Cleo", "Zoe"]
        assert await names(sort="-email") == ["Zoe", "Cleo", "Bob", "Ada"]
        assert await names(status="suspended") == ["Bob"]
        assert await names(role="editor") == ["Ada", "Bob"]
        assert await names(with_posts=True) == ["Ada", "Cleo"]
        assert await names(with_posts=False) == ["Bob", "Zoe"]
        assert await names(role="editor", with_posts=True) == ["Ada"]
        assert await names(created_after=now) == []
        assert await names(created_after=now - timedelta(hours=1), text="OB") == ["Bob"]
        assert await names(page=2, size=3) == ["Zoe"]


@pytest.mark.dialects("sqlite")
@pytest.mark.parametrize(
    "search",
    [
        {"password_hash": "x"},
        {"sort": "password_hash"},
        {"sort": "-id"},
        {"status": "root"},
        {"created_after": "2026-01-01T00:00:00"},
        {"page": 0},
        {"size": 0},
        {"size": MAX_SIZE + 1},
        {"text": "a\x00b"},
    ],
)
def test_filters_and_sorts_that_are_not_offered_are_refused(search: dict[str, object]):
    with pytest.raises(pydantic.ValidationError):
        UserSearch.model_validate(search)


@pytest.mark.dialects("sqlite")
def test_each_filter_has_a_condition():
    """A filter that is offered and then forgotten would show everybody."""
    values = {
        "text": "x",
        "status": "active",
        "role": "x",
        "created_after": datetime.now(UTC),
        "with_posts": True,
    }
    assert {*values, "sort", "page", "size"} == set(UserSearch.model_fields)
    for name, value in values.items():
        search = UserSearch.model_validate({name: value})
        assert len(patterns.user_conditions(search)) == 1
    sorts = UserSearch.model_json_schema()["properties"]["sort"]["enum"]
    assert {sort.removeprefix("-") for sort in sorts} == set(patterns.USER_SORTS)
