"""What the capture of optimize-queries.sh costs a test-suite.

    python tests/benchmarks/bench_capture.py

Makes a small FastAPI project with SQLite in a file, whose tests do little but send statements
through the ORM: the worst case for a watcher. Its suite runs twice side by side, with and
without the worker, each test in turns with its twin: so whatever else the machine does happens
to both. The ratio is the median of the twins' ratios of processor time; on the clock, tests that
wait have less.

Exit code 1 when it costs more than 10 percent.
"""

import os
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts")]

from toolkit.queries.capture import watch_command  # noqa: E402

LIMIT = 1.10
WARM_UP = 10
TESTS = 200
COMMAND = "python -m pytest -q -p no:cacheprovider -p no:xdist"

APP = """
import os

from fastapi import Depends, FastAPI
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.ext.asyncio import AsyncAttrs, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

engine = create_async_engine(f"sqlite+aiosqlite:///suite-{os.getpid()}.db")
Factory = async_sessionmaker(engine, expire_on_commit=False)


class Base(AsyncAttrs, DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    posts: Mapped[list["Post"]] = relationship(back_populates="author")


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str]
    author: Mapped[User] = relationship(back_populates="posts")


async def get_session():
    async with Factory() as session:
        yield session


app = FastAPI()


@app.get("/posts")
async def posts(session: AsyncSession = Depends(get_session)):
    query = select(Post).options(selectinload(Post.author)).order_by(Post.id).limit(20)
    found = (await session.scalars(query)).all()
    number = await session.scalar(select(func.count(Post.id)))
    return {"posts": [[one.title, one.author.name] for one in found], "number": number}


@app.get("/authors")
async def authors(session: AsyncSession = Depends(get_session)):
    found = (await session.scalars(select(Post).order_by(Post.id).limit(8))).all()
    return [(await one.awaitable_attrs.author).name for one in found]


@app.post("/posts/{author_id}")
async def add(author_id: int, session: AsyncSession = Depends(get_session)):
    author = await session.get(User, author_id)
    session.add(Post(author_id=author.id, title="new"))
    await session.commit()
    return {}
"""

SUITE = f"""
import httpx
import pytest
from app import Base, Factory, Post, User, app, engine

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def database(anyio_backend):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with Factory() as session:
        session.add_all([User(name=f"user {{number}}") for number in range(20)])
        await session.flush()
        session.add_all([Post(author_id=number % 20 + 1, title="t") for number in range(60)])
        await session.commit()
    yield
    await engine.dispose()


@pytest.mark.parametrize("number", range({TESTS}))
async def test_requests(number):
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://suite") as client:
        for path in ("/posts", "/authors", "/posts", "/authors"):
            assert (await client.get(path)).status_code == 200
        assert (await client.post(f"/posts/{{number % 20 + 1}}")).status_code == 200
"""


TURNS = """
import os
import socket
import sys
import time

import pytest

turns = socket.socket(socket.AF_UNIX)
turns.connect(os.environ["TURNS"])
stream = turns.makefile("rw")
stream.write("watched\\n" if "_query_capture" in sys.modules else "alone\\n")
stream.flush()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    stream.readline()
    began, used = time.perf_counter(), time.process_time()
    yield
    stream.write(f"{time.process_time() - used} {time.perf_counter() - began}\\n")
    stream.flush()
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        root = Path(folder).resolve()
        for name, text in (("app.py", APP), ("test_suite.py", SUITE), ("conftest.py", TURNS)):
            (root / name).write_text(text, encoding="utf-8")
        (root / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        listener.bind(str(root / "turns"))
        listener.listen()
        os.environ["TURNS"] = str(root / "turns")
        project: Any = SimpleNamespace(root=root, import_root=root)
        with ThreadPoolExecutor(2) as pool:
            watching = pool.submit(watch_command, project, COMMAND)
            pool.submit(run, root)
            times = in_turns(listener)
            capture = watching.result()
    requests = sum(unit.kind == "request" for unit in capture.units)
    statements = len(capture.statements) / TESTS
    print(f"{TESTS} tests of {statements:.0f} statements and {requests / TESTS:.0f} requests each")
    middle = {
        name: [median(column) for column in zip(*pairs[WARM_UP:], strict=True)]
        for name, pairs in times.items()
    }
    for name, (processor, wall) in sorted(middle.items()):
        print(f"  {name:8} {processor * 1000:7.2f} ms a test, {wall * 1000:7.2f} ms on the clock")
    twins = zip(times["watched"][WARM_UP:], times["alone"][WARM_UP:], strict=True)
    ratio = median(watched[0] / alone[0] for watched, alone in twins)
    each = (ratio - 1) * middle["alone"][0] / statements * 1e6
    print(f"  ratio    {ratio:7.3f}, {each:.0f} us a statement")
    return int(ratio > LIMIT)


def in_turns(listener: socket.socket) -> dict[str, list[tuple[float, ...]]]:
    """Seconds of processor and clock of each test of both suites; at any time, one test runs."""
    sides = [listener.accept()[0].makefile("rw") for _ in range(2)]
    names = [side.readline().strip() for side in sides]
    times: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    for _ in range(TESTS):
        for name, side in zip(names, sides, strict=True):
            side.write("go\n")
            side.flush()
            times[name].append(tuple(map(float, side.readline().split())))
    return times


def run(root: Path) -> None:
    """The suite without anything of ours."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    # In a session of its own as the other: the kernel shares processors among sessions.
    subprocess.run(
        COMMAND.split(),
        cwd=root,
        env=environment,
        check=True,
        capture_output=True,
        start_new_session=True,
    )


if __name__ == "__main__":
    sys.exit(main())
