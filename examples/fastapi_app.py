"""A small service on the templates: users, posts and roles, over HTTP.

    python examples/fastapi_app.py [DATABASE_URL]
    DATABASE_URL=... uvicorn --app-dir examples fastapi_app:app

The first serves on a free port, makes some requests to itself, prints the answers and ends. The
second serves a database that has the tables; in a project, migrations make them.

- The session of a request commits before the response is sent (DbSession). What raises leaves no
  row: NotFoundError becomes 404, a conflict 409, a refused value 422.
- An answer has the fields of a response model, and so never a password's hash.
- Every answer tells in `X-Statements` what it cost the database. Lists cost the same for a
  hundred rows as for one: 3 statements by page (count, rows, what belongs to them), 2 by cursor.

There is no login: who may do what is not the subject here.
"""

import asyncio
import hashlib
import http.client
import json
import os
import re
import secrets
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Annotated

import pydantic
import uvicorn
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import Field, SecretStr, StringConstraints
from sqlalchemy import Connection, delete, event, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import contains_eager, selectinload
from sqlalchemy.orm.interfaces import ORMOption
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import _setup
from async_context_examples import (
    MAX_SIZE,
    BadRequestError,
    CursorPage,
    Cursors,
    Email,
    EmailTakenError,
    Name,
    NewUser,
    NotFoundError,
    Page,
    PostOut,
    Text,
    UserOut,
    UserSearch,
    add_user,
    is_unique_violation,
    post_out,
    posts_after,
    restore_user,
    search_users,
    soft_delete_user,
    stream_posts,
    user_out,
)
from base_model import utcnow
from health import check_live, check_ready
from session_manager import Database, DatabaseSessionManager, DbSession, ReadOnlyDbSession, lifespan
from user_model import Post, Role, User, seed, user_roles

Title = Annotated[Text, StringConstraints(min_length=1, max_length=200)]
RoleName = Annotated[Text, StringConstraints(min_length=1, max_length=50)]


class ConflictError(Exception):
    """What the request wants cannot be, because of what is there."""


# What comes in. `extra="forbid"`: a field that cannot be set is an error, and not ignored.


