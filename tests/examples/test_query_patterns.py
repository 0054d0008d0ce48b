"""examples/query_patterns.py, on all three databases."""

import asyncio
import logging
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, selectinload

import query_patterns as patterns
from base_model import uuid7
from projects import warm
from query_patterns import (
    CREATE_SEARCH,
    DROP_SEARCH,
    LOADERS,
    N_PLUS_1_AND_CURES,
    ResultCache,
    UnsupportedError,
    change_schema,
    count_statements,
    explain,
)
from session_manager import DatabaseConfig, DatabaseSessionManager
from user_model import FIRST_DAY, Post, Role, Tag, User, UserStatus, post_tags, user_roles

pytestmark = pytest.mark.older_sqlalchemy_on("sqlite", "postgresql")

EXAMPLE = Path(__file__).parents[2] / "examples" / "query_patterns.py"
TABLES = [model.__table__ for model in (User, Post, Role, Tag)] + [user_roles, post_tags]


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


async def soft_delete_post(session: AsyncSession, title: str) -> None:
    post = (await session.scalars(select(Post).filter_by(title=title))).one()
    await post.soft_delete(session)


async def add_many(session: AsyncSession, users: int, posts: int) -> None:
    """So many users, with so many posts each."""
    rows = [
        {"id": uuid7(), "email": f"u{n}@example.com", "name": f"U{n:04}", "password_hash": "-"}
        for n in range(users)
    ]
    await session.execute(insert(User), rows)
    await patterns.insert_posts(
        session,
        [
            {"author_id": row["id"], "title": f"Post {n}", "body": "one two three"}
            for row in rows
            for n in range(posts)
        ],
    )


def new_posts(author: User, count: int) -> list[dict[str, object]]:
    return [{"author_id": author.id, "title": f"New {n}", "body": "text"} for n in range(count)]


async def count_posts(session: AsyncSession) -> int:
    return await Post.count(session)


# N+1 and loaders


@pytest.mark.parametrize(
    ("name", "expected"),
    [("one by one", 4), ("selectinload", 2), ("joinedload", 1), ("columns", 1)],
)
async def test_seed_36_n_plus_1_and_its_cures(database, name, expected):
    async with database.session() as session:
        right = await patterns.titles_one_by_one(session)
    assert {len(titles) for titles in right.values()} == {5}
    with count_statements(database) as statements:
        async with database.session() as session:
            assert await N_PLUS_1_AND_CURES[name](session) == right
    assert len(statements) == expected


@pytest.mark.parametrize("name", N_PLUS_1_AND_CURES)
async def test_every_cure_hides_deleted_posts_and_keeps_users_without_any(database, name):
    async with database.begin() as session:
        await soft_delete_post(session, "Window functions")
        session.add(User(email="dan@example.com", name="Dan", password_hash="-"))
    async with database.session() as session:
        titles = await N_PLUS_1_AND_CURES[name](session)
    assert "Window functions" not in titles["Ada"]
    assert titles["Dan"] == []


async def test_the_counter_counts_what_was_sent(database):
    async with database.session() as session:
        with count_statements(database) as statements:
            await session.execute(text("SELECT 1"))
            await session.execute(text("SELECT 2"))
            await session.commit()
        await session.execute(text("SELECT 3"))
    assert statements.seen == ["SELECT 1", "SELECT 2"]


async def test_seed_37_every_loader_runs_and_loads_the_same(database):
    async with database.begin() as session:
        await add_many(session, 20, 5)
    compared = await patterns.compare_loaders(database, rounds=1)
    assert {name: measured.statements for name, measured in compared.items()} == {
        "selectinload": 2,
        "joinedload": 1,
        "subqueryload": 2,
    }
    assert {measured.posts for measured in compared.values()} == {115}
    assert all(measured.milliseconds > 0 for measured in compared.values())


@pytest.mark.dialects("sqlite")
async def test_seed_37_two_strategies_for_one_path_are_refused(session):
    both = select(User).options(
        joinedload(User.posts).joinedload(Post.tags), selectinload(User.posts)
    )
    with pytest.raises(InvalidRequestError, match="conflict"):
        await session.scalars(both)
    assert LOADERS.keys() == {"selectinload", "joinedload", "subqueryload"}


