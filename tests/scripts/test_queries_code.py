"""The rules over source, on an application in which every faulty line is marked.

`# fault: RULE` stands on the line that has to be found; nothing else may be.
"""

import re
from pathlib import Path

import pytest

from toolkit.project import read_project
from toolkit.queries.code import findings_of
from toolkit.queries.finding import Confidence, Layer, QueryFinding

pytestmark = pytest.mark.any_sqlalchemy

MODELS = """
from sqlalchemy import ARRAY, ForeignKey, Index, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    posts: Mapped[list["Post"]] = relationship(back_populates="author")


class Post(Base):
    __tablename__ = "posts"
    __table_args__ = (
        Index("ix_posts_body_trgm", "body", postgresql_using="gin",
              postgresql_ops={"body": "gin_trgm_ops"}),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(ARRAY(String))
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    author: Mapped["User"] = relationship(back_populates="posts")
    comments: Mapped[list["Comment"]] = relationship()
    likes: Mapped[list["Like"]] = relationship(lazy="selectin")


class Comment(Base):
    __tablename__ = "comments"
    id: Mapped[int] = mapped_column(primary_key=True)
    post_id: Mapped[int] = mapped_column(ForeignKey("posts.id"))


class Like(Base):
    __tablename__ = "likes"
    id: Mapped[int] = mapped_column(primary_key=True)
    post_id: Mapped[int] = mapped_column(ForeignKey("posts.id"))
"""

DATABASE = """
from typing import Annotated

from fastapi import Depends
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from elsewhere import OwnSession

engine = create_async_engine("sqlite+aiosqlite://")
SessionFactory = async_sessionmaker(engine{expire})
OldFactory = sessionmaker(create_engine("sqlite://"))
JobFactory = async_sessionmaker(engine, expire_on_commit={other})
ByClass = sessionmaker(engine, class_=AsyncSession, expire_on_commit={expires})
ByOwnClass = sessionmaker(engine, class_=OwnSession, expire_on_commit={expires})
OldByClass = sessionmaker(engine, class_=Session)


async def get_session():
    async with SessionFactory() as session:
        yield session


async def get_own_engine():
    own = create_async_engine("sqlite+aiosqlite://")  # fault: engine-in-request
    async with AsyncSession(own, expire_on_commit={expires}) as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]
OwnDep = Annotated[AsyncSession, Depends(get_own_engine)]
"""

HEAD = """
import asyncio
from enum import Enum

import aiohttp
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, joinedload, selectinload

from app.db import ByClass, ByOwnClass, JobFactory, OldByClass, OldFactory
from app.db import SessionDep, SessionFactory, get_own_engine, get_session
from app.models import Comment, Post, User

router = APIRouter()
KINDS = ["a", "b"]
DAYS = {"week": 7, "month": 30}
class Kind(Enum):
    A = 1
"""

