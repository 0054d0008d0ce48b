"""examples/fastapi_app.py, as a process of uvicorn that is called over TCP.

`seed_N` in a name is a numbered defect of the older public skill, `seed_row_N` a row of its
feature list: the test fails where that defect is.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, func, select

import fastapi_app
from base_model import Base
from projects import warm
from session_manager import DatabaseConfig, DatabaseSessionManager, DbSession
from user_model import Post, Role, Tag, User, post_tags, seed, user_roles

pytestmark = pytest.mark.older_sqlalchemy_on("sqlite", "postgresql")

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "fastapi_app.py"
TABLES = [model.__table__ for model in (User, Post, Role, Tag)] + [user_roles, post_tags]
PASSWORD = "correct horse battery"


@dataclass
class Service:
    client: httpx.AsyncClient
    database: DatabaseSessionManager
    """The same database, from outside."""
    log: Path

    async def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        answer = await self.client.request(method, path, json=body)
        # Whatever is asked: nothing of a password is answered but the name of a wrong field.
        told = re.sub(r'"loc":\[[^]]*\]', "", answer.text)
        assert "password" not in told and "scrypt" not in told and PASSWORD not in told
        return answer

    async def cost(self, method: str, path: str, body: object = None) -> int:
        """The statements of a request that goes well."""
        answer = await self.call(method, path, body)
        assert answer.is_success, answer.text
        return int(answer.headers["X-Statements"])

    async def new_user(self, name: str = "Dora") -> dict[str, Any]:
        body = {"email": f"{name}@Example.com", "name": name, "password": PASSWORD}
        answer = await self.call("POST", "/users", body)
        assert answer.status_code == 201, answer.text
        user: dict[str, Any] = answer.json()
        return user

    async def id_of(self, name: str) -> str:
        found = (await self.call("GET", f"/users?text={name}@")).json()
        assert found["total"] == 1
        return str(found["items"][0]["id"])


@dataclass(frozen=True)
class Process:
    database_url: str
    address: str
    log: Path


@pytest.fixture(scope="module")
def process(
    dialect: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """The application as people run it: one process for the tests of a database."""
    folder = tmp_path_factory.mktemp("app")
    name, server = f"asp_app_{uuid.uuid4().hex[:12]}", None
    url = f"sqlite:///{folder / name}.db"
    if dialect != "sqlite":
        kind = "postgres" if dialect == "postgresql" else "mysql"
        server = request.getfixturevalue(f"{kind}_server")
        server.create_database(name)
        url = str(server.url(name))
    log = folder / "server.log"
    with uvicorn_process(url, log) as address:
        yield Process(url, address, log)
    if server is not None:
        server.drop_database(name)


@pytest.fixture
async def service(process: Process) -> AsyncIterator[Service]:
    """The application on the rows of `seed`, and nothing that an earlier test left."""
    async with DatabaseSessionManager(DatabaseConfig(process.database_url)) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all, TABLES)
            for table in (user_roles, post_tags, *TABLES):
                await connection.execute(table.delete())
        async with database.begin() as session:
            await seed(session)
        limits = httpx.Limits(max_connections=100)
        address = process.address
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
            yield Service(client, database, process.log)


@contextlib.contextmanager
def uvicorn_process(url: str, log: Path) -> Iterator[str]:
    """Its address. Port 0: the system gives a free one, and uvicorn says which."""
    command = [warm.python(), "-W", "error", "-m", "uvicorn", "--app-dir", EXAMPLE.parent]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--port", "0", "--no-access-log", "fastapi_app:app"],
            env=os.environ | {"DATABASE_URL": url},
            stdout=output,
            stderr=output,
        )
    try:
        yield address_in(log, process)
    finally:
        process.terminate()
        process.wait(60)
    assert process.returncode in (0, -15), log.read_text()


def address_in(log: Path, process: "subprocess.Popen[bytes]") -> str:
    import time

    for _ in range(1200):
        if found := re.search(r"running on (http://[\d.]+:\d+)", log.read_text()):
            return found[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(f"uvicorn did not start: {log.read_text()}")


def is_mysql(service: Service) -> bool:
    return service.database.engine.dialect.name == "mysql"


# As a program


def test_seed_row_22_74_shows_itself_and_ends(database_url: str):
    for arguments in [[database_url]] + [[]] * database_url.startswith("sqlite"):
        ran = warm.completed(EXAMPLE, *arguments)
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        lines = ran.stdout.splitlines()
        shown = [re.search(r" (\d{3}), (\d+) statements", line) for line in lines]
        codes = [found[1] for found in shown if found]
        assert len(codes) == len(lines) >= 10
        assert {"200", "201", "204", "404", "409", "422"} == set(codes)
        assert "hash" not in ran.stdout


# What a request costs


async def test_each_endpoint_takes_a_fixed_number_of_statements(service: Service):
    """The same with more rows: that is what an N+1 would change."""
    ada, extra = await service.id_of("ada"), is_mysql(service)
    # MariaDB has RETURNING for an INSERT, MySQL has none at all.
    made = not service.database.engine.dialect.insert_returning

    async def costs() -> dict[str, int]:
        return {
            path: await service.cost("GET", path)
            for path in (
                "/users?size=100",
                "/users?text=a&role=admin&with_posts=true",
                f"/users/{ada}",
                "/posts?size=100&sort=title",
                "/roles",
                "/posts/export",
                "/health/live",
            )
        }

    before = await costs()
    assert list(before.values()) == [3, 3, 2, 2, 1, 0, 0]
    async with service.database.begin() as session:
        for number in range(40):
            user = User(email=f"{number}@x.example", name=f"U{number}", password_hash="-")
            user.roles = list(await session.scalars(select(Role)))
            user.posts = [
                Post(title=f"{number}", body="b", published_at=fastapi_app.utcnow(), tags=[])
            ]
            session.add(user)
    assert await costs() == before

    # SAVEPOINT, INSERT, RELEASE. Without RETURNING generated columns take a SELECT.
    body = {"email": "d@example.com", "name": "D", "password": PASSWORD}
    assert await service.cost("POST", "/users", body) == 3 + made
    user_id = await service.id_of("d")
    assert await service.cost("PATCH", f"/users/{user_id}", {"name": "E"}) == 3 + extra
    assert await service.cost("PUT", f"/users/{user_id}/roles/admin") == 5
    assert await service.cost("DELETE", f"/users/{user_id}/roles/admin") == 3
    post = {"author_id": ada, "title": "T", "body": "B"}
    assert await service.cost("POST", "/posts", post) == 2 + made
    (post_id,) = await posts_titled(service, "T")
    assert await service.cost("GET", f"/posts/{post_id}") == 2
    assert await service.cost("PATCH", f"/posts/{post_id}", {"title": "U"}) == 3 + extra
    assert await service.cost("POST", f"/posts/{post_id}/publish") == 3 + extra
    assert await service.cost("DELETE", f"/posts/{post_id}") == 3 + extra
    assert await service.cost("DELETE", f"/users/{user_id}") == 3 + extra
    assert await service.cost("POST", "/roles", {"name": "reader"}) == 3


async def posts_titled(service: Service, title: str) -> list[uuid.UUID]:
    async with service.database.read_only_session() as session:
        return list(await session.scalars(select(Post.id).where(Post.title == title)))


# Users


async def test_seed_8_row_68_answers_have_the_fields_of_a_model_and_no_hash(service: Service):
    """`Service.call` looks at every answer of all tests as well."""
    created = await service.new_user()
    assert set(created) == {"id", "email", "name", "status", "roles", "created_at"}
    assert created["email"] == "dora@example.com"
    for path in (f"/users/{created['id']}", "/users", "/posts", "/roles"):
        assert (await service.call("GET", path)).status_code == 200
    stored = await stored_hash(service, created["id"])
    assert re.fullmatch(r"scrypt\$16384\$8\$1\$[0-9a-f]{32}\$[0-9a-f]{128}", stored)
    # FastAPI's own answer to a wrong request repeats what was sent, also beside the wrong field.
    for wrong in ({"password": "tooshort1"}, {"password": PASSWORD, "email": "x@y.example"}):
        answer = await service.call("POST", "/users", wrong)
        assert answer.status_code == 422
        assert "tooshort1" not in answer.text
    schema = (await service.client.get("/openapi.json")).json()["components"]["schemas"]
    assert not [name for name, model in schema.items() if "password_hash" in json.dumps(model)]


async def stored_hash(service: Service, user_id: str) -> str:
    async with service.database.read_only_session() as session:
        user = await session.get_one(User, uuid.UUID(user_id))
        return user.password_hash


async def test_user_from_birth_to_grave(service: Service):
    created = await service.new_user()
    path = f"/users/{created['id']}"
    assert (await service.call("GET", path)).json() == created
    changed = (await service.call("PATCH", path, {"name": " Dora D. "})).json()
    assert changed == created | {"name": "Dora D."}
    assert (await service.call("PATCH", path, {})).json() == changed
    assert (await service.call("PUT", f"{path}/roles/editor")).status_code == 204
    assert (await service.call("PUT", f"{path}/roles/editor")).status_code == 204
    assert (await service.call("GET", path)).json()["roles"] == ["editor"]
    roles = (await service.call("GET", "/roles")).json()
    assert roles == [{"name": "admin", "users": 1}, {"name": "editor", "users": 3}]

    assert (await service.call("DELETE", path)).status_code == 204
    assert (await service.call("GET", path)).status_code == 404
    assert (await service.call("DELETE", path)).status_code == 404
    assert (await service.call("GET", "/users?text=dora")).json()["total"] == 0
    assert (await service.call("GET", "/roles")).json()[1] == {"name": "editor", "users": 2}

    again = await service.new_user()  # the address is free
    assert (await service.call("POST", f"{path}/restore")).status_code == 409
    assert (await service.call("DELETE", f"/users/{again['id']}")).status_code == 204
    assert (await service.call("POST", f"{path}/restore")).status_code == 204
    assert (await service.call("GET", path)).json()["roles"] == ["editor"]
    assert (await service.call("DELETE", f"{path}/roles/editor")).status_code == 204
    assert (await service.call("DELETE", f"{path}/roles/editor")).status_code == 204
    assert (await service.call("GET", path)).json()["roles"] == []


async def test_what_is_there_is_a_409_and_what_is_not_a_404(service: Service):
    body = {"email": "ADA@example.com", "name": "A", "password": PASSWORD}
    answer = await service.call("POST", "/users", body)
    assert (answer.status_code, answer.json()) == (
        409,
        {"detail": "the address ada@example.com is in use"},
    )
    answer = await service.call("POST", "/roles", {"name": "admin"})
    assert (answer.status_code, answer.json()) == (409, {"detail": "there is a role 'admin'"})
    nobody, ada = uuid.uuid4(), await service.id_of("ada")
    for method, path, sent in (
        ("GET", f"/users/{nobody}", None),
        ("PATCH", f"/users/{nobody}", {"name": "X"}),
        ("POST", f"/users/{nobody}/restore", None),
        ("PUT", f"/users/{nobody}/roles/admin", None),
        ("PUT", f"/users/{ada}/roles/none", None),
        ("GET", f"/posts/{nobody}", None),
        ("DELETE", f"/posts/{nobody}", None),
        ("POST", "/posts", {"author_id": str(nobody), "title": "T", "body": "B"}),
    ):
        answer = await service.call(method, path, sent)
        assert answer.status_code == 404, (method, path)
        assert answer.json()["detail"].startswith("there is no ")


async def test_what_cannot_be_meant_is_a_422_and_never_a_500(service: Service):
    ada = await service.id_of("ada")
    good = {"email": "g@example.com", "name": "G", "password": PASSWORD}
    wrong: list[tuple[str, str, object]] = [
        ("PATCH", f"/users/{ada}", {"name": None}),
        ("PATCH", f"/users/{ada}", {"name": ""}),
        ("PATCH", f"/users/{ada}", {"name": "  "}),
        ("PATCH", f"/users/{ada}", {"name": "x" * 101}),
        ("PATCH", f"/users/{ada}", {"name": "a\x00b"}),
        ("PATCH", f"/users/{ada}", {"status": "suspended"}),
        ("PATCH", f"/users/{ada}", {"password_hash": "x"}),
        ("PATCH", "/users/not-a-uuid", {"name": "x"}),
        ("POST", "/users", good | {"email": "nobody"}),
        ("POST", "/users", good | {"email": "x" * 320 + "@example.com"}),
        ("POST", "/users", good | {"id": str(uuid.uuid4())}),
        ("POST", "/posts", {"author_id": ada, "title": "x" * 201, "body": "B"}),
        ("POST", "/posts", {"author_id": ada, "title": "T", "body": "\x00"}),
        ("PUT", f"/users/{ada}/roles/a%00b", None),
        ("GET", "/users?page=0", None),
        ("GET", "/users?size=0", None),
        ("GET", "/users?size=101", None),
        ("GET", "/users?page=9999&size=100", None),
        ("GET", f"/users?page={10**30}", None),
        ("GET", "/users?sort=password_hash", None),
        ("GET", "/users?password_hash=x", None),
        ("GET", "/users?text=%00", None),
        ("GET", "/users?created_after=2026-01-01T00:00:00", None),
        ("GET", "/posts?size=0", None),
        ("GET", "/posts?sort=body", None),
        ("GET", "/posts?cursor=abc", None),
    ]
    for method, path, body in wrong:
        answer = await service.call(method, path, body)
        assert answer.status_code == 422, (method, path, body, answer.text)
        assert answer.json()["detail"]
        assert answer.headers["X-Statements"] == "0"
    # A half of a surrogate pair, which JSON can write and UTF-8 cannot.
    answer = await service.client.patch(f"/users/{ada}", content=b'{"name": "\\ud800"}')
    assert answer.status_code == 422


async def test_search_shows_what_is_meant(service: Service):
    async def names(query: str) -> list[str]:
        found = (await service.call("GET", f"/users?{query}")).json()
        return [user["name"] for user in found["items"]]

    assert await names("") == ["Ada", "Bob", "Cleo"]
    assert await names("sort=-name&size=2&page=2") == ["Ada"]
    assert await names("role=editor") == ["Ada", "Bob"]
    assert await names("text=%25") == await names("text=_") == []


# Posts


async def test_posts_from_draft_to_deleted(service: Service):
    ada = await service.id_of("ada")
    body = {"author_id": ada, "title": "New", "body": "B"}
    created = (await service.call("POST", "/posts", body)).json()
    path = f"/posts/{created['id']}"
    assert created["author"] == "Ada" and created["published_at"] is None
    newest = "/posts?size=1"
    assert (await service.call("GET", newest)).json()["items"][0]["title"] != "New"
    published = (await service.call("POST", f"{path}/publish")).json()
    assert published["published_at"].endswith(("Z", "+00:00"))
    assert (await service.call("POST", f"{path}/publish")).json() == published
    assert (await service.call("GET", newest)).json()["items"] == [published]
    changed = (await service.call("PATCH", path, {"title": "Newer"})).json()
    assert changed == published | {"title": "Newer"}
    assert (await service.call("DELETE", path)).status_code == 204
    assert (await service.call("GET", path)).status_code == 404


async def test_seed_19_row_33_all_posts_by_cursor(service: Service):
    for sort in ("created_at", "-views", "title"):
        seen, cursor = [], ""
        while cursor is not None:
            path = f"/posts?size=5&sort={sort}{cursor and f'&cursor={cursor}'}"
            part = (await service.call("GET", path)).json()
            seen += [post["title"] for post in part["items"]]
            cursor = part["next_cursor"]
            if cursor is not None:
                other = f"/posts?size=5&sort=-title&cursor={cursor}"
                assert (await service.call("GET", other)).status_code == 422
        assert len(seen) == len(set(seen)) == 12
    assert seen == sorted(seen)


async def test_seed_11_deleted_users_take_their_posts_and_their_place(service: Service):
    ada = await service.id_of("ada")
    (post_id,) = await posts_titled(service, "Window functions")
    assert (await service.call("DELETE", f"/users/{ada}")).status_code == 204
    assert (await service.call("GET", f"/posts/{post_id}")).status_code == 404
    authors = {p["author"] for p in (await service.call("GET", "/posts?size=100")).json()["items"]}
    assert authors == {"Bob", "Cleo"}
    assert (await service.call("GET", f"/posts?author_id={ada}")).json()["items"] == []
    assert "Window" not in (await service.call("GET", "/posts/export")).text
    assert (await service.call("GET", "/users")).json()["total"] == 2


async def test_processes_with_one_secret_read_each_others_cursors(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "sqlite://")
    secrets = []
    for given in ("one for all, in each process", "one for all, in each process", "", ""):
        monkeypatch.setenv("CURSOR_SECRET", given)
        app = FastAPI()
        async with fastapi_app.life(app):
            secrets.append(app.state.cursors.secret)
    assert secrets[0] == secrets[1]
    assert len({*secrets}) == 3


# When the commit happens


async def test_seed_2_what_was_answered_can_be_read_at_once(service: Service):
    for number in range(4):  # a password's hash takes longer than the rest
        created = await service.new_user(f"n{number}")
        path = f"/users/{created['id']}"
        assert (await service.call("GET", path)).status_code == 200
    names = [f"c{number}" for number in range(5)]
    answers = await asyncio.gather(*map(service.new_user, names))
    paths = [f"/users/{created['id']}" for created in answers]
    found = await asyncio.gather(*(service.call("GET", path) for path in paths))
    assert [answer.status_code for answer in found] == [200] * 5


async def test_seed_2_background_task_sees_what_was_committed(service: Service):
    ada = await service.id_of("ada")
    body = {"author_id": ada, "title": "Seen", "body": "B"}
    created = (await service.call("POST", "/posts", body)).json()
    path = f"/posts/{created['id']}"
    await asyncio.gather(*(service.call("GET", path) for _ in range(15)))
    async with service.database.read_only_session() as session:
        for _ in range(1200):
            statement = select(Post.views, Post.updated_at, Post.created_at)
            row = (await session.execute(statement.where(Post.title == "Seen"))).one()
            if row.views == 15:
                break
            await session.rollback()
            await asyncio.sleep(0.05)
        assert row.views == 15
        assert row.updated_at == row.created_at  # nobody edited it


async def test_seed_1_of_many_at_once_one_is_told_that_the_row_is_saved(service: Service):
    body = {"email": "race@example.com", "name": "R", "password": PASSWORD}
    answers = await asyncio.gather(*(service.call("POST", "/users", body) for _ in range(8)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 7}
    (created,) = (answer.json() for answer in answers if answer.status_code == 201)
    assert await service.id_of("race") == created["id"]
    user = f"/users/{created['id']}/roles/admin"
    answers = await asyncio.gather(*(service.call("PUT", user) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {204}
    assert "Traceback" not in service.log.read_text()


LATE = Table(  # checked at COMMIT only
    "late",
    MetaData(),
    Column("role", Integer),
    Column("post", Integer, ForeignKey("late_posts.id", deferrable=True, initially="DEFERRED")),
)
LATE_POSTS = Table("late_posts", LATE.metadata, Column("id", Integer, primary_key=True))


@pytest.mark.dialects("postgresql", "sqlite")
async def test_seed_1_row_73_failed_commit_is_an_error_of_the_client(database_url: str):
    """In the example's own application, with one more endpoint."""
    app = FastAPI(lifespan=fastapi_app.life)
    app.add_middleware(fastapi_app.CountStatements)

    @app.post("/late", status_code=201)
    async def late(session: DbSession) -> None:
        await session.execute(LATE.insert().values(role=1, post=1))

    async with DatabaseSessionManager(DatabaseConfig(database_url)) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(LATE.metadata.create_all)
        app.state.database = database
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            fastapi_app.life(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            assert (await client.post("/late")).status_code == 500
            async with database.session() as session:
                assert await session.scalar(select(func.count()).select_from(LATE)) == 0


async def test_seed_3_streams_leak_no_connection(service: Service):
    for _ in range(11):  # one more than connections
        answer = await service.call("GET", "/posts/export")
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert len(lines) == 15 and set(lines[0]) == {"id", "title"}
    # Abandoned in the middle, too.
    for _ in range(5):
        async with service.client.stream("GET", "/posts/export") as stream:
            assert stream.status_code == 200
    assert await in_use(service) == 0
    assert "non-checked-in" not in service.log.read_text()


async def in_use(service: Service) -> int:
    """The connections that are checked out, when they have had a moment to come back."""
    for _ in range(1200):
        pool = (await service.call("GET", "/health/ready")).json()["pool"]
        if pool.startswith("0 of"):
            break
        await asyncio.sleep(0.05)
    return int(pool.split()[0])


# Health


async def test_seed_33_health_is_of_the_database_and_not_of_the_last_request(service: Service):
    answer = await service.call("GET", "/health/live")
    assert (answer.status_code, answer.json()) == (200, {"process": "answers"})
    for _ in range(12):
        assert (await service.call("POST", "/roles", {"name": "admin"})).status_code == 409
    answer = await service.call("GET", "/health/ready")
    assert answer.status_code == 200
    assert answer.json()["database"] == "answers"
    # Two processes of it stay below the 100 connections that PostgreSQL allows by default.
    assert re.fullmatch(r"\d+ of 10 connections in use", answer.json()["pool"])


async def test_seed_33_not_ready_without_the_database(tmp_path: Path):
    url = "postgresql://nobody:secret@127.0.0.1:1/none"
    with uvicorn_process(url, tmp_path / "server.log") as address:
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            assert (await client.get("/health/live")).status_code == 200
            answer = await client.get("/health/ready")
            assert answer.status_code == 503
            assert "secret" not in answer.text
    assert "secret" not in (tmp_path / "server.log").read_text()


# In a project of one's own


async def test_seed_row_67_69_70_72_templates_work_as_a_package_of_a_project(
    database_url: str, tmp_path: Path
):
    """The quick start: copy two files, write a model and an endpoint."""
    package = tmp_path / "project" / "app" / "db"
    package.mkdir(parents=True)
    for name in ("base_model.py", "database_url.py", "database_engine.py", "session_manager.py"):
        shutil.copy(ROOT / "templates" / name, package)
    (package / "models.py").write_text(
        """
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from .base_model import BaseModel


class User(BaseModel):
    __tablename__ = "quick_users"

    email: Mapped[str] = mapped_column(String(320))
    hashed_password: Mapped[str] = mapped_column(String(200))
"""
    )
    (package.parent / "main.py").write_text(
        """
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from app.db.base_model import Base
from app.db.models import User
from app.db.session_manager import DbSession, lifespan


class UserOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: uuid.UUID
    email: str


@asynccontextmanager
async def life(app: FastAPI) -> AsyncIterator[None]:
    async with lifespan(app), app.state.database.engine.begin() as connection:
        assert list(Base.metadata.tables) == ["quick_users"]
        await connection.run_sync(Base.metadata.create_all)
        await connection.commit()
        yield


app = FastAPI(lifespan=life)


@app.post("/users", status_code=201)
async def create(email: str, session: DbSession) -> UserOut:
    user = await User(email=email, hashed_password="h").save(session)
    return UserOut.model_validate(user)
"""
    )
    code = """
import asyncio, httpx
from app.main import app, life
async def main():
    async with life(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.post("/users?email=a@example.com")
            print(answer.status_code, sorted(answer.json()))
asyncio.run(main())
"""
    ran = await asyncio.to_thread(
        warm.completed,
        "-c",
        code,
        cwd=tmp_path / "project",
        environment=os.environ | {"DATABASE_URL": database_url},
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "201 ['email', 'id']"), ran.stderr