async def test_a_collection_with_a_condition(database, session):
    await session.scalars(select(User).options(selectinload(User.posts)))  # in memory already
    with count_statements(database) as statements:
        users = await patterns.users_with_popular_posts(session, 450)
    assert [(user.name, [post.views for post in user.posts]) for user in users] == [
        ("Ada", [900, 700, 500]),
        ("Bob", [450]),
    ]
    assert len(statements) == 1
    with count_statements(database) as statements:
        users = await patterns.users_with_drafts(session)
    assert [[post.title for post in user.posts] for user in users] == [
        ["Notes on COPY"],
        ["Notes on pools"],
        ["Notes on locks"],
    ]
    assert len(statements) == 2


async def test_seed_36_partial_columns(database, session):
    with count_statements(database) as statements:
        posts = await patterns.post_list(session, 3)
    assert [(post.title, post.author.name) for post in posts] == [
        ("Async sessions explained", "Ada"),
        ("Indexes that help", "Ada"),
        ("Reading a query plan", "Ada"),
    ]
    assert len(statements) == 1
    assert "body" not in statements.seen[0]
    assert "password_hash" not in statements.seen[0]
    with pytest.raises(InvalidRequestError, match="body"):
        _ = posts[0].body


# Subqueries


async def test_seed_36_exists(database):
    async with database.begin() as session:
        session.add(User(email="dan@example.com", name="Dan", password_hash="-"))
        await session.execute(
            update(Post)
            .where(Post.author_id == (await get_user(session, "Cleo")).id)
            .values(published_at=None)
        )
    async with database.session() as session:
        names = [user.name for user in await patterns.users_who_published(session)]
        assert names == ["Ada", "Bob"]
        assert [user.name for user in await patterns.users_without_posts(session)] == ["Dan"]
        assert await patterns.has_post(session, (await get_user(session, "Ada")).id)
        assert not await patterns.has_post(session, (await get_user(session, "Dan")).id)


async def test_seed_11_exists_does_not_see_deleted_posts(session):
    bob = await get_user(session, "Bob")
    for post in await session.scalars(select(Post).where(Post.author_id == bob.id)):
        await post.soft_delete(session)
    names = [user.name for user in await patterns.users_who_published(session)]
    assert names == ["Ada", "Cleo"]
    assert [user.name for user in await patterns.users_without_posts(session)] == ["Bob"]
    assert not await patterns.has_post(session, bob.id)


async def test_seed_25_54_the_subquery_has_a_from_of_its_own(session):
    average = 3800 / 15
    above = await patterns.posts_above_average(session)
    right = select(Post.title).where(Post.views > average).order_by(Post.views.desc())
    assert above == (await session.scalars(right)).all()
    assert len(above) == 6


async def test_seed_25_54_about_the_model_itself_it_is_refused_or_wrong(session):
    theirs = (Post.author_id == User.id, User.is_active)
    average = select(func.avg(Post.views)).where(*theirs).scalar_subquery()
    above = select(Post.title).where(Post.views > average)
    if session.get_bind().dialect.name == "mysql":
        assert len((await session.scalars(above)).all()) != 6
        return
    with pytest.raises(DBAPIError, match=r"(?i)aggregate"):
        await session.scalars(above)


async def test_seed_25_54_only_active_authors_count_for_the_average(session):
    (await get_user(session, "Ada")).status = UserStatus.SUSPENDED  # the others' average: 140
    assert len(await patterns.posts_above_average(session)) == 8


async def test_seed_36_cte(session):
    assert await patterns.posts_above_authors_average(session) == [
        ("Ada", "Async sessions explained"),
        ("Ada", "Indexes that help"),
        ("Ada", "Reading a query plan"),
        ("Bob", "Async generators"),
        ("Bob", "Dataclasses or models"),
        ("Bob", "Loading what you need"),
        ("Cleo", "A first migration"),
        ("Cleo", "Before the release"),
    ]


async def test_seed_11_cte_does_not_see_deleted_posts(session):
    await soft_delete_post(session, "Async sessions explained")  # Ada's average: 375
    above = await patterns.posts_above_authors_average(session)
    assert [title for name, title in above if name == "Ada"] == [
        "Indexes that help",
        "Reading a query plan",
    ]


