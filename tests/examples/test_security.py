"""What a hostile client sends, through every filter, sort and search of the examples (#17).

Whatever it is, it is a value: it is in no statement's text, it finds what holds it as plain
characters and nothing else, it comes back as it was sent, and it changes nothing. The oracles are
Python's own comparison of strings, and the rows before and after. `make api` has Hypothesis think
of more.
"""

import itertools
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import event, select

from async_context_examples import Cursors
from base_model import Base
from fastapi_app import app
from query_patterns import (
    CREATE_SEARCH,
    change_schema,
    ensure_tags,
    search_posts,
    set_theme,
    users_by_language,
    users_by_theme,
)
from session_manager import DatabaseConfig, DatabaseSessionManager
from user_model import Post, Role, Tag, User, post_tags, seed, user_roles

pytestmark = [
    pytest.mark.dialects("sqlite", "postgresql"),
    pytest.mark.any_sqlalchemy,
]

TABLES = [model.__table__ for model in (User, Post, Role, Tag)] + [user_roles, post_tags]
QUOTES = ("'", '"', "`", "\\'", "')", "'))", "%27", "\u02bc", "\u2019", "]", "$$", "")
BODIES = (
    " OR 1=1",
    " OR 'a'='a",
    " AND SLEEP(9)",
    " UNION SELECT password_hash FROM users",
    "; DROP TABLE users",
    "; SELECT pg_sleep(9)",
    "; ATTACH DATABASE '/tmp/x' AS x",
    "||(SELECT password_hash FROM users LIMIT 1)||",
    " AND (SELECT 1 FROM users)=1",
    "; COPY users TO PROGRAM 'id'",
    " RETURNING password_hash",
    ", (SELECT 1)",
)
ENDS = ("--", "#", "/*", ";")
OTHERS = (
    # LIKE, full-text search, JSON paths, formats, parameters, templates, names of fields
    *(
        "%",
        "_",
        "%_%",
        "\\",
        "\\\\%",
        "/%",
        "[a-z]%",
        "(a+)+$",
        "a%00b",
        "\x7f",
        "\u202e",
        "\u0000",
    ),
    *(
        "a & b",
        "a | !b",
        "a <-> b",
        ":*",
        "(",
        "a:*",
        'NEAR("a" "b")',
        "title:*",
        "^a",
        '"',
        "+a -b",
    ),
    *("$.theme", "$[0]", "{theme}", '{"a": 1}', "[1, 2]", "true", "null", "1e309", "NaN", "-0"),
    *("%s", "%(name)s", "{0}", ":name", "?", "$1", "${7*7}", "{{7*7}}", "%n%n"),
    *(
        "password_hash",
        "-password_hash",
        "User.password_hash",
        "name; --",
        "name DESC",
        "1",
        "(name), x",
    ),
    *("__class__", "__dict__", "id)", "../../etc/passwd", "\r\nX-Injected: 1", "<script>", "é" * 9),
)
ENDED = itertools.cycle(ENDS)
PAYLOADS = [
    *(f"x{quoted}{body}{next(ENDED)}" for quoted, body in itertools.product(QUOTES, BODIES)),
    *BODIES,
    *OTHERS,
]
PATHS = [
    *(f"/users?{name}={{}}" for name in ("sort", "status", "page", "size", "created_after")),
    *(f"/posts?{name}={{}}" for name in ("sort", "cursor", "author_id", "size")),
    *("/users?with_posts={}", "/users?{}=1", "/users/{}", "/posts/{}"),
]
PASSWORD = "correct horse battery"


@dataclass
class Watched:
    """A database with the rows of `seed`, and every statement that is sent to it."""

    database: DatabaseSessionManager
    statements: list[str] = field(default_factory=list)

    @contextmanager
    def holds(self, payload: str) -> Iterator[None]:
        """What is sent meanwhile has this in no statement's text."""
        self.statements.clear()
        yield
        if len(payload) > 3 and payload not in FIELDS:
            assert not [one for one in self.statements if payload in one]

    async def rows(self) -> dict[str, list[Any]]:
        async with self.database.read_only_session() as session:
            found = {t.name: (await session.execute(select(t))).all() for t in TABLES}
        return {name: sorted(map(repr, rows)) for name, rows in found.items()}

    async def users(self) -> list[User]:
        async with self.database.read_only_session() as session:
            return list(await session.scalars(select(User)))


FIELDS = {column.name for table in TABLES for column in table.columns}


@asynccontextmanager
async def watched(url: str) -> AsyncIterator[Watched]:
    async with DatabaseSessionManager(DatabaseConfig(url)) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all, TABLES)
        async with database.begin() as session:
            await seed(session)
        await change_schema(database, CREATE_SEARCH)
        made = Watched(database)
        event.listen(
            database.engine.sync_engine,
            "before_cursor_execute",
            lambda _c, _cur, statement, *_: made.statements.append(statement),
        )
        yield made


