"""What the watcher of optimize-queries.sh sees, and whom its rules accuse.

One application, whose faults have a comment with the rule that has to find them. Whatever
else is in it looks like a fault and is none. It is run on each database; what is expected is
all findings, with their lines, and no other.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from toolkit.queries.capture import findings_of, routes_of, watch_requests
from toolkit.queries.capture.record import Capture, Statement, Unit
from toolkit.queries.capture.requests import parse_requests
from toolkit.queries.capture.worker._query_capture import asgi, records
from toolkit.queries.finding import Confidence, Layer, Loader, QueryFinding

SECRET = "s3cret-value-of-a-parameter"

APP = '''
import asyncio
import functools
import os
import time
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI, WebSocket
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, String, Text, create_engine, delete, func, insert, select, text
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncAttrs, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship
from sqlalchemy.orm import selectinload, undefer
from starlette.middleware.base import BaseHTTPMiddleware

URL = os.environ["DATABASE_URL"]
engine = create_async_engine(URL, pool_size=20)
Factory = async_sessionmaker(engine, expire_on_commit=False)
Expiring = async_sessionmaker(engine)
KINDS = ("a", "b", "c", "d", "e", "f")
kept = []
tasks = []


class Base(AsyncAttrs, DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    bio: Mapped[str] = mapped_column(Text, deferred=True, default="x")
    posts: Mapped[list["Post"]] = relationship(back_populates="author")


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str] = mapped_column(String(50))
    author: Mapped[User] = relationship(back_populates="posts")


@asynccontextmanager
async def lifespan(app):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(User), [{"name": f"u{n}"} for n in range(1, 1201)])
        await connection.execute(
            insert(Post), [{"author_id": n, "title": "t"} for n in range(1, 1201)]
        )
    yield
    for task in tasks:
        await task
    for one in kept:
        await one.close()
    await engine.dispose()


async def get_session():
    async with Factory() as session:
        yield session


Session = Depends(get_session)
app = FastAPI(lifespan=lifespan)
inner = APIRouter(prefix="/{kind}")
outer = APIRouter(prefix="/of/{tenant}")
mounted = FastAPI()


class PassOn(BaseHTTPMiddleware):
    """Runs the routers in a task of its own."""

    async def dispatch(self, request, call_next):
        return await call_next(request)


app.add_middleware(PassOn)


# Names of routes


@inner.get("/{number}")
async def nested(tenant: str, kind: str, number: int, session: AsyncSession = Session):
    return await session.scalar(select(func.count(User.id)))


@mounted.get("/users/{name}")
async def in_mounted(name: str, session: AsyncSession = Session):
    return await session.scalar(select(func.count(User.id)))


outer.include_router(inner)
app.include_router(outer)
app.mount("/m/{area}", mounted)


# Again and again


@app.get("/awaitable")
async def awaitable(session: AsyncSession = Session):
    posts = (await session.scalars(select(Post).order_by(Post.id).limit(8))).all()  # AWAITABLE
    return [(await post.awaitable_attrs.author).name for post in posts]  # finds: n-plus-one


@app.get("/chain")
async def chain(session: AsyncSession = Session):
    query = select(User).order_by(User.id).limit(6)
    found = (await session.scalars(query.options(selectinload(User.posts)))).all()
    session.expire_all()

    def names(_session):
        return [user.name for user in found]  # finds: n-plus-one

    return await session.run_sync(names)


@app.get("/deferred")
async def deferred(session: AsyncSession = Session):
    users = (await session.scalars(select(User).order_by(User.id).limit(6))).all()  # DEFERRED
    return [await user.awaitable_attrs.bio for user in users]  # finds: n-plus-one


async def user_named(session, number):
    return await session.get(User, number)  # finds: n-plus-one


@app.get("/helper")
async def helper(session: AsyncSession = Session):
    numbers = (await session.scalars(select(Post.author_id).limit(7))).all()
    return [(await user_named(session, number)).name for number in numbers]


async def alone(number):
    async with Factory() as session:
        query = select(Post.title).where(Post.id == number)
        return await asyncio.wait_for(session.scalar(query), 60)  # finds: n-plus-one


@app.get("/gathered")
async def gathered():
    return await asyncio.gather(*(alone(number) for number in range(int("6"))))


@app.get("/refreshed")
async def refreshed(session: AsyncSession = Session):
    users = (await session.scalars(select(User).order_by(User.id).limit(6))).all()
    for user in users:
        await session.refresh(user)  # finds: n-plus-one
    return {}


@app.get("/constant")
async def constant(session: AsyncSession = Session):
    counts = {}
    for kind in KINDS:
        counts[kind] = await session.scalar(select(func.count(Post.id)).where(Post.title == kind))
    for number in range(6):
        await session.scalar(select(Post.title).where(Post.id == number))
    return counts


async def setting(session, key):
    return await session.scalar(select(User.name).where(User.name == key))


@app.get("/five-callers")
async def five_callers(session: AsyncSession = Session):
    return [
        await setting(session, "a"),
        await setting(session, "b"),
        await setting(session, "c"),
        await setting(session, "d"),
        await setting(session, "e"),
        await setting(session, "f"),
    ]


@app.get("/eager")
async def eager(session: AsyncSession = Session):
    """1200 authors: three statements of the loader, 500 keys each."""
    query = select(User).where(User.id <= 1200).options(selectinload(User.posts))
    users = (await session.scalars(query.limit(1200))).unique().all()
    query = select(Post).options(joinedload(Post.author)).limit(6)
    posts = (await session.scalars(query)).all()
    return len(users) + len([post.author.name for post in posts])


@app.get("/chunks")
async def chunks(session: AsyncSession = Session):
    found = []
    numbers = list(range(1, 61))
    for start in range(0, len(numbers), 10):
        query = select(User.name).where(User.id.in_(numbers[start : start + 10]))
        found += (await session.scalars(query)).all()
    return len(found)


@app.get("/pages")
async def pages(session: AsyncSession = Session):
    last, found = 0, 0
    while found < 60:
        page = (await session.scalars(select(User.id).where(User.id > last).limit(10))).all()
        last, found = page[-1], found + len(page)
    return found


@app.get("/polling")
async def polling():
    for _ in range(int("7")):
        async with Factory() as session:
            if await session.scalar(select(User.id).where(User.name == "nobody")):
                return True
        await asyncio.sleep(0.001)
    return False


async def current_name(session):
    return await session.scalar(select(User.name).where(User.id == 1))  # finds: repeated-statement


@app.get("/same")
async def same(session: AsyncSession = Session):
    return [await current_name(session), await current_name(session), await current_name(session)]


@app.get("/again-after-writes")
async def again_after_writes(session: AsyncSession = Session):
    for number in (1, 2, 3):
        await session.scalar(select(User.name).where(User.id == 2))
        await session.execute(update(User).where(User.id == 2).values(name=f"n{number}"))
    await session.commit()
    for _ in range(3):
        await session.scalar(select(User.name).where(User.id == 2))
        await session.commit()
    return {}


# Writes


@app.post("/insert-in-loop")
async def insert_in_loop(names: list[str], session: AsyncSession = Session):
    for name in names:
        await session.execute(insert(User).values(name=name))  # finds: write-in-loop
    await session.commit()
    return {}


@app.post("/flush-in-loop")
async def flush_in_loop(names: list[str], session: AsyncSession = Session):
    for name in names:
        session.add(User(name=name))
        await session.flush()  # finds: write-in-loop
    await session.commit()
    return {}


@app.post("/commit-in-loop")
async def commit_in_loop(names: list[str], session: AsyncSession = Session):
    for name in names:
        session.add(User(name=name))
        await session.commit()  # finds: commit-in-loop
    return {}


@app.post("/one-flush")
async def one_flush(names: list[str], session: AsyncSession = Session):
    session.add_all([User(name=name) for name in names])
    users = (await session.scalars(select(User).order_by(User.id).limit(6))).all()
    for number, user in enumerate(users):
        user.name = func.lower(str(number))
    await session.commit()
    return {}


@app.post("/batches")
async def batches(names: list[str], session: AsyncSession = Session):
    for start in range(0, len(names), 1):
        rows = [{"name": names[start]}, {"name": "another"}]
        await session.execute(insert(User), rows)
        await session.execute(delete(User).where(User.name == "another"))
        await session.execute(update(User).where(User.id < 3).values(name=names[start]))
    if engine.dialect.insert_returning:
        # In the order of the rows, which SQLite can give for one at a time only.
        query = insert(User).returning(User.id, sort_by_parameter_order=True)
        await session.execute(query, [{"name": name} for name in names])
    await session.commit()
    return {}


@app.post("/retry")
async def retry(session: AsyncSession = Session):
    for attempt in range(3):
        await session.execute(update(User).where(User.id == 5).values(name=f"a{attempt}"))
        await session.commit()
    return {}


# Reads


@app.get("/all-users")
async def all_users(session: AsyncSession = Session):
    return len((await session.execute(select(User.id, User.name))).all())  # finds: unbounded-result


@app.get("/streamed")
async def streamed(session: AsyncSession = Session):
    number = 0
    async for _ in await session.stream(select(User.id).execution_options(yield_per=100)):
        number += 1
    return number


@app.get("/limited")
async def limited(session: AsyncSession = Session):
    numbers = (await session.scalars(select(User.id).limit(1100))).all()
    return len((await session.scalars(select(User.name).where(User.id.in_(numbers[:900])))).all())


@app.get("/far")
async def far(page: int, session: AsyncSession = Session):
    query = select(Post.id).order_by(Post.id).offset(page * 10).limit(10)
    return (await session.scalars(query)).all()  # finds: deep-offset


@app.get("/literals")
async def literals(session: AsyncSession = Session):
    found = []
    for name in ("a", "b", "c"):
        found.append(
            await session.scalar(  # finds: literal-in-sql
                text(f"SELECT count(*) FROM users WHERE name = '{name}'")
            )
        )
    for length in (2, 3, 4):
        query = select(func.count(User.id)).where(User.id.in_(range(length)))
        found.append(await session.scalar(query))
    return found


@app.get("/everything-with-everything")
async def cartesian(session: AsyncSession = Session):
    query = select(User.id, Post.title).where(User.id == 1).limit(3)
    return len((await session.execute(query)).all())  # finds: cartesian-product


# Loads that raise


@app.get("/lazy")
async def lazy(session: AsyncSession = Session):
    user = (await session.scalars(select(User).limit(1))).one()  # LAZY
    try:
        return len(user.posts)  # finds: lazy-load-would-raise
    except Exception:
        return "swallowed"


class PostOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    title: str
    author: object


@app.get("/response-model", response_model=PostOut)
async def response_model(session: AsyncSession = Session):  # finds: lazy-load-would-raise
    return (await session.scalars(select(Post).limit(1))).one()


@app.get("/expired")
async def expired():
    async with Expiring() as session:
        user = (await session.scalars(select(User).limit(1))).one()
        await session.commit()
        return user.name  # finds: lazy-load-would-raise


@app.get("/detached")
async def detached():
    async with Factory() as session:
        user = (await session.scalars(select(User).limit(1))).one()
    return len(user.posts)  # finds: lazy-load-would-raise


# Connections


@app.get("/held")
async def held(session: AsyncSession = Session):
    await session.scalar(select(func.count(User.id)))
    await asyncio.sleep(0.6)  # finds: connection-held
    return {}


@app.get("/given-back")
async def given_back(session: AsyncSession = Session):
    await session.scalar(select(func.count(User.id)))
    await session.commit()
    await asyncio.sleep(0.2)
    return {}


@app.get("/computing")
async def computing(session: AsyncSession = Session):
    await session.scalar(select(func.count(User.id)))
    until = time.thread_time() + 0.15
    while time.thread_time() < until:
        await asyncio.sleep(0)
    return {}


@app.get("/others-work")
async def others_work(session: AsyncSession = Session):
    async def slow():
        async with Factory() as own:
            await own.scalar(select(func.count(User.id)))

    await session.scalar(select(func.count(User.id)))
    await asyncio.gather(*(slow() for _ in range(4)))
    return {}


SLOW = {
    "sqlite": "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 1500000)"
    " SELECT count(*) FROM s",
    "postgresql": "SELECT count(*) FROM pg_sleep(0.25)",
    "mysql": "SELECT SLEEP(0.25)",
}


@app.get("/slow-statement")
async def slow_statement(session: AsyncSession = Session):
    return await session.scalar(text(SLOW[engine.dialect.name]))


@app.get("/left-open")
async def left_open():
    session = Factory()
    kept.append(session)
    return await session.scalar(select(func.count(User.id)))  # finds: transaction-left-open


@app.get("/background")
async def background():
    async def work():
        async with Factory() as session:
            await session.scalar(select(func.count(User.id)))
            await asyncio.sleep(0.3)  # finds: connection-held

    tasks.append(asyncio.create_task(work()))
    await asyncio.sleep(0.1)
    return {}


@app.get("/engine")
async def own_engine():
    own = create_async_engine(URL, echo=False)  # finds: engine-per-request
    async with own.connect() as connection:
        number = await connection.scalar(select(func.count(User.id)))
    await own.dispose()
    return number


@functools.lru_cache
def cached_engine():
    kept.append(Closing(create_async_engine(URL)))
    return kept[-1].engine


class Closing:
    def __init__(self, engine):
        self.engine = engine

    async def close(self):
        await self.engine.dispose()


@app.get("/cached-engine")
async def with_cached_engine():
    async with cached_engine().connect() as connection:
        return await connection.scalar(select(func.count(User.id)))


def sync_engine():
    drivers = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "sqlite": "sqlite"}
    return create_engine(engine.url.set(drivername=drivers[engine.dialect.name]))


blocking_engine = sync_engine()


@app.get("/blocking")
async def blocking():
    with blocking_engine.connect() as connection:
        return connection.scalar(select(func.count(User.id)))  # finds: blocking-driver


@app.get("/in-a-thread")
def in_a_thread():
    with blocking_engine.connect() as connection:
        return len(connection.execute(select(User.id).limit(5)).all())


@app.get("/sync-rows")
def sync_rows():
    with blocking_engine.connect() as connection:
        result = connection.execute(select(User.id).limit(9))
        return len(result.fetchmany(4)) + (result.fetchone() is not None) + len(result.all())


@app.post("/secret")
async def secret(given: dict[str, str], session: AsyncSession = Session):
    query = select(func.count(User.id)).where(User.name == given["name"])
    print("the name is", given["name"])
    return await session.scalar(query)


@app.get("/fails")
async def fails(session: AsyncSession = Session):
    await session.scalar(select(func.count(User.id)))
    raise RuntimeError("no such thing: 'a private value'")
'''

NAMES = '["a", "b", "c", "d", "e", "f", "g"]'
REQUESTS = f"""
X-Tenant: one
GET /of/acme/posts/12
GET /m/blue/users/users
GET /no/such/77
GET /awaitable
GET /chain
GET /deferred
GET /helper
GET /gathered
GET /refreshed
GET /constant
GET /five-callers
GET /eager
GET /chunks
GET /pages
GET /polling
GET /same
GET /again-after-writes
POST /insert-in-loop {NAMES}
POST /flush-in-loop {NAMES}
POST /commit-in-loop {NAMES}
POST /one-flush {NAMES}
POST /batches {NAMES}
POST /retry
GET /all-users
GET /streamed
GET /limited
GET /far?page=2
GET /far?page=110
GET /literals
GET /everything-with-everything
GET /lazy
GET /response-model
GET /expired
GET /detached
GET /held
GET /given-back
GET /computing
GET /others-work
GET /slow-statement
GET /left-open
GET /background
GET /engine
GET /cached-engine
GET /blocking
GET /in-a-thread
GET /sync-rows
POST /secret {{"name": "{SECRET}"}}
GET /fails
"""


@dataclass(frozen=True)
class Run:
    """One run of the application."""

    root: Path
    capture: Capture
    findings: list[QueryFinding]
    password: str

    def unit(self, name: str) -> Unit:
        [unit] = [one for one in self.capture.units if one.name == name]
        return unit

    def statements(self, name: str) -> list[Statement]:
        number = self.unit(name).number
        return [one for one in self.capture.statements if one.unit == number]

    def finding(self, route: str) -> QueryFinding:
        [found] = [one for one in self.findings if one.unit == route]
        return found


def project(root: Path) -> Any:
    """As much of a Project as the capture looks at."""
    return SimpleNamespace(root=root, import_root=root)


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(APP.splitlines(), 1) if text in line)


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mysql"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    root = tmp_path_factory.mktemp("watched")
    (root / "main.py").write_text(APP, encoding="utf-8")
    server, password = None, ""
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{root}/data.db"
    else:
        name = "postgres_server" if request.param == "postgresql" else "mysql_server"
        server = request.getfixturevalue(name)
        server.create_database("watched_capture")
        url = str(server.url("watched_capture"))
        password = server.password
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        asked = parse_requests(REQUESTS.splitlines(), "requests")
        capture = watch_requests(project(root), "main:app", asked, timeout=600)
    try:
        yield Run(root, capture, findings_of(capture, root), password)
    finally:
        if server is not None:
            server.drop_database("watched_capture")


def test_every_fault_is_found_and_nothing_else(run: Run) -> None:
    expected = {
        (found[1], number)
        for number, line in enumerate(APP.splitlines(), 1)
        if (found := re.search(r"# finds: ([\w-]+)", line))
    }
    assert {(one.rule, one.line) for one in run.findings} == expected
    assert len(run.findings) == len(expected)
    assert {(one.layer, one.confidence) for one in run.findings} == {
        (Layer.CAPTURE, Confidence.PROVED)
    }
    assert {one.file for one in run.findings} == {"main.py"}
    assert all(one.fix and one.evidence and not one.verify for one in run.findings)


def test_units_are_named_by_their_route(run: Run) -> None:
    names = [one.name for one in run.capture.units if one.kind == "request"]
    assert names[:3] == [
        "GET /of/{tenant}/{kind}/{number}",
        "GET /m/{area}/users/{name}",
        "GET /no/such/{id}",
    ]
    assert len(names) == REQUESTS.count("GET /") + REQUESTS.count("POST /")
    assert run.unit("GET /no/such/{id}").status == 404
    assert run.unit("GET /fails").error == "RuntimeError: no such thing: ..."
    assert all(one.ended for one in run.capture.units)
    assert "of 48 requests, 1 with 404, 4 with 500" in run.capture.notes[0]


def test_rows_are_counted_with_every_driver(run: Run) -> None:
    [everyone] = run.statements("GET /all-users")
    assert everyone.rows is not None
    assert everyone.rows >= 1200
    assert [one.rows for one in run.statements("GET /in-a-thread")] == [5]
    assert [one.rows for one in run.statements("GET /sync-rows")] == [9]
    [stream] = run.statements("GET /streamed")
    assert stream.rows is not None
    assert stream.rows >= 1200
    assert stream.streamed
    writes = [one.rows for one in run.statements("POST /insert-in-loop")]
    assert writes == [1] * 7
    many = [one for one in run.statements("POST /batches") if one.batch]
    assert [one.many for one in many[:7]] == [2] * 7
    # In one statement, in several, or none, if the database cannot return what it inserts.
    assert sum(one.many for one in many[7:]) in (0, 7)


def test_who_asked_is_known(run: Run) -> None:
    first, *lazy = run.statements("GET /awaitable")
    assert (first.entity, first.rows, first.origin) == ("Post", 8, "")
    assert {(one.loader, one.origin, one.to_many) for one in lazy} == {
        ("Post.author", "lazy", False)
    }
    eager = [one for one in run.statements("GET /eager") if one.origin == "eager"]
    assert {(one.loader, one.to_many) for one in eager} == {("User.posts", True)}
    assert len(eager) == 3
    assert {one.origin for one in run.statements("GET /refreshed")[1:]} == {"refresh"}
    assert {one.loader for one in run.statements("GET /deferred")[1:]} == {"User.bio"}
    flushes = {one.flush for one in run.statements("POST /flush-in-loop")}
    assert flushes == {1, 2, 3, 4, 5, 6, 7}
    transactions = {one.transaction for one in run.statements("POST /commit-in-loop")}
    assert len(transactions) == 7
    assert len({one.connection for one in run.statements("GET /gathered")}) > 1


def test_fixes_are_for_exactly_this_place(run: Run) -> None:
    awaitable = run.finding("GET /awaitable").fix
    assert awaitable is not None
    place = line_of("# AWAITABLE")
    assert awaitable.loader == Loader("main.py", place, "Post", "joinedload(Post.author)")
    assert awaitable.text == f"# main.py:{place}\nselect(Post).options(joinedload(Post.author))"
    deferred = run.finding("GET /deferred").fix
    assert deferred is not None
    assert deferred.loader == Loader("main.py", line_of("# DEFERRED"), "User", "undefer(User.bio)")
    lazy = run.finding("GET /lazy").fix
    assert lazy is not None
    assert lazy.loader == Loader("main.py", line_of("# LAZY"), "User", "selectinload(User.posts)")
    helper = run.finding("GET /helper")
    assert helper.fix is not None
    assert "select(User).where(User.id.in_(keys))" in helper.fix.text
    assert any("called from main.py" in line for line in helper.evidence)
    assert helper.table == "users"
    assert helper.function == "user_named"


def test_the_worst_is_told_with_numbers(run: Run) -> None:
    assert run.finding("GET /far").message == "GET /far skips 1,100 rows to get 10"
    assert "7 times" in run.finding("POST /commit-in-loop").message
    held = run.finding("GET /held")
    # Looked at now and then, on a busy machine seldom (#10): "or more", as it says.
    waits = [one.data for one in run.capture.events if one.kind == "held-connection"]
    assert held.cost_ms in [one["waited_ms"] for one in waits if one["waited_ms"] < one["held_ms"]]
    [left] = [one for one in run.capture.events if one.kind == "left-open"]
    assert left.data["in_transaction"]
    routes = {one.name: one for one in routes_of(run.capture)}
    assert routes["GET /awaitable"].statements == 9
    assert routes["GET /far"].calls == 2
    assert routes["GET /no/such/{id}"].statements == 0


def test_nothing_secret_is_in_what_is_shown(run: Run) -> None:
    shown = repr([run.findings, run.capture.notes, run.capture.output_tail, run.capture.units])
    assert SECRET not in shown
    assert "the name is ***" in run.capture.output_tail
    assert "a private value" not in shown
    if run.password:
        assert run.password not in shown
        assert quote(run.password, safe="") not in shown
    # EXPLAIN needs it, so it is there.
    assert [SECRET] in [one.parameters for one in run.capture.statements]


def test_the_engine_is_known(run: Run) -> None:
    drivers = {one.driver for one in run.capture.engines}
    assert drivers & {"aiosqlite", "asyncpg", "aiomysql"}


# Parts of it alone


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("path", "values", "form", "route"),
    [
        ("/a/1/b/2", {"a": "1", "b": "2"}, "/a/{a}/b/{b}", "/a/{a}/b/{b}"),
        ("/v1/v1/7", {"v": "v1", "n": 7}, "/{n}", "/v1/{v}/{n}"),
        ("/users/users", {"name": "users"}, None, "/users/{name}"),
        ("/files/a/b.txt", {"path": "a/b.txt"}, None, "/files/{path}"),
        ("/n/007/A%20b", {"n": 7, "name": "A b"}, None, "/n/{n}/{name}"),
        ("/plain", {}, "/plain", "/plain"),
        ("/", {}, "/", "/"),
    ],
)
def test_a_route_is_the_path_with_names(
    path: str, values: dict[str, Any], form: str | None, route: str
) -> None:
    """Of routers that keep their prefixes to themselves, and of applications without a form."""
    scope = {"path": path, "path_params": values, "endpoint": print}
    scope["route"] = SimpleNamespace(path_format=form)
    assert asgi.route_of(scope) == route
    assert asgi.route_of({"path": "/x/12/3f2504e0-4f89-11d3-9a0c-0305e82c3301"}) == "/x/{id}/{id}"


# The rules alone


@pytest.mark.any_sqlalchemy
def test_a_rule_says_nothing_below_its_number(run: Run) -> None:
    """Four of the eight loads: no loop that counts."""
    unit = run.unit("GET /awaitable").number
    some = [one for one in run.capture.statements if one.unit == unit][:5]
    fewer = replace(run.capture, statements=tuple(some), events=())
    assert findings_of(fewer, run.root) == []


@pytest.mark.any_sqlalchemy
def test_an_error_of_ours_is_written_down_without_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold a value, and the application goes on."""
    monkeypatch.setattr(records, "_writer", records._Writer(str(tmp_path)))
    monkeypatch.setattr(records, "_when_ended", lambda _: None)

    @records.guarded
    def watch(value: str) -> None:
        raise LookupError(value)

    assert watch("s3cret") is None
    records.flush()
    (file,) = tmp_path.iterdir()
    written = file.read_text(encoding="ascii")
    assert re.search(r"watch: LookupError at test_queries_capture\.py:\d+\"\]", written)
    assert "s3cret" not in written