async def test_a_recursive_cte_walks_the_tree(database, session):
    ada, bob = await get_user(session, "Ada"), await get_user(session, "Bob")
    session.add(User(email="b@example.com", name="A" * 100, password_hash="-", manager=bob))
    await session.flush()
    with count_statements(database) as statements:
        team = await patterns.team_of(session, ada.id)
    assert team == [(1, "Bob"), (2, "A" * 100), (2, "Cleo")]
    assert len(statements) == 1
    assert await patterns.team_of(session, bob.id) == [(1, "A" * 100), (1, "Cleo")]
    assert await patterns.team_of(session, uuid.uuid4()) == []


async def test_a_circle_of_managers_ends(session):
    ada, cleo = await get_user(session, "Ada"), await get_user(session, "Cleo")
    ada.manager_id = cleo.id
    await session.flush()
    team = await patterns.team_of(session, ada.id, max_depth=4)
    assert [name for _, name in team] == ["Bob", "Cleo", "Ada", "Bob"]


async def test_seed_11_a_deleted_manager_ends_the_branch(session):
    await (await get_user(session, "Bob")).soft_delete(session)
    assert await patterns.team_of(session, (await get_user(session, "Ada")).id) == []


async def test_seed_36_union(session):
    session.add(Post(author=await get_user(session, "Ada"), title="Last", body=""))
    await session.flush()
    session.add(User(email="eva@example.com", name="Eva", password_hash="-"))
    await session.flush()
    await soft_delete_post(session, "Window functions")
    assert (await patterns.newest(session, 2)) == [("user", "Eva"), ("post", "Last")]
    everything = await patterns.newest(session, 100)
    assert len(everything) == 4 + 15
    assert ("post", "Window functions") not in everything


# Window functions


async def test_seed_24_41_55_top_n_per_group_is_chosen_by_the_database(database):
    async with database.begin() as session:
        await add_many(session, 1, 500)
        session.add(User(email="dan@example.com", name="Dan", password_hash="-"))
    async with database.session() as session:
        with count_statements(database) as statements:
            top = await patterns.top_posts(session, 2)
        assert [(post.author.name, post.views) for post in top] == [
            ("Ada", 900),
            ("Ada", 700),
            ("Bob", 450),
            ("Bob", 350),
            ("Cleo", 80),
            ("Cleo", 60),
            ("U0000", 0),
            ("U0000", 0),
        ]
        assert len(statements) == 1
        loaded = [row for row in session.sync_session.identity_map.values() if type(row) is Post]
        assert len(loaded) == len(top)
        again = await patterns.top_posts(session, 2)
        assert [post.id for post in again] == [post.id for post in top]


async def test_seed_11_41_a_deleted_post_has_no_place(session):
    await soft_delete_post(session, "Async sessions explained")
    top = await patterns.top_posts(session, 1)
    assert [post.views for post in top] == [700, 450, 80]


async def test_seed_36_running_total(session):
    rows = await patterns.running_views(session)
    assert [views for name, _, views in rows if name == "Ada"] == [900, 1600, 2100, 2400]
    assert {type(views) for _, _, views in rows} == {int}
    # Rows of the same moment are added one by one.
    await session.execute(update(Post).where(Post.is_published).values(published_at=FIRST_DAY))
    rows = await patterns.running_views(session)
    assert sorted(views for name, _, views in rows if name == "Ada")[-1] == 2400
    assert len({views for name, _, views in rows if name == "Ada"}) == 4


async def test_lateral(database, session):
    if database.engine.dialect.name != "postgresql":
        with pytest.raises(UnsupportedError, match="top_posts"):
            await patterns.latest_posts_lateral(session, 1)
        return
    await soft_delete_post(session, "Window functions")
    with count_statements(database) as statements:
        latest = await patterns.latest_posts_lateral(session, 2)
    assert latest == [
        ("Ada", "Reading a query plan"),
        ("Ada", "Indexes that help"),
        ("Bob", "Typing a query"),
        ("Bob", "Loading what you need"),
        ("Cleo", "Dates and time zones"),
        ("Cleo", "Counting statements"),
    ]
    assert len(statements) == 1


# Writing