LOOPS = (
    HEAD
    + """
async def author_of(session: AsyncSession, key: int):
    return await session.scalar(select(User).where(User.id == key))

async def told(session: AsyncSession, key: int):
    print(session, key)

async def create_comment(session: AsyncSession, key: int):
    await session.scalar(select(Post).where(Post.id == key))

@router.get("/a")
async def each_author(session: SessionDep):
    posts = (await session.scalars(select(Post).limit(10))).all()
    found = []
    for post in posts:
        found.append(await session.get(User, post.author_id))  # fault: statement-in-loop
        number = await session.scalar(  # fault: statement-in-loop
            select(func.count()).select_from(Comment).where(Comment.post_id == post.id)
        )
    return found, number

@router.get("/b")
async def in_a_comprehension(ids: list[int], session: SessionDep):
    return [await session.get(User, id) for id in ids]  # fault: statement-in-loop

@router.get("/c")
async def by_a_helper(ids: list[int], session: SessionDep):
    return [
        await author_of(session, id)  # fault: statement-in-loop
        for id in ids
    ]

@router.get("/d")
async def by_a_statement(ids: list[int], session: SessionDep):
    for id in ids:
        statement = select(Post).where(Post.id == id)
        result = await session.execute(statement)  # fault: statement-in-loop

@router.get("/e")
async def refreshed(session: SessionDep):
    posts = (await session.scalars(select(Post).limit(3))).all()
    for post in posts:
        await session.refresh(post)  # fault: statement-in-loop

class Service:
    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def load(self, keys: list[int]):
        for key in keys:
            await self.session.get(Post, key)  # fault: statement-in-loop

@router.get("/f")
async def awaitable(session: SessionDep):
    for post in await session.scalars(select(Post)):
        await post.awaitable_attrs.comments  # fault: awaitable-in-loop
    return [await p.awaitable_attrs.author for p in given()]  # fault: awaitable-in-loop

# From here on, all is well.
@router.get("/g")
async def few(session: SessionDep, http: aiohttp.ClientSession, urls: list[str], dto: dict):
    for kind in ("a", "b"):
        await session.scalar(select(Post).where(Post.title == kind))
    for kind in KINDS:
        await session.scalar(select(Post).where(Post.title == kind))
    for name, days in DAYS.items():
        await session.scalar(select(Post).where(Post.id > days))
    for kind in Kind:
        await session.scalar(select(Post).where(Post.title == kind.name))
    two = [1, 2]
    for number in two:
        await session.get(Post, number)
    for url in urls:
        await http.get(url)
    for name, value in dto.model_dump().items():
        await session.scalar(select(Post).where(Post.title == name))

@router.get("/h")
async def retried(session: SessionDep, keys: list[int]):
    for attempt in range(3):
        await session.scalar(select(Post).where(Post.id == attempt))
    for key in keys:
        if await session.get(Post, key) is None:
            break
    for chunk in in_chunks(keys):
        await session.scalars(select(Post).where(Post.id.in_(chunk)))
    async for own in get_session():
        await own.scalar(select(Post))

@router.post("/i")
async def a_path(session: SessionDep, names: list[str]):
    parent = None
    for name in names:
        found = await session.scalar(select(Post).where(Post.title == name, Post.id == parent))
        parent = found.id

@router.post("/n")
async def a_path_from_somewhere(session: SessionDep, names: list[str], parent: int):
    for name in names:
        found = await session.scalar(select(Post).where(Post.title == name, Post.id == parent))
        parent = found.id

@router.post("/j")
async def written(session: SessionDep, keys: list[int]):
    for key in keys:
        await session.execute(insert(Comment).values(post_id=key))
        await create_comment(session, key)
        await told(session, key)
        other = update(Post).where(Post.id == key)
        await session.execute(other)

@router.get("/k")
async def a_session_each(keys: list[int]):
    for key in keys:
        async with SessionFactory() as session:
            pass
    loaded = await asyncio.gather(*[one(key) for key in keys])
    for post in loaded:
        print(post)

@router.get("/l")
async def eager(session: SessionDep):
    for post in await session.scalars(select(Post).options(selectinload(Post.comments))):
        await post.awaitable_attrs.comments
        await post.awaitable_attrs.likes
    for post in (first, second):
        await post.awaitable_attrs.comments

@router.get("/m")
async def of_one_author(key: int, session: SessionDep):
    for post in await session.scalars(select(Post).where(Post.author_id == key)):
        await session.get(User, post.author_id)

@app.task
async def nightly(session: AsyncSession, keys: list[int]):
    for key in keys:
        await session.get(Post, key)
"""
)