@asynccontextmanager
async def client_of(watching: Watched) -> AsyncIterator[httpx.AsyncClient]:
    app.state.database, app.state.cursors = watching.database, Cursors(b"s" * 32)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client
    finally:
        del app.state.database, app.state.cursors


@pytest.fixture
def payloads(pytestconfig: pytest.Config) -> list[str]:
    """All of them, and each fourth where a sample is asked for, as `make test` does."""
    return PAYLOADS[:: 4 if pytestconfig.getoption("sample") else 1]


def test_there_are_at_least_two_hundred() -> None:
    assert len(set(PAYLOADS)) >= 200


async def test_filters_sorts_and_paths_over_http(
    database_url: str, dialect: str, payloads: list[str]
) -> None:
    async with watched(database_url) as watching, client_of(watching) as client:
        before, users = await watching.rows(), await watching.users()
        for payload in payloads:
            sent = quote(payload, safe="")
            with watching.holds(payload):
                found = await client.get(f"/users?text={sent}")
                answers = [
                    found,
                    await client.get(f"/users?role={sent}"),
                    await client.put(f"/users/{users[0].id}/roles/{sent}"),
                ]
                # What no database gets to see needs no second one.
                for path in PATHS if dialect == "sqlite" else ():
                    answers.append(await client.get(path.format(sent)))
            assert {one.status_code for one in answers} <= {200, 404, 405, 422}, payload
            told = " ".join(one.text for one in answers)
            assert not [user for user in users if user.password_hash in told]
            if found.status_code == 200:
                text = payload.strip().lower()
                wanted = {u.name for u in users if text in u.name.lower() or text in u.email}
                assert {one["name"] for one in found.json()["items"]} == wanted, payload
        assert await watching.rows() == before


async def test_what_is_sent_comes_back_as_it_is(database_url: str, payloads: list[str]) -> None:
    """Names, titles and bodies: saved, read, found; and no word of it is more than a value."""
    async with watched(database_url) as watching, client_of(watching) as client:
        author = (await watching.users())[0].id
        for payload in payloads[::4]:
            body = {"author_id": str(author), "title": payload, "body": payload}
            with watching.holds(payload):
                made = await client.post("/posts", json=body)
                role = await client.post("/roles", json={"name": payload})
            refused = "\x00" in payload or not payload.strip()
            assert made.status_code == (422 if refused else 201), (payload, made.text)
            assert role.status_code in ((422,) if refused or len(payload) > 50 else (201, 409))
            if refused:
                continue
            read = await client.get(f"/posts/{made.json()['id']}")
            assert read.json()["title"] == payload.strip()


async def test_queries_of_the_patterns(database_url: str, payloads: list[str]) -> None:
    async with watched(database_url) as watching, watching.database.session() as session:
        for payload in payloads:
            if "\x00" in payload:
                continue  # PostgreSQL has no such text; the service refuses it before
            await check_patterns(watching, session, payload)
        await session.rollback()


async def check_patterns(watching: Watched, session: Any, payload: str) -> None:
    with watching.holds(payload):
        assert list(await users_by_theme(session, payload)) == []
        assert list(await users_by_language(session, payload)) == []
        dark = [user.id for user in await users_by_theme(session, "dark")]
        assert dark
        await set_theme(session, "dark", payload)
        assert [user.id for user in await users_by_theme(session, payload)] == dark
        await set_theme(session, payload, "dark")
        tags = await ensure_tags(session, [payload[:50]])
        assert [tag.name for tag in tags.values()] == [payload[:50]]
        await search_posts(session, payload)


MORE_THAN_IS_THEIRS: list[dict[str, Any]] = [
    {"password_hash": "x"},
    {"id": str(uuid.uuid4())},
    {"status": "suspended"},
    {"roles": ["admin"]},
    {"deleted_at": None},
    {"created_at": "2020-01-01T00:00:00Z"},
    {"version": 99},
    {"login_count": 99},
    {"__class__": "x"},
    {"is_admin": True},
]


async def test_mass_assignment_is_refused(database_url: str) -> None:
    """A field that the client may not set is an error, wherever a body is taken."""
    async with watched(database_url) as watching, client_of(watching) as client:
        before, users = await watching.rows(), await watching.users()
        post = next(iter((await client.get("/posts")).json()["items"]))["id"]
        user = {"email": "new@example.com", "name": "New", "password": PASSWORD}
        text = {"author_id": str(users[0].id), "title": "T", "body": "B"}
        for extra in MORE_THAN_IS_THEIRS:
            for method, path, body in (
                ("POST", "/users", user),
                ("PATCH", f"/users/{users[0].id}", {"name": "New"}),
                ("POST", "/posts", text),
                ("PATCH", f"/posts/{post}", {"title": "New"}),
                ("POST", "/roles", {"name": "new"}),
            ):
                answer = await client.request(method, path, json=body | extra)
                assert answer.status_code == 422, (method, path, extra, answer.text)
        assert await watching.rows() == before