def person(name: str, address: str = "") -> dict[str, str]:
    address = address or f"{name.lower()}@example.com"
    return {"email": address, "name": name, "password_hash": "-"}


async def test_upsert_inserts_and_updates(database, session):
    before = await get_user(session, "Ada")
    with count_statements(database) as statements:
        await patterns.upsert_users(
            session, [person("Ada II", " ADA@example.com"), person("Dan"), person("Eva")]
        )
    assert len(statements) == 1
    users = select(User).order_by(User.name).execution_options(populate_existing=True)
    updated_at = before.updated_at
    users = (await session.scalars(users)).all()
    assert [user.name for user in users] == ["Ada II", "Bob", "Cleo", "Dan", "Eva"]
    ada = users[0]
    assert ada is before
    assert ada.password_hash != "-"
    assert ada.updated_at > updated_at
    assert users[3].preferences == {}
    assert users[3].status is not None


async def test_upsert_of_nothing_does_nothing(database, session):
    with count_statements(database) as statements:
        await patterns.upsert_users(session, [])
        await patterns.insert_posts(session, [])
        await patterns.set_views(session, {})
        await patterns.add_views(session, {})
        assert await patterns.ensure_tags(session, []) == {}
    assert len(statements) == 0


async def test_seed_12_upsert_leaves_a_deleted_user_deleted(session):
    await (await get_user(session, "Ada")).soft_delete(session)
    await patterns.upsert_users(session, [person("Ada II", "ada@example.com")])
    found = select(User.name).filter_by(email="ada@example.com")
    assert (await session.scalars(found)).all() == ["Ada II"]
    everyone = await session.scalars(found, execution_options={"include_deleted": True})
    assert sorted(everyone) == ["Ada", "Ada II"]


async def test_upserts_at_the_same_time(database):
    async def upsert(name: str) -> None:
        async with database.begin() as session:
            await patterns.upsert_users(session, [person(name, "new@example.com")])

    await asyncio.gather(*(upsert(f"N{n}") for n in range(8)))
    async with database.session() as session:
        assert await User.count(session, User.email == "new@example.com") == 1


async def test_ensure_tags(database, session):
    with count_statements(database) as statements:
        tags = await patterns.ensure_tags(session, ["sql", "rust", "rust"])
    assert list(tags) == ["rust", "sql"]
    assert len(statements) == 2
    assert await Tag.count(session) == 4


async def test_ensure_tags_at_the_same_time(database):
    names = [f"tag{n}" for n in range(20)]

    async def ensure(names: list[str]) -> set[uuid.UUID]:
        async with database.begin() as session:
            return {tag.id for tag in (await patterns.ensure_tags(session, names)).values()}

    found = await asyncio.gather(*(ensure(names[:: 1 if n % 2 else -1]) for n in range(8)))
    assert len(set.union(*found)) == 20


async def test_seed_31_36_inserting_many_is_one_statement(database, session):
    rows = [person(f"U{n}") for n in range(100)]
    with count_statements(database) as statements:
        await session.execute(insert(User), rows)
    assert len(statements) == 1
    with count_statements(database) as statements:
        await patterns.insert_posts(session, new_posts(await get_user(session, "U7"), 100))
    assert len(statements) == 2  # one of them asks for the author
    assert await count_posts(session) == 115
    post = (await session.scalars(select(Post).filter_by(title="New 3"))).one()
    assert post.views == 0
    assert post.updated_at == post.created_at


async def test_seed_32_62_twenty_thousand_rows(session):
    rows = new_posts(await get_user(session, "Ada"), 11_000)
    assert len(rows) * len(rows[0]) > 32_767
    await patterns.insert_posts(session, rows)
    assert await count_posts(session) == 11_015


@pytest.mark.dialects("postgresql")
async def test_seed_32_62_as_values_of_one_statement_they_are_too_many(session):
    rows = new_posts(await get_user(session, "Ada"), 5_000)
    with pytest.raises(DBAPIError, match="cannot exceed 32767"):
        await session.execute(insert(Post.__table__).values(rows))