LAZY = (
    HEAD
    + """
class CommentOut(BaseModel):
    id: int

class PostOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    comments: list[CommentOut]

class Short(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int

@router.get("/a")
async def one_read(key: int, session: SessionDep):
    post = await session.get(Post, key)
    return {"author": post.author.name}  # fault: lazy-relationship

@router.get("/b")
async def many_read(session: AsyncSession = Depends(get_session)):
    result = await session.execute(select(Post).where(Post.id > 1).limit(9))
    posts = result.scalars().all()
    return [{"n": len(post.comments)} for post in posts]  # fault: lazy-relationship

@router.get("/c", response_model=list[PostOut])
async def by_response(session: SessionDep):
    posts = (await session.scalars(select(Post).limit(9))).all()
    return posts  # fault: lazy-in-response

@router.get("/d")
async def by_annotation(key: int, session: SessionDep) -> PostOut:
    return await session.get(Post, key)  # fault: lazy-in-response

@router.post("/e", response_model=PostOut)
async def new_object(session: SessionDep):
    post = Post(title="x")
    session.add(post)
    await session.commit()
    await session.refresh(post)
    return post  # fault: lazy-in-response

# From here on, all is well.
@router.post("/n", response_model=PostOut)
async def not_stored(session: SessionDep):
    post = Post(title="x")
    await session.commit()
    return post

@router.post("/o", response_model=PostOut)
async def not_flushed(session: SessionDep):
    post = Post(title="x")
    session.add(post)
    return post

@router.post("/p", response_model=PostOut)
async def whatever_was_given(session: SessionDep, data: dict):
    post = Post(**data)
    session.add(post)
    await session.commit()
    return post

@router.post("/q", response_model=PostOut)
async def given(session: SessionDep):
    post = Post(title="x", comments=[])
    session.add(post)
    await session.commit()
    return post

@router.get("/f")
async def loaded(key: int, session: SessionDep):
    post = await session.get(Post, key, options=[joinedload(Post.author)])
    statement = select(Post)
    statement = statement.options(selectinload(Post.comments)).limit(3)
    others = (await session.scalars(statement)).all()
    print(post.author, [len(one.comments) for one in others], post.likes)

@router.get("/g", response_model=Short)
async def not_in_the_schema(key: int, session: SessionDep):
    return await session.get(Post, key)

@router.get("/h")
async def refreshed(key: int, session: SessionDep):
    post = await session.get(Post, key)
    await session.refresh(post, ["comments"])
    print(post.comments)
    other = await session.get(User, key)
    print(await other.awaitable_attrs.posts)
    print(other.posts)

@router.get("/i")
async def at_hand(key: int, session: SessionDep):
    user = await session.get(User, key)
    post = await session.get(Post, key)
    print(post.author)

@router.get("/j")
async def options_from_elsewhere(key: int, session: SessionDep):
    post = await session.scalar(select(Post).options(*OPTIONS))
    print(post.comments)
    other = await session.scalar(select(Post).options(selectinload("*")))
    print(other.comments)

@router.get("/k")
async def set_by_hand(key: int, user: User, session: SessionDep):
    post = Post(author=user)
    print(post.author)

def in_a_thread(key: int, session: Session):
    post = session.get(Post, key)
    return post.author
"""
)