class Body(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")


class UserIn(Body):
    email: Email
    name: Name
    password: SecretStr = Field(min_length=12, max_length=128)


class UserPatch(Body):
    # Not `Name | None`: a field may be left out, but null is no name. What is left out is not
    # in model_dump(exclude_unset=True), so the default is never used.
    name: Name = ""


class PostIn(Body):
    author_id: uuid.UUID
    title: Title
    body: Annotated[Text, StringConstraints(max_length=10_000)]


class PostPatch(Body):
    title: Title = ""
    body: Annotated[Text, StringConstraints(max_length=10_000)] = ""


class RoleIn(Body):
    name: RoleName


class RoleOut(pydantic.BaseModel):
    name: str
    users: int


# Users

users = APIRouter(prefix="/users", tags=["users"])


def hash_password(password: str) -> str:
    """About 50 ms of work, on purpose; not for the event loop."""
    salt = secrets.token_bytes(16)
    digest = hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
    return f"scrypt$16384$8$1${salt.hex()}${digest.hex()}"


@users.post("", status_code=201)
async def create_user(data: UserIn, session: DbSession) -> UserOut:
    # Before the first statement: until then the session has no connection that would wait.
    password_hash = await asyncio.to_thread(hash_password, data.password.get_secret_value())
    new = NewUser(email=data.email, name=data.name, password_hash=password_hash)
    return user_out(await add_user(session, new))


@users.get("")
async def list_users(
    search: Annotated[UserSearch, Query()], session: ReadOnlyDbSession
) -> Page[UserOut]:
    return await search_users(session, search)


@users.get("/{user_id}")
async def get_user(user_id: uuid.UUID, session: ReadOnlyDbSession) -> UserOut:
    return user_out(await find_user(session, user_id, selectinload(User.roles)))


@users.patch("/{user_id}")
async def change_user(user_id: uuid.UUID, data: UserPatch, session: DbSession) -> UserOut:
    user = await find_user(session, user_id, selectinload(User.roles))
    return user_out(await user.update(session, data.model_dump(exclude_unset=True)))


@users.delete("/{user_id}", status_code=204)
async def delete_user(user_id: uuid.UUID, session: DbSession) -> None:
    """The posts go with the user, and the address is free."""
    await soft_delete_user(session, user_id)


@users.post("/{user_id}/restore", status_code=204)
async def undelete_user(user_id: uuid.UUID, session: DbSession) -> None:
    await restore_user(session, user_id)


@users.put("/{user_id}/roles/{name}", status_code=204)
async def grant_role(user_id: uuid.UUID, name: RoleName, session: DbSession) -> None:
    """As every PUT: a second one changes nothing, also when it comes at the same moment."""
    user = await find_user(session, user_id)
    role = await find_role(session, name)
    try:
        async with session.begin_nested():
            pair = {"user_id": user.id, "role_id": role.id}
            await session.execute(user_roles.insert().values(pair))
    except IntegrityError as error:
        if not is_unique_violation(error):
            raise


@users.delete("/{user_id}/roles/{name}", status_code=204)
async def revoke_role(user_id: uuid.UUID, name: RoleName, session: DbSession) -> None:
    user = await find_user(session, user_id)
    role = await find_role(session, name)
    pair = (user_roles.c.user_id == user.id) & (user_roles.c.role_id == role.id)
    await session.execute(delete(user_roles).where(pair))


async def find_user(session: AsyncSession, user_id: uuid.UUID, *options: ORMOption) -> User:
    statement = select(User).where(User.id == user_id).options(*options)
    user = (await session.scalars(statement)).one_or_none()
    if user is None:
        raise NotFoundError(f"there is no user {user_id}")
    return user


# Posts

posts = APIRouter(prefix="/posts", tags=["posts"])


def get_cursors(request: Request) -> Cursors:
    cursors: Cursors = request.app.state.cursors
    return cursors


@posts.post("", status_code=201)
async def create_post(data: PostIn, session: DbSession) -> PostOut:
    author = await find_user(session, data.author_id)
    post = Post(author=author, title=data.title, body=data.body, tags=[])
    return post_out(await post.save(session))


@posts.get("")
async def list_posts(
    *,
    session: ReadOnlyDbSession,
    cursors: Annotated[Cursors, Depends(get_cursors)],
    cursor: str | None = None,
    size: Annotated[int, Query(ge=1, le=MAX_SIZE)] = 20,
    sort: str = "-created_at",
    author_id: uuid.UUID | None = None,
) -> CursorPage[PostOut]:
    return await posts_after(
        session, cursors, cursor=cursor, size=size, sort=sort, author_id=author_id
    )


@posts.get("/export", response_class=StreamingResponse)
async def export_posts(database: Database) -> StreamingResponse:
    """All posts, one JSON object a line, however many there are."""

    async def lines() -> AsyncIterator[str]:
        # A session of its own: one of the request is closed before the first byte is sent.
        async with database.session() as session:
            async for batch in stream_posts(session):
                for line in batch:
                    yield json.dumps({"id": line.id.hex, "title": line.title}) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@posts.get("/{post_id}")
async def get_post(
    post_id: uuid.UUID, session: ReadOnlyDbSession, database: Database, tasks: BackgroundTasks
) -> PostOut:
    """The view is counted after the answer, which does not wait for it."""
    post = await find_post(session, post_id)
    tasks.add_task(count_view, database, post_id)
    return post_out(post)


async def count_view(database: DatabaseSessionManager, post_id: uuid.UUID) -> None:
    """A background task: the session of the request is closed by now."""
    # The database adds, so that no view is lost; updated_at is kept, as nobody edited the post.
    values = {"views": Post.views + 1, "updated_at": Post.updated_at}
    async with database.begin() as session:
        await session.execute(
            update(Post).where(Post.id == post_id).values(values),
            execution_options={"synchronize_session": False},
        )


@posts.patch("/{post_id}")
async def change_post(post_id: uuid.UUID, data: PostPatch, session: DbSession) -> PostOut:
    post = await find_post(session, post_id)
    return post_out(await post.update(session, data.model_dump(exclude_unset=True)))


@posts.post("/{post_id}/publish")
async def publish_post(post_id: uuid.UUID, session: DbSession) -> PostOut:
    """Published already is no error, and keeps its date."""
    post = await find_post(session, post_id)
    post.published_at = post.published_at or utcnow()
    return post_out(await post.save(session))


@posts.delete("/{post_id}", status_code=204)
async def delete_post(post_id: uuid.UUID, session: DbSession) -> None:
    await (await find_post(session, post_id)).soft_delete(session)


async def find_post(session: AsyncSession, post_id: uuid.UUID) -> Post:
    statement = (
        select(Post)
        .join(Post.author)
        .where(Post.id == post_id)
        .options(contains_eager(Post.author), selectinload(Post.tags))
    )
    post = (await session.scalars(statement)).one_or_none()
    if post is None:
        raise NotFoundError(f"there is no post {post_id}")
    return post


# Roles

roles = APIRouter(prefix="/roles", tags=["roles"])


@roles.get("")
async def list_roles(session: ReadOnlyDbSession) -> list[RoleOut]:
    """All roles, each with the number of its users."""
    statement = (
        select(Role.name, func.count(User.id))
        .outerjoin(Role.users)
        .group_by(Role.id, Role.name)
        .order_by(Role.name)
    )
    return [RoleOut(name=name, users=n) for name, n in await session.execute(statement)]


@roles.post("", status_code=201)
async def create_role(data: RoleIn, session: DbSession) -> RoleOut:
    try:
        async with session.begin_nested():
            await Role(name=data.name).save(session)
    except IntegrityError as error:
        if is_unique_violation(error):
            raise ConflictError(f"there is a role {data.name!r}") from error
        raise
    return RoleOut(name=data.name, users=0)


async def find_role(session: AsyncSession, name: str) -> Role:
    role = (await session.scalars(select(Role).where(Role.name == name))).one_or_none()
    if role is None:
        raise NotFoundError(f"there is no role {name!r}")
    return role


# Health

health = APIRouter(prefix="/health", tags=["health"])


@health.get("/live")
async def live() -> dict[str, str]:
    return check_live().checks


@health.get("/ready")
async def ready(database: Database, response: Response) -> dict[str, str]:
    # In a project: check_ready(database, migrations="alembic.ini")
    found = await check_ready(database)
    response.status_code = found.status_code
    return found.checks


# How many statements a request takes

_statements: ContextVar[list[str] | None] = ContextVar("statements", default=None)


def _note_statement(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
    noted = _statements.get()
    # SQLite begins a transaction by a statement; with the others it is a part of the protocol.
    if noted is not None and not statement.startswith(("BEGIN", "PRAGMA")):
        noted.append(statement)


class CountStatements:
    """Middleware that answers with `X-Statements`. What a stream or a background task does comes
    after the headers and is not in it.

    Plain ASGI: a BaseHTTPMiddleware runs the application in another task, and cancels it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        noted: list[str] = []
        _statements.set(noted)

        async def send_with_count(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Statements"] = str(len(noted))
            await send(message)

        await self.app(scope, receive, send_with_count)


# The application


@asynccontextmanager
async def life(app: FastAPI) -> AsyncIterator[None]:
    """The database is open while the application runs."""
    # One secret for all processes, or a cursor of one is refused by the others.
    secret = os.environ.get("CURSOR_SECRET")
    app.state.cursors = Cursors(secret.encode() if secret else secrets.token_bytes(32))
    async with lifespan(app):
        engine = app.state.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", _note_statement)
        yield
        event.remove(engine, "before_cursor_execute", _note_statement)


app = FastAPI(title="Users, posts, roles", lifespan=life)
app.add_middleware(CountStatements)
for router in (users, posts, roles, health):
    app.include_router(router)


@app.exception_handler(NotFoundError)
async def not_found(_request: Request, error: NotFoundError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 404)


@app.exception_handler(EmailTakenError)
async def email_taken(_request: Request, error: EmailTakenError) -> JSONResponse:
    return JSONResponse({"detail": f"the address {error} is in use"}, 409)


@app.exception_handler(ConflictError)
async def conflict(_request: Request, error: ConflictError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 409)


@app.exception_handler(BadRequestError)
async def refused(_request: Request, error: BadRequestError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 422)


@app.exception_handler(RequestValidationError)
async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
    """Without `input`, which FastAPI sends back by default: a password may be in it."""
    shown = [{name: problem[name] for name in ("loc", "msg", "type")} for problem in error.errors()]
    return JSONResponse({"detail": shown}, 422)


# The show


class Client:
    """Requests over TCP, by the standard library."""

    def __init__(self, host: str, port: int) -> None:
        self.connection = http.client.HTTPConnection(host, port, timeout=30)

    async def __call__(self, method: str, path: str, body: object = None) -> str:
        """The text of the answer, which is printed in short."""
        return await asyncio.to_thread(self._request, method, path, body)

    def _request(self, method: str, path: str, body: object) -> str:
        headers = {"Content-Type": "application/json"}
        self.connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        cost = f"{answer.status}, {answer.headers['X-Statements']} statements"
        print(f"{method:6} {_short(path, 42):42} {cost} {_short(text, 74)}")
        return text


def _short(text: str, width: int) -> str:
    text = re.sub(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", "(id)", text).replace("\n", " ")
    return text if len(text) <= width else text[: width - 3] + "..."


async def main(database: DatabaseSessionManager) -> None:
    async with database.begin() as session:
        ada, *_ = await seed(session)
    app.state.database = database
    async with serving() as request:
        await show(request, ada)
    del app.state.database


@asynccontextmanager
async def serving() -> AsyncIterator[Client]:
    """The application behind a socket on a free port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            if running.done():
                raise RuntimeError("the server did not start")
            await asyncio.sleep(0.01)
        client = Client(*listening.getsockname())
        try:
            yield client
        finally:
            client.connection.close()
            server.should_exit = True
            await running


async def show(request: Client, ada: User) -> None:
    dora = {"email": "Dora@Example.com", "name": "Dora", "password": secrets.token_urlsafe()}
    created = json.loads(await request("POST", "/users", dora))
    await request("POST", "/users", dora)
    await request("PUT", f"/users/{created['id']}/roles/editor")
    await request("GET", "/users?role=editor&sort=-name&size=1")
    await request("PATCH", f"/users/{created['id']}", {"name": None})
    first = json.loads(await request("GET", "/posts?size=2&sort=-views"))
    await request("GET", f"/posts?size=2&sort=-views&cursor={first['next_cursor']}")
    await request("GET", f"/posts?size=2&sort=title&cursor={first['next_cursor']}")
    await request("DELETE", f"/users/{ada.id}")
    await request("GET", f"/users/{ada.id}")
    await request("GET", "/roles")
    await request("GET", "/posts/export")
    await request("GET", "/health/ready")


if __name__ == "__main__":
    _setup.run(main)