async def test_seed_32_62_forty_thousand_ids(database, session):
    ids = [*(await session.scalars(select(Post.id))), *(uuid7() for _ in range(33_000))]
    with count_statements(database) as statements:
        posts = await patterns.posts_by_ids(session, ids)
    assert len(posts) == 15
    one = database.engine.dialect.name == "postgresql"
    assert len(statements) == (1 if one else 2)
    assert await patterns.posts_by_ids(session, []) == []


@pytest.mark.dialects("postgresql")
async def test_seed_32_62_forty_thousand_ids_are_too_many_for_in(session):
    with pytest.raises(DBAPIError, match="32767"):
        await session.scalars(select(Post).where(Post.id.in_([uuid7() for _ in range(33_000)])))


async def test_the_ids_come_in_the_order_of_the_rows(session):
    rows = new_posts(await get_user(session, "Ada"), 50)
    ids = await patterns.insert_posts_returning(session, rows)
    titles = {post.id: post.title for post in await patterns.posts_by_ids(session, ids)}
    assert [titles[key] for key in ids] == [row["title"] for row in rows]


async def test_seed_26_bulk_updates_by_key(database, session):
    posts = (await session.scalars(select(Post))).all()
    await soft_delete_post(session, "Window functions")
    with count_statements(database) as statements:
        await patterns.set_views(session, {post.id: n for n, post in enumerate(posts)})
    assert len(statements) == 1
    rows = select(Post.id, Post.views, Post.deleted_at)
    found = (await session.execute(rows, execution_options={"include_deleted": True})).all()
    assert {key: views for key, views, _ in found} == {p.id: n for n, p in enumerate(posts)}
    # The seed's bulk update made a deleted row active again.
    assert sum(deleted_at is not None for _, _, deleted_at in found) == 1


async def test_seed_16_counts_that_are_added_at_the_same_time(database):
    async with database.session() as session:
        ids = (await session.scalars(select(Post.id))).all()
        before = await session.scalar(select(func.sum(Post.views)))

    async def add(keys: list[uuid.UUID]) -> None:
        async with database.begin() as session:
            await patterns.add_views(session, dict.fromkeys(keys, 2))

    await asyncio.gather(*(add(ids[:: 1 if n % 2 else -1]) for n in range(10)))
    async with database.session() as session:
        assert await session.scalar(select(func.sum(Post.views))) == before + 10 * 15 * 2


async def test_seed_9_adding_moves_updated_at(session):
    post = (await session.scalars(select(Post).limit(1))).one()
    before = post.updated_at
    await patterns.add_views(session, {post.id: 1})
    await session.refresh(post)
    assert post.updated_at > before


async def test_seed_36_update_returning(database, session):
    ada = await get_user(session, "Ada")
    drafts = select(Post).where(Post.author_id == ada.id, Post.published_at.is_(None))
    (draft,) = await session.scalars(drafts)
    with count_statements(database) as statements:
        published = await patterns.publish(session, ada.id, FIRST_DAY)
    assert published == [draft]
    assert draft.published_at == FIRST_DAY
    has_returning = database.engine.dialect.name != "mysql"
    assert len(statements) == (1 if has_returning else 3)
    assert await patterns.publish(session, ada.id, FIRST_DAY) == []


async def test_copy(database, session):
    rows = new_posts(await get_user(session, "Ada"), 2_000)
    if database.engine.dialect.name != "postgresql":
        with pytest.raises(UnsupportedError, match="insert_posts"):
            await patterns.copy_posts(session, rows)
        return
    await patterns.copy_posts(session, rows)
    assert await count_posts(session) == 2_015
    post = (await session.scalars(select(Post).filter_by(title="New 3"))).one()
    assert (post.views, post.body_length, post.deleted_at) == (0, 4, None)
    assert post.created_at.utcoffset() is not None
    await session.rollback()
    assert await count_posts(session) == 15


@pytest.mark.dialects("postgresql")
@pytest.mark.parametrize("commit", [True, False])
async def test_copy_as_the_first_statement_joins_the_transaction(database, commit):
    async with database.session() as session:
        ada = await get_user(session, "Ada")
    async with database.session() as session:
        await patterns.copy_posts(session, new_posts(ada, 10))
        await (session.commit() if commit else session.rollback())
    async with database.session() as session:
        assert await count_posts(session) == (25 if commit else 15)


# JSON