ROWS = (
    HEAD
    + """
@router.get("/a")
async def counted(session: SessionDep):
    number = len((await session.execute(select(Post))).scalars().all())  # fault: count-by-rows
    rows = (await session.scalars(select(Post).where(Post.id > 1))).all()
    return number, len(rows)  # fault: count-by-rows

@router.get("/b")
async def page(skip: int, session: SessionDep) -> dict:
    return await session.scalars(select(Post).limit(9).offset(skip))  # fault: offset-pagination

@router.get("/c", response_model=list[int])
async def everything(session: SessionDep):
    result = await session.execute(select(Post).order_by(Post.id))  # fault: list-without-limit
    return result.scalars().all()

@router.get("/d")
async def search(word: str, session: SessionDep):
    pattern = f"%{word}%"
    return await session.scalars(
        select(Post).where(
            Post.title.ilike(pattern)  # fault: leading-wildcard
            | Post.title.endswith(word)
        )
    )

@router.get("/e")
async def contained(word: str, session: SessionDep):
    return await session.scalar(
        select(User).where(func.lower(User.name).contains(word))  # fault: leading-wildcard
    )

@router.get("/p")
async def by_words(session: SessionDep):
    return await session.scalar(
        select(Post).where(
            Post.title.like("%a")  # fault: leading-wildcard
        )
    )

@router.get("/q")
async def perhaps(db: Session | None = None):
    return db.execute(select(Post))  # fault: blocking-session

@router.get("/r")
async def perhaps_said_in_words(db: "None | Session" = None):
    return db.execute(select(Post))  # fault: blocking-session

@router.get("/s")
async def by_a_factory_of_its_own(session: SessionDep):
    with OldByClass() as db:
        db.commit()  # fault: blocking-session
    async with ByClass() as own, ByOwnClass() as other:
        await own.commit()
        await other.commit()

@router.get("/f")
async def old(db: Session = Depends(get_session)):
    return db.execute(select(Post))  # fault: blocking-session

@router.get("/g")
async def old_too():
    with OldFactory() as db:
        db.commit()  # fault: blocking-session

@router.get("/h")
async def at_once(session: SessionDep, keys: list[int]):
    await asyncio.gather(  # fault: session-in-gather
        session.scalars(select(Post)), session.scalars(select(User))
    )
    await asyncio.gather(*[load(session, key) for key in keys])  # fault: session-in-gather

@router.get("/i")
async def made_of_text(name: str, session: SessionDep):
    await session.execute(text(f"SELECT 1 FROM t WHERE name = '{name}'"))  # fault: values-in-text
    query = "DELETE FROM users WHERE id IN (" + name + ")"
    await session.execute(text(query))  # fault: values-in-text

# From here on, all is well.
@router.get("/j", response_model=list[int])
async def bounded(limit: int, session: SessionDep):
    rows = (await session.scalars(select(Post).limit(limit))).all()
    mine = (await session.scalars(select(Post).where(Post.author_id == 1))).all()
    print(len(rows), rows[0], len([1, 2]), mine)
    changed = await session.execute(update(Post).returning(Post.id))
    print(len(changed.all()))
    print((await session.scalars(select(Post).where(Post.id > 1))).all())
    return rows

@router.post("/k", response_model=list[int])
async def not_a_list_to_read(session: SessionDep):
    return (await session.scalars(select(Post))).all()

@router.get("/l")
async def by_prefix(word: str, session: SessionDep, frame: object):
    frame.column.contains("x")
    "abc".endswith(word)
    frame.offset(3)
    return await session.scalars(
        select(Post).where(
            Post.title.like(f"{word}%"),
            Post.title.like("a%"),
            Post.body.ilike(f"%{word}%"),
            Post.tags.contains([word]),
            Post.title.startswith(word),
        )
    )

@router.get("/m")
def in_a_thread(db: Session):
    return db.execute(select(Post))

@router.get("/n")
async def one_each(keys: list[int], session: SessionDep):
    async def one(key):
        async with SessionFactory() as own:
            return await own.get(Post, key)
    await asyncio.gather(*[one(key) for key in keys])
    await asyncio.gather(session.scalars(select(Post)), fetch("x"))

@router.get("/o")
async def names_in_text(kind: str, number: int, session: SessionDep):
    await session.execute(text(f"SELECT * FROM {kind} WHERE id = :id"), {"id": 1})
    await session.execute(text(f"SET LOCAL TIME ZONE '{kind}'"))
    await session.execute(text(f"SELECT * FROM users LIMIT {number}"))
    await session.execute(text(f"SELECT id FROM ({kind}) AS listed"))
    await session.execute(text("SELECT 1"))
"""
)

ENGINES = (
    HEAD
    + """
from functools import cache

from sqlalchemy.ext.asyncio import create_async_engine

@router.get("/a")
async def own_engine(url: str):
    engine = create_async_engine(url)  # fault: engine-in-request

@router.get("/b")
async def by_way_of_others(name: str, session: SessionDep):
    first = name
    second = first
    await session.execute(text(f"SELECT 1 FROM t WHERE name = '{second}'"))  # fault: values-in-text
    await session.execute(text(f"DELETE FROM t WHERE a = '{str(name)}'"))  # fault: values-in-text

@router.get("/f")
async def by_percent_and_format(name: str, kind: str, session: SessionDep):
    await session.execute(text("SELECT a = '%s'" % name))  # fault: values-in-text
    await session.execute(text("SELECT a = %s, %d" % (name, 1)))  # fault: values-in-text
    await session.execute(text("SELECT '%%', a = '%s'" % name))  # fault: values-in-text
    await session.execute(text("SELECT a = %(a)s" % {"a": name}))  # fault: values-in-text
    await session.execute(text("SELECT a = '{}'".format(name)))  # fault: values-in-text
    await session.execute(text("SELECT a = {1.x} {0}".format(kind, name)))  # fault: values-in-text
    await session.execute(text("SELECT a = {a!r:>3}".format(a=name)))  # fault: values-in-text
    query = "SELECT a = '%s'" % name + " AND b"
    await session.execute(text(query))  # fault: values-in-text

# From here on, all is well.
@router.get("/g")
async def names_by_percent_and_format(name: str, kind: str, session: SessionDep):
    await session.execute(text("DELETE FROM %s WHERE a LIKE 'x%%' AND b = %d" % (kind, name)))
    await session.execute(text("DELETE FROM {} WHERE a = {{}}".format(kind)))
    await session.execute(text("SELECT a = {} AND b = {9}".format(*given())))
    await session.execute(text("SELECT a = {".format(name)))
    await session.execute(text("SELECT a = {0}".format()))
    await session.execute(text("SELECT a = %s" % int(name)))
    await session.execute(text("SELECT a = %(b)s" % {"a": name}))

def for_a_script(url: str):
    return create_async_engine(url)

@router.get("/c")
async def kept(url: str):
    global engine
    engine = create_async_engine(url)

@router.get("/d")
@cache
def once(url: str):
    return create_async_engine(url)

@router.get("/e")
async def checked(name: str, session: SessionDep):
    await session.execute(text(f"SELECT 1 FROM t WHERE id = {int(name)}"))
    await session.execute(text(f"SELECT 1 FROM t WHERE id = {count(int(name))}"))
    await session.execute(text(f"SELECT 1 FROM t WHERE id = {TODAY}"))
"""
)

