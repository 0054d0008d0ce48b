"""examples/user_model.py, on all three databases."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, inspect, make_url, select, text, update
from sqlalchemy.exc import IntegrityError, InvalidRequestError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from base_model import Base
from projects import warm
from projects.examples import statements
from session_manager import DatabaseConfig, DatabaseSessionManager
from user_model import (
    FIRST_DAY,
    Post,
    Role,
    RolesNotLoadedError,
    Tag,
    User,
    UserStatus,
    post_tags,
    user_roles,
)

pytestmark = pytest.mark.older_sqlalchemy_on("sqlite", "postgresql")

EXAMPLE = Path(__file__).parents[2] / "examples" / "user_model.py"
TABLES = [model.__table__ for model in (User, Post, Role, Tag)] + [user_roles, post_tags]

# MariaDB's driver takes a failed CHECK (4025) for an operational error.
CHECK_FAILED = (IntegrityError, OperationalError)


@pytest.fixture
async def database(seeded_url: str) -> AsyncIterator[DatabaseSessionManager]:
    async with DatabaseSessionManager(DatabaseConfig(seeded_url)) as manager:
        yield manager


@pytest.fixture
async def session(database: DatabaseSessionManager) -> AsyncIterator[AsyncSession]:
    async with database.session() as session:
        yield session


async def get_user(session: AsyncSession, name: str, *options) -> User:
    return (await session.scalars(select(User).filter_by(name=name).options(*options))).one()


def newcomer(name: str = "Dan", **values) -> User:
    return User(
        **{"email": f"{name.lower()}@example.com", "name": name, "password_hash": "-"} | values
    )


async def test_seed_rows_are_those_that_its_docstring_tells(session):
    users = (
        await session.scalars(
            select(User)
            .order_by(User.name)
            .options(selectinload(User.posts), selectinload(User.roles), selectinload(User.manager))
        )
    ).all()
    assert [user.email for user in users] == [
        "ada@example.com",
        "bob@example.com",
        "cleo@example.com",
    ]
    assert [user.manager and user.manager.name for user in users] == [None, "Ada", "Bob"]
    assert [[role.name for role in user.roles] for user in users] == [
        ["admin", "editor"],
        ["editor"],
        [],
    ]
    assert [len(user.posts) for user in users] == [5, 5, 5]
    published = sorted(post.published_at for post in users[0].posts if post.is_published)
    assert published == [FIRST_DAY + timedelta(days=day) for day in range(4)]
    assert sum(post.views for user in users for post in user.posts) == 3800
    assert await Tag.count(session) == 3


async def test_seed_14_no_attribute_takes_the_name_of_the_metadata(database):
    assert User.metadata is Base.metadata
    assert all("metadata" not in mapper.columns for mapper in Base.registry.mappers)


async def test_seed_15_17_loading_a_user_is_one_statement(database, session):
    with statements(database) as seen:
        await session.scalars(select(User).order_by(User.name).limit(1))
    assert len(seen) == 1


async def test_seed_15_17_loading_all_relationships_is_one_statement_for_each(database, session):
    loads = [selectinload(getattr(User, name)) for name in ("posts", "roles", "manager", "reports")]
    with statements(database) as seen:
        users = (await session.scalars(select(User).options(*loads).order_by(User.name))).all()
        assert [[report.name for report in user.reports] for user in users] == [
            ["Bob"],
            ["Cleo"],
            [],
        ]
    assert len(seen) == 1 + len(loads)


def test_seed_15_17_no_relationship_loads_itself():
    models = (User, Post, Role, Tag)
    relations = [relation for model in models for relation in inspect(model).relationships]
    assert len(relations) == 8
    assert {relation.lazy for relation in relations} == {"raise"}


async def test_a_relationship_that_was_not_loaded_is_an_error(session):
    user = await get_user(session, "Ada")
    with pytest.raises(InvalidRequestError, match=r"User\.posts' is not available"):
        _ = user.posts
    await session.refresh(user, ["posts"])
    assert len(user.posts) == 5


async def test_seed_16_the_indexes_that_the_database_can_have(database):
    dialect = database.engine.dialect.name

    def read(connection):
        inspector = inspect(connection)
        indexes = [*inspector.get_indexes("users"), *inspector.get_indexes("posts")]
        return {index["name"]: index for index in indexes}

    async with database.engine.connect() as connection:
        if dialect == "sqlite":  # its reflection skips indexes on expressions, with a warning
            names = text("SELECT name, sql FROM sqlite_master WHERE type = 'index'")
            found = {name: sql for name, sql in await connection.execute(names)}
        else:
            found = await connection.run_sync(read)
    assert {"ix_users_manager_id", "ix_posts_author_id_published_at"} <= found.keys()
    assert "ix_posts_published_at_id" in found
    assert ("ix_users_name_lower" in found) == (dialect != "mysql")
    assert ("ix_users_preferences" in found) == (dialect == "postgresql")
    if dialect == "postgresql":
        covering = found["ix_posts_author_id_published_at"]
        assert covering["dialect_options"]["postgresql_include"] == ["title", "deleted_at"]
        partial = found["ix_posts_published_at_id"]["dialect_options"]["postgresql_where"]
        assert "published_at IS NOT NULL" in partial
    elif dialect == "sqlite":
        assert "WHERE published_at IS NOT NULL" in found["ix_posts_published_at_id"]
        assert "lower(name)" in found["ix_users_name_lower"]


@pytest.mark.parametrize(
    "values", [{"login_count": -1}, {"name": ""}], ids=["negative_count", "empty_name"]
)
async def test_constraints(session, values):
    with pytest.raises(CHECK_FAILED):
        await newcomer(**values).save(session)


async def test_negative_views_are_refused(session):
    with pytest.raises(CHECK_FAILED):
        await session.execute(update(Post).values(views=-1))


async def test_the_enum_is_stored_by_value(session):
    user = await newcomer(status=UserStatus.SUSPENDED).save(session)
    stored = text("SELECT status FROM users WHERE name = :name")
    assert await session.scalar(stored, {"name": "Dan"}) == "suspended"
    assert await session.scalar(stored, {"name": "Ada"}) == "active"
    assert not user.is_active
    active = select(User.name).where(User.is_active).order_by(User.name)
    assert (await session.scalars(active)).all() == ["Ada", "Bob", "Cleo"]


async def test_a_change_inside_the_json_is_saved(database):
    async with database.begin() as session:
        user = await get_user(session, "Ada")
        user.preferences["theme"] = "sepia"
    async with database.session() as session:
        user = await get_user(session, "Ada")
        assert user.preferences == {"theme": "sepia", "languages": ["en", "fr"]}


async def test_a_change_further_inside_the_json_takes_an_assignment(database):
    async with database.begin() as session:
        user = await get_user(session, "Ada")
        user.preferences["languages"].append("eo")
    async with database.begin() as session:
        user = await get_user(session, "Ada")
        assert user.preferences["languages"] == ["en", "fr"]
        user.preferences["languages"] = [*user.preferences["languages"], "eo"]
    async with database.session() as session:
        assert (await get_user(session, "Ada")).preferences["languages"] == ["en", "fr", "eo"]


async def test_seed_12_17_the_address_of_a_deleted_user_is_free_again_and_again(session):
    for _ in range(2):
        await (await get_user(session, "Ada")).soft_delete(session)
        await newcomer("Ada").save(session)
    everyone = select(func.count()).select_from(User).filter_by(email="ada@example.com")
    assert await session.scalar(everyone) == 1
    assert await session.scalar(everyone, execution_options={"include_deleted": True}) == 3


async def test_seed_17_an_address_is_unique_however_it_is_written(session):
    with pytest.raises(IntegrityError):
        await newcomer("Ada", email=" ADA@Example.com ").save(session)


async def test_seed_12_posts_are_deleted_and_restored_with_their_author(database, session):
    ada = await get_user(session, "Ada")
    await ada.soft_delete(session)
    assert await Post.count(session) == 10
    await ada.restore(session)
    assert await Post.count(session) == 15


async def test_seed_16_18_logins_at_the_same_time_are_all_counted(database):
    async def login() -> int:
        async with database.begin() as session:
            # All have read the old count before any of them writes.
            user = await get_user(session, "Ada")
            return await user.increment_login(session)

    counts = await asyncio.gather(*(login() for _ in range(5)))
    assert sorted(counts) == [1, 2, 3, 4, 5]
    async with database.session() as session:
        user = await get_user(session, "Ada")
    assert user.login_count == 5
    assert user.last_login_at is not None


async def test_seed_16_18_a_stale_count_in_memory_does_no_harm(database):
    # SQLite lets only one of two open transactions write, so the reader commits first.
    async with database.session() as session:
        user = await get_user(session, "Ada")
        await session.commit()
        async with database.begin() as other:
            await (await get_user(other, "Ada")).increment_login(other)
        assert user.login_count == 0
        assert await user.increment_login(session) == 2


async def test_seed_13_19_no_method_commits_the_session_that_it_was_given(database):
    async with database.session() as session:
        session.add(newcomer())
        user = await get_user(session, "Ada")
        await user.increment_login(session)
        await user.soft_delete(session)
        await session.rollback()
        assert await User.count(session) == 3
        assert (await get_user(session, "Ada")).login_count == 0


async def test_seed_9_generated_values_can_be_read_after_an_update(session):
    user = await get_user(session, "Ada")
    before = user.updated_at
    await user.increment_login(session)
    await session.commit()
    assert user.updated_at > before
    assert "login_count" in user.to_dict()


async def test_verified_and_deactivated_users(database):
    """Each is saved, none commits, and a link in an old letter wakes no suspended account."""
    async with database.begin() as session:
        user = newcomer("Ivy", status=UserStatus.INVITED)
        await user.save(session)
        await user.verify_email(session)
        assert user.is_active
        await user.deactivate(session)
        await user.verify_email(session)
    async with database.session() as session:
        suspended = select(User.name).where(User.status == UserStatus.SUSPENDED)
        assert "Ivy" in (await session.scalars(suspended)).all()


async def test_seed_20_roles_that_are_not_loaded_are_a_clear_error(database):
    async with database.begin() as session:
        session.add(newcomer())
    async with database.session() as session:
        user = await get_user(session, "Dan")
        for ask in (lambda: user.is_admin, lambda: user.has_role("editor")):
            with statements(database) as seen, pytest.raises(RolesNotLoadedError, match="refresh"):
                ask()
            assert seen == []
        await session.refresh(user, ["roles"])  # what the message advises
        assert not user.is_admin
        user = await get_user(session, "Ada", selectinload(User.roles))
        assert user.is_admin
        assert user.has_role("nobody", "editor")


async def test_seed_20_a_newly_committed_user(database):
    async with database.session() as session:
        admin = (await session.scalars(select(Role).filter_by(name="admin"))).one()
        unasked, plain, chief = (
            newcomer(),
            newcomer("Fay", roles=[]),
            newcomer("Eva", roles=[admin]),
        )
        assert not newcomer("Gil").is_admin  # not saved: there is nothing that could be loaded
        session.add_all([unasked, plain, chief])
        await session.commit()
        with statements(database) as seen:
            assert chief.is_admin
            assert not plain.is_admin
            with pytest.raises(RolesNotLoadedError):
                _ = unasked.is_admin
        assert seen == []


async def test_seed_21_52_deleting_a_user_for_good_leaves_no_orphan(database, session):
    ada = await get_user(session, "Ada")
    with statements(database) as seen:
        await ada.delete(session)
    assert len(seen) == 1  # the database does the rest
    orphans = select(func.count()).select_from(Post).where(Post.author_id == ada.id)
    assert await session.scalar(orphans, execution_options={"include_deleted": True}) == 0
    assert await session.scalar(select(func.count()).select_from(user_roles)) == 1
    assert await session.scalar(select(func.count()).select_from(post_tags)) == 13
    bob = await get_user(session, "Bob")
    assert bob.manager_id is None


async def test_seed_21_a_post_taken_from_its_author_is_deleted(session):
    ada = await get_user(session, "Ada", selectinload(User.posts))
    del ada.posts[0]
    await session.flush()
    assert await Post.count(session) == 14


async def test_seed_8_the_password_is_not_in_the_dict(session):
    user = await get_user(session, "Ada", selectinload(User.posts), selectinload(User.roles))
    values = user.to_dict()
    assert "password_hash" not in values
    assert "password" not in repr(user)
    json.dumps(values, default=str)  # no relationship in it that would go round in circles


async def test_hybrids_agree_in_python_and_in_sql(session):
    users = (await session.scalars(select(User).options(selectinload(User.posts)))).all()
    rows = await session.execute(select(User.id, User.label, User.post_count, User.is_active))
    assert sorted(map(tuple, rows)) == sorted(
        (user.id, user.label, user.post_count, user.is_active) for user in users
    )
    by_count = select(User.name).where(User.post_count > 4).order_by(User.label.desc())
    assert (await session.scalars(by_count)).all() == ["Cleo", "Bob", "Ada"]
    drafts = select(Post.title).where(~Post.is_published).order_by(Post.title)
    assert (await session.scalars(drafts)).all() == [
        "Notes on COPY",
        "Notes on locks",
        "Notes on pools",
    ]


async def test_the_count_of_posts_leaves_out_deleted_ones_also_over_a_join(session):
    post = (await session.scalars(select(Post).filter_by(title="Notes on COPY"))).one()
    await post.soft_delete(session)
    ada = await get_user(session, "Ada", selectinload(User.posts))
    assert ada.post_count == 4
    joined = (
        select(User.name, User.post_count).join(User.posts).where(Post.title == "Window functions")
    )
    assert (await session.execute(joined)).one() == ("Ada", 4)


async def test_the_computed_column_follows_its_source(session):
    post = (await session.scalars(select(Post).filter_by(title="Notes on COPY"))).one()
    assert post.body_length == len("Notes on COPY, by Ada.")
    post.body = "naïve"  # characters, not bytes
    await session.flush()
    assert post.body_length == 5  # read back at once, without a lazy load
    await session.execute(text("UPDATE posts SET body = 'longer' WHERE title = 'Notes on COPY'"))
    await session.refresh(post)
    assert post.body_length == 6


@pytest.mark.parametrize("given", ["sqlite", "postgresql", "mysql", None])
def test_seed_14_the_program_runs(given: str | None, make_database: Callable[[str], str]):
    arguments = [make_database(given)] if given else []  # else its own temporary file
    ran = warm.completed(EXAMPLE, *arguments)
    assert ran.stderr == ""
    assert ran.returncode == 0
    assert "logins: [1, 2, 3]" in ran.stdout
    assert "a second ada@example.com: refused" in ran.stdout
    assert "accepted; 10 posts are left" in ran.stdout
    if given == "sqlite":  # nothing is left behind in somebody's database
        with closing(sqlite3.connect(str(make_url(arguments[0]).database))) as connection:
            assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []


@pytest.mark.dialects("postgresql", "mysql")
def test_a_wrong_password_is_one_line(database_url: str):
    url = make_url(database_url).set(password="wrong-pw")
    ran = warm.completed(EXAMPLE, url.render_as_string(hide_password=False))
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: the database cannot be used: ")
    assert ran.stderr.count("\n") == 1
    assert "wrong-pw" not in ran.stdout + ran.stderr