async def test_seed_28_42_json_queries(session):
    await (await get_user(session, "Cleo")).update(
        session, {"preferences": {"theme": "dark", "languages": ['f"r', "fr%"]}}
    )
    assert [user.name for user in await patterns.users_by_theme(session, "dark")] == ["Ada", "Cleo"]
    for language, names in {"fr": ["Ada"], "en": ["Ada", "Bob"], 'f"r': ["Cleo"], "%": []}.items():
        assert [u.name for u in await patterns.users_by_language(session, language)] == names


async def test_seed_28_43_json_update(database, session):
    with count_statements(database) as statements:
        await patterns.set_theme(session, "dark", "d\"ark's")
    assert len(statements) == 1
    preferences = select(User.preferences).order_by(User.name)
    assert (await session.scalars(preferences)).all() == [
        {"theme": "d\"ark's", "languages": ["en", "fr"]},
        {"theme": "light", "languages": ["en"]},
        {"theme": "d\"ark's", "languages": ["de"]},
    ]


@pytest.mark.dialects("postgresql")
async def test_seed_16_40_json_containment_uses_the_index(session):
    await session.execute(text("SET LOCAL enable_seqscan = off"))
    wanted = patterns.type_coerce(User.preferences, patterns.JSONB).contains({"theme": "dark"})
    plan = await explain(session, select(User.id).where(wanted))
    assert any("ix_users_preferences" in line for line in plan)


# Search


@pytest.fixture
async def searchable(database: DatabaseSessionManager) -> AsyncIterator[DatabaseSessionManager]:
    await change_schema(database, CREATE_SEARCH)
    yield database
    await change_schema(database, DROP_SEARCH)


async def search(database: DatabaseSessionManager, query: str) -> list[str]:
    async with database.session() as session:
        return [post.title for post in await patterns.search_posts(session, query)]


async def test_search(searchable):
    assert await search(searchable, "async explained") == ["Async sessions explained"]
    assert sorted(await search(searchable, "ASYNC")) == [
        "Async generators",
        "Async sessions explained",
    ]
    assert await search(searchable, "async elephants") == []
    assert await search(searchable, "Cleo migration") == ["A first migration"]  # title and body


async def test_search_follows_what_is_written(searchable):
    async with searchable.begin() as session:
        ada = await get_user(session, "Ada")
        session.add(Post(author=ada, title="Elephants", body="elephants by elephants"))
        post = (await session.scalars(select(Post).filter_by(title="Window functions"))).one()
        post.body = "about elephants"
        await session.flush()
        await (
            (await session.scalars(select(Post).filter_by(title="Async generators")))
            .one()
            .soft_delete(session)
        )
    # The best first: it has the word three times.
    assert await search(searchable, "elephants") == ["Elephants", "Window functions"]
    assert await search(searchable, "generators") == []
    async with searchable.begin() as session:
        await (
            (await session.scalars(select(Post).filter_by(title="Elephants"))).one().delete(session)
        )
    assert await search(searchable, "elephants") == ["Window functions"]


@pytest.mark.parametrize(
    "query", ["", "  ", '"', 'async"', "+async -explained", "async AND", "(async*", "'; --", "%"]
)
async def test_seed_29_nothing_that_a_user_types_is_an_operator(searchable, query):
    found = await search(searchable, query)
    if "explained" in query:
        assert found == ["Async sessions explained"]
    elif "async" in query and "AND" not in query:
        assert len(found) == 2
    elif "async" not in query:
        assert found == []


@pytest.mark.dialects("postgresql")
async def test_search_uses_its_index(searchable):
    async with searchable.session() as session:
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        document = "to_tsvector('english', posts.title || ' ' || posts.body)"
        condition = text(f"{document} @@ plainto_tsquery('english', 'async')")
        plan = await explain(session, select(Post.id).where(condition))
        assert any("ix_posts_search" in line for line in plan)
        with count_statements(searchable) as statements:
            await patterns.search_posts(session, "async")
    assert document in statements.seen[0]  # what was explained is what is sent


# Streaming


async def test_seed_26_63_streaming_holds_a_batch_at_a_time(database):
    async with database.begin() as session:
        await add_many(session, 1, 2000)
    async with database.session() as session:
        seen, most = 0, 0
        async for posts in patterns.stream_posts(session, 100):
            seen += len(posts)
            most = max(most, len(session.sync_session.identity_map))
    assert seen == 2015
    assert most <= 200  # the batch at hand, and the one before it that is still in `posts`