COMMITS = (
    HEAD
    + """
class Out(BaseModel):
    id: int

@router.post("/a")
async def read_after(session: SessionDep):
    post = Post(title="x")
    session.add(post)
    await session.commit()
    return {"id": post.id}  # fault: read-after-commit

@router.post("/b", response_model=Out)
async def answered_with(key: int, session: SessionDep):
    post = await session.get(Post, key)
    post.title = "y"
    await session.commit()
    return post  # fault: read-after-commit

# From here on, all is well.
@router.post("/c", response_model=Out)
async def refreshed(key: int, session: SessionDep):
    post = await session.get(Post, key)
    await session.commit()
    await session.refresh(post)
    return post

@router.post("/d")
async def kept(key: int, session: SessionDep):
    post = await session.get(Post, key)
    title = post.title
    await session.commit()
    return {"title": title}

@router.post("/e", response_model=Out)
async def in_a_branch(key: int, session: SessionDep):
    post = await session.get(Post, key)
    if post.title:
        await session.commit()
        return {"id": key}
    return post

@router.post("/g")
async def by_its_own_factory():
    async with JobFactory() as session:
        post = Post(title="x")
        session.add(post)
        await session.commit()
        print(post.title)  # fault: read-after-commit

@router.post("/f")
async def never_stored(session: SessionDep):
    post = Post(title="x")
    await session.commit()
    return {"title": post.title}
"""
)

MODULES = {"loops": LOOPS, "lazy": LAZY, "rows": ROWS, "engines": ENGINES}
MAIN = """
from fastapi import FastAPI

from app import {modules}

app = FastAPI()
"""
SCRIPT = (
    HEAD
    + """
async def main(session: AsyncSession, keys: list[int]):
    for key in keys:
        await session.get(Post, key)
    print(len((await session.scalars(select(Post))).all()))
"""
)


def write(root: Path, *, expire: str = "", other: str = "", **modules: str) -> Path:
    """A project with `app/NAME.py` for each module, and a script and a test that do not count."""
    files = {
        "pyproject.toml": '[project]\nname = "x"\nversion = "1"\n',
        "app/__init__.py": "",
        "app/models.py": MODELS,
        "app/db.py": DATABASE.format(
            expire=f", expire_on_commit={expire}" if expire else "",
            expires=expire or "True",
            other=other or expire or "True",
        ),
        "app/main.py": MAIN.format(modules=", ".join(modules)),
        "scripts/repair.py": SCRIPT,
        "tests/test_posts.py": SCRIPT,
        "app/seed.py": SCRIPT,
        **{f"app/{name}.py": text for name, text in modules.items()},
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def marked(root: Path) -> set[tuple[str, str, int]]:
    return {
        (found[1], path.relative_to(root).as_posix(), number)
        for path in root.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (found := re.search(r"# fault: ([\w-]+)", line))
    }


def places(findings: list[QueryFinding]) -> set[tuple[str, str | None, int | None]]:
    return {(one.rule, one.file, one.line) for one in findings}


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[QueryFinding]]:
    root = write(tmp_path_factory.mktemp("code"), expire="False", **MODULES)
    return root, findings_of(read_project(root))


@pytest.mark.parametrize("module", [*MODULES, "db"])
def test_each_fault_and_nothing_else(
    application: tuple[Path, list[QueryFinding]], module: str
) -> None:
    root, findings = application
    file = f"app/{module}.py"
    expected = {one for one in marked(root) if one[1] == file}
    assert expected, "no fault is marked"
    assert {one for one in places(findings) if one[1] == file} == expected