async def test_a_stream_that_is_left_early_leaves_a_good_connection(database):
    async with database.begin() as session:
        await add_many(session, 1, 500)
    async with database.session() as session:
        async with aclosing(patterns.stream_posts(session, 10)) as batches:
            async for posts in batches:
                assert len(posts) == 10
                break
        assert await count_posts(session) == 515
    async with database.session() as session:
        assert await count_posts(session) == 515


async def test_seed_26_63_streaming_does_not_buffer_the_result(database):
    async with database.begin() as session:
        author = await get_user(session, "Ada")
        rows = [{**row, "body": "x" * 5000} for row in new_posts(author, 2000)]
        await patterns.insert_posts(session, rows)
        del rows

    async def peak(statement_of) -> int:
        tracemalloc.start()
        try:
            async with database.session() as session:
                await statement_of(session)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    async def stream(_session: AsyncSession) -> None:
        assert await patterns.count_words(database, 100) > 2000

    async def everything(session: AsyncSession) -> None:
        assert len((await session.execute(select(Post.title, Post.body))).all()) == 2015

    assert await peak(everything) > 10_000_000
    assert await peak(stream) < 5_000_000


# EXPLAIN


async def test_seed_44_explain_shows_the_plan_and_runs_nothing(database, session):
    plan = "\n".join(await explain(session, select(User).where(User.name == "Ada")))
    assert "users" in plan
    change = update(User).where(User.name == "Ada").values(login_count=9)
    assert "users" in "\n".join(await explain(session, change))
    assert (await get_user(session, "Ada")).login_count == 0
    assert await explain(session, select(User.id))  # and the session is as good as before


async def test_explain_is_of_what_is_sent(session):
    ada = await get_user(session, "Ada")
    session.add(Post(author_id=ada.id, title="pending", body=""))
    plan = await explain(session, patterns.titles_of_author(ada.id))
    assert await count_posts(session) == 16
    if session.get_bind().dialect.name == "postgresql":
        assert any("deleted_at IS NULL" in line for line in plan)
        assert str(ada.id) in "\n".join(plan)


@pytest.mark.dialects("postgresql")
async def test_explain_analyze_undoes_what_it_measures(session):
    change = update(User).where(User.name == "Ada").values(login_count=9)
    plan = "\n".join(await explain(session, change, analyze=True))
    assert "actual time" in plan
    assert (await get_user(session, "Ada")).login_count == 0


@pytest.mark.dialects("sqlite", "mysql")
async def test_explain_analyze_elsewhere_says_that_it_cannot(session):
    with pytest.raises(UnsupportedError, match="PostgreSQL"):
        await explain(session, select(User), analyze=True)


@pytest.mark.dialects("postgresql")
async def test_seed_27_39_40_64_the_indexes_are_used(database):
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE posts"))
    async with database.session() as session:
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        await session.execute(text("SET LOCAL enable_bitmapscan = off"))
        ada = await get_user(session, "Ada")
        covering = "\n".join(await explain(session, patterns.titles_of_author(ada.id)))
        assert "Index Only Scan" in covering
        assert "ix_posts_author_id_published_at" in covering
        assert "Sort" not in covering
        partial = "\n".join(await explain(session, patterns.newest_published(5)))
        assert "ix_posts_published_at_id" in partial
        assert "Sort" not in partial
        lower = select(User.id).where(func.lower(User.name) == "ada")
        assert "ix_users_name_lower" in "\n".join(await explain(session, lower))


@pytest.mark.dialects("sqlite")
async def test_seed_27_39_40_64_the_indexes_are_used_on_sqlite(session):
    ada = await get_user(session, "Ada")
    plans = {
        "ix_posts_author_id_published_at": patterns.titles_of_author(ada.id),
        "ix_posts_published_at_id": patterns.newest_published(5),
        "ix_users_name_lower": select(User.id).where(func.lower(User.name) == "ada"),
    }
    for index, statement in plans.items():
        plan = "\n".join(await explain(session, statement))
        assert index in plan
        assert "TEMP B-TREE" not in plan