def test_seed_50_only_the_application_is_read(application: tuple[Path, list[QueryFinding]]) -> None:
    _, findings = application
    assert {one.file for one in findings} == {f"app/{name}.py" for name in (*MODULES, "db")}


def test_a_finding_says_what_to_do(application: tuple[Path, list[QueryFinding]]) -> None:
    root, findings = application
    assert findings == sorted(findings, key=lambda one: (one.file, one.line, one.rule))
    for one in findings:
        assert one.layer is Layer.CODE
        assert one.confidence is Confidence.SUSPECTED
        assert one.fix is not None and one.fix.text
        assert one.file is not None and one.line is not None and one.function
        source = (root / one.file).read_text().splitlines()[one.line - 1]
        assert one.evidence[0] == source.strip()
    fixes = {(one.rule, one.function): one.fix.text for one in findings if one.fix}
    assert fixes["lazy-relationship", "one_read"] == (
        "await session.get(Post, key, options=[joinedload(Post.author)])"
    )
    assert fixes["lazy-in-response", "by_response"] == (
        "select(Post).options(selectinload(Post.comments))"
    )
    assert "User.id.in_(keys)" in fixes["statement-in-loop", "in_a_comprehension"]
    assert "populate_existing=True" in fixes["statement-in-loop", "refreshed"]
    assert "populate_existing" not in fixes["statement-in-loop", "by_a_statement"]
    assert "gin_trgm_ops" in fixes["leading-wildcard", "search"]
    assert one_of(findings, "Service.load").rule == "statement-in-loop"


def one_of(findings: list[QueryFinding], function: str) -> QueryFinding:
    (found,) = [one for one in findings if one.function == function]
    return found


def test_expired_objects(tmp_path: Path) -> None:
    root = write(tmp_path / "expires", commits=COMMITS)
    findings = findings_of(read_project(root))
    assert places(findings) == marked(root)
    assert {one.rule for one in findings} == {"read-after-commit", "engine-in-request"}
    kept = write(tmp_path / "keeps", expire="False", commits=COMMITS)
    assert {one.rule for one in findings_of(read_project(kept))} == {"engine-in-request"}
    own = write(tmp_path / "own", expire="False", other="True", commits=COMMITS)
    found = [one for one in findings_of(read_project(own)) if one.rule == "read-after-commit"]
    assert [one.function for one in found] == ["by_its_own_factory"]
    mixed = write(tmp_path / "mixed", expire="settings.expire", other="False", commits=COMMITS)
    assert {one.rule for one in findings_of(read_project(mixed))} == {"engine-in-request"}


def test_fix_names_the_projects_database(tmp_path: Path) -> None:
    for scheme, words in (("mysql+aiomysql", "FULLTEXT"), ("sqlite+aiosqlite", "FTS5")):
        root = write(tmp_path / scheme[:5], expire="False", rows=ROWS)
        (root / ".env").write_text(f"DATABASE_URL={scheme}://u:p@h/d\n")
        (found,) = [
            one
            for one in findings_of(read_project(root))
            if (one.rule, one.function) == ("leading-wildcard", "search")
        ]
        assert found.fix is not None
        assert words in found.fix.text


def test_broken_file_and_empty_project(tmp_path: Path) -> None:
    root = write(tmp_path, expire="False", rows=ROWS)
    (root / "app/broken.py").write_text("def (")
    assert places(findings_of(read_project(root))) == marked(root)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (bare / "requirements.txt").write_text("fastapi\n")
    assert findings_of(read_project(bare)) == []


def test_the_skills_own_templates_are_no_suspicion_until_somebody_changes_them(
    tmp_path: Path,
) -> None:
    """Else a project fresh from `--scaffold` begins with findings in what it was given (#16)."""
    templates = Path(__file__).resolve().parents[2] / "templates"
    package = tmp_path / "app" / "db"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for path in templates.glob("*.py"):
        if path.name not in ("env.py", "conftest.py"):
            (package / path.name).write_text(path.read_text())
    assert findings_of(read_project(tmp_path)) == []
    changed = package / "base_model.py"
    changed.write_text(changed.read_text() + "\n# ours now\n")
    assert {one.file for one in findings_of(read_project(tmp_path))} == {"app/db/base_model.py"}