async def test_seed_44_slow_statements_are_logged_without_their_parameters(database, caplog):
    async def ask() -> None:
        async with database.session() as session:
            await session.execute(select(User).where(User.name == "secret"))

    with caplog.at_level(logging.WARNING, "query_patterns"):
        with patterns.log_slow_statements(database, 60):
            await ask()
        assert caplog.messages == []
        with patterns.log_slow_statements(database, 0):
            await ask()
        (message,) = [line for line in caplog.messages if "users" in line]
        assert "secret" not in caplog.text
        assert message.split()[1] == "s:"
        caplog.clear()
        await ask()
    assert caplog.messages == []


# The cache


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_seed_38_the_cache_keeps_results_until_they_expire(database):
    clock = Clock()
    cache: ResultCache[str, object] = ResultCache(seconds=60, clock=clock)
    async with database.begin() as session:
        session.add(Tag(name="rust"))

    async def load():
        async with database.read_only_session() as session:
            return await patterns.tag_counts(session)

    with count_statements(database) as statements:
        results = await asyncio.gather(*(cache.get("tags", load) for _ in range(50)))
        assert set(results) == {(("async", 3), ("python", 7), ("rust", 0), ("sql", 8))}
        clock.now = 59
        await cache.get("tags", load)
        assert len(statements) == 1
        clock.now = 61
        await cache.get("tags", load)
        assert len(statements) == 2


async def test_seed_38_the_cache_forgets_after_the_commit_and_not_before(database):
    cache: ResultCache[str, int] = ResultCache(seconds=60)

    async def load() -> int:
        async with database.read_only_session() as session:
            return await Tag.count(session)

    async with database.session() as session:
        assert await cache.get("tags", load) == 3
        session.add(Tag(name="rust"))
        cache.forget_after_commit(session, "tags")
        await session.flush()
        assert await cache.get("tags", load) == 3
        await session.commit()
        assert await cache.get("tags", load) == 4


@pytest.mark.dialects("sqlite")
async def test_seed_38_what_was_read_before_the_commit_is_not_kept(dialect):
    cache: ResultCache[str, str] = ResultCache(seconds=60)
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def load_old() -> str:
        reading.set()
        await go_on.wait()
        return "old"

    async def load_new() -> str:
        return "new"

    task = asyncio.create_task(cache.get("key", load_old))
    await reading.wait()
    cache.forget("key")
    go_on.set()
    assert await task == "old"
    assert await cache.get("key", load_new) == "new"


@pytest.mark.dialects("sqlite")
async def test_seed_38_the_cache_is_bounded_and_keeps_no_errors(dialect):
    cache: ResultCache[int, int] = ResultCache(seconds=60, size=2)
    loaded = []

    async def get(key: int) -> int:
        async def load() -> int:
            loaded.append(key)
            return key

        return await cache.get(key, load)

    async def fail() -> int:
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        await cache.get(1, fail)
    for key in (1, 2, 2, 3, 1):
        assert await get(key) == key
    assert loaded == [1, 2, 3, 1]  # 3 took the place of 1


@pytest.mark.dialects("sqlite")
async def test_seed_38_a_cancelled_load_does_not_stop_the_others(dialect):
    cache: ResultCache[str, str] = ResultCache(seconds=60)

    async def for_ever() -> str:
        await asyncio.Event().wait()
        return ""

    async def load() -> str:
        return "value"

    first = asyncio.create_task(cache.get("key", for_ever))
    second = asyncio.create_task(cache.get("key", load))
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.wait_for(second, 60) == "value"


@pytest.mark.parametrize("given", ["sqlite", "postgresql", "mysql", None])
def test_seed_35_the_program_runs(given: str | None, make_database: Callable[[str], str]):
    arguments = [make_database(given)] if given else []  # else its own temporary file
    ran = warm.completed(EXAMPLE, *arguments)
    assert ran.stderr == ""
    assert ran.returncode == 0
    assert "one by one    4\n  selectinload  2\n  joinedload    1" in ran.stdout
    assert "100 reads of the cache: 1 statement" in ran.stdout
    assert "streamed in batches of: [1000, 75]" in ran.stdout
    assert ("copied as many" in ran.stdout) == (given == "postgresql")
