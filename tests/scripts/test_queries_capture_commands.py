"""The watcher of optimize-queries.sh around commands: suites, scripts, and what goes wrong."""

import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toolkit.queries.capture import findings_of, routes_of, watch_command, watch_requests
from toolkit.queries.capture.record import Capture
from toolkit.queries.capture.requests import Request, parse_requests, read_requests
from toolkit.queries.capture.shape import shape_of, table_of, text_of, verb_of
from toolkit.queries.errors import QueriesError
from toolkit.report.exits import Exit

FILES = {
    "Makefile": "test:\n\tpython -m pytest -q -n 2 -p no:cacheprovider\n",
    "pytest.ini": "[pytest]\nfilterwarnings =\n    error\n    ignore:Using `httpx`\n"
    "asyncio_default_fixture_loop_scope = function\n",
    # Names that the worker or this toolkit has, too.
    "sitecustomize.py": "import sys\n\nsys.own_sitecustomize = True\n",
    "toolkit/__init__.py": "WHOSE = 'the project'\n",
    "app/__init__.py": "",
    "app/main.py": '''
import os

import toolkit
from fastapi import Depends, FastAPI
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.ext.asyncio import AsyncAttrs, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

assert toolkit.WHOSE == "the project"
FILE = f"data-{os.environ.get('PYTEST_XDIST_WORKER', 'one')}.db"
engine = create_async_engine(f"sqlite+aiosqlite:///{FILE}")
Factory = async_sessionmaker(engine, expire_on_commit=False)


class Base(AsyncAttrs, DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    posts: Mapped[list["Post"]] = relationship()


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))


async def get_session():
    async with Factory() as session:
        yield session


app = FastAPI()


@app.get("/users/{number}")
async def user(number: int, session: AsyncSession = Depends(get_session)):
    found = await session.get(User, number)
    return found.name if found else None


@app.post("/users")
async def add(names: list[str], session: AsyncSession = Depends(get_session)):
    session.add_all([User(name=name) for name in names])
    await session.commit()
    return {}


@app.post("/committed")
async def committed(names: list[str], session: AsyncSession = Depends(get_session)):
    for name in names:
        session.add(User(name=name))
        await session.commit()  # finds: commit-in-loop
    return {}


async def make_user(session, name):
    """What tests call in their loops, and no request does."""
    session.add(User(name=name, posts=[Post()]))
    await session.flush()
    return await session.scalar(select(User.id).where(User.name == name))


async def posts_of_all(session):
    """A service without a route: its loop is its own."""
    users = (await session.scalars(select(User).order_by(User.id))).all()
    return [len(await user.awaitable_attrs.posts) for user in users]  # finds: n-plus-one


async def number_of_posts(session, user_id):
    return await session.scalar(select(func.count(Post.id)).where(Post.user_id == user_id))
''',
    "tests/conftest.py": '''
import sys

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.pool import NullPool

from app.main import Base, Factory, app, engine, get_session, make_user


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def tables(anyio_backend):
    assert sys.own_sitecustomize
    assert not [name for name in sys.path if "optimize-queries" in name]
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with Factory() as session:
        for number in range(8):
            await make_user(session, f"seed-{number}")
        await session.commit()
    yield
    await engine.dispose()


@pytest.fixture
async def session(anyio_backend):
    """One for the test and all its requests, rolled back: commits are savepoints."""
    async with engine.connect() as connection:
        transaction = await connection.begin()
        options = {"join_transaction_mode": "create_savepoint", "expire_on_commit": False}
        async with AsyncSession(connection, **options) as session:
            app.dependency_overrides[get_session] = lambda: session
            yield session
            app.dependency_overrides.clear()
        await transaction.rollback()


@pytest.fixture
def left_open():
    """A test's session that nobody closes in the request, and the test does later."""
    made = []

    def open_one():
        made.append(Factory())
        return made[-1]

    app.dependency_overrides[get_session] = open_one
    yield made
    app.dependency_overrides.clear()
''',
    "tests/test_app.py": '''
import httpx
import pytest
from sqlalchemy import select
from fastapi.testclient import TestClient

from app.main import Factory, User, app, make_user, number_of_posts, posts_of_all

pytestmark = pytest.mark.anyio


def client():
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app")


async def test_one_request_many_times():
    async with client() as http:
        for number in range(30):
            assert (await http.get(f"/users/{number}")).status_code == 200


@pytest.mark.parametrize("number", range(6))
async def test_many_tests_one_request(number):
    async with client() as http:
        assert (await http.get(f"/users/{number}")).status_code == 200


async def test_commits_inside_of_a_transaction(session):
    async with client() as http:
        names = [str(number) for number in range(9)]
        assert (await http.post("/committed", json=names)).status_code == 200
        assert (await http.post("/users", json=names)).status_code == 200


async def test_session_of_the_test(left_open):
    async with client() as http:
        assert (await http.get("/users/1")).status_code == 200
    for session in left_open:
        await session.close()


async def test_loops_of_a_test():
    async with Factory() as session:
        for number in range(9):
            await make_user(session, f"mine-{number}")
        for number in await session.scalars(select(User.id)):
            await number_of_posts(session, number)


async def test_a_service():
    async with Factory() as session:
        assert len(await posts_of_all(session)) >= 8


async def test_that_fails():
    async with Factory() as session:
        assert await session.get(User, 1) is None


def test_in_a_thread():
    """The application runs in another thread and loop than the test."""
    from app.main import engine

    with TestClient(app) as http:
        assert http.get("/users/2").status_code == 200
        http.portal.call(engine.dispose)
''',
}


@dataclass(frozen=True)
class Suite:
    root: Path
    capture: Capture
    said: list[str]


def project(root: Path) -> Any:
    return SimpleNamespace(root=root, import_root=root)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    root = tmp_path_factory.mktemp("suite with a space")
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        # As a project does that has a sitecustomize.
        patch.setenv("PYTHONPATH", str(root))
        capture = watch_command(project(root), "make test", timeout=600, say=said.append)
    yield Suite(root, capture, said)


@pytest.mark.any_sqlalchemy
def test_a_suite_is_seen_with_its_workers(suite: Suite) -> None:
    tests = [one for one in suite.capture.units if one.kind == "test"]
    assert len(tests) == 13, suite.capture.output_tail
    assert len({one.process for one in tests}) == 2
    requests = [one for one in suite.capture.units if one.kind == "request"]
    assert Counter(one.name for one in requests) == {
        "GET /users/{number}": 30 + 6 + 1 + 1,
        "POST /committed": 1,
        "POST /users": 1,
    }
    assert all(one.test and one.test.startswith("tests/test_app.py::") for one in requests)
    [in_thread] = [one for one in requests if "test_in_a_thread" in (one.test or "")]
    assert [one.rows for one in suite.capture.statements if one.unit == in_thread.number] == [1]


@pytest.mark.any_sqlalchemy
def test_a_failing_test_is_told_and_no_error(suite: Suite) -> None:
    assert suite.capture.exit_status != 0
    assert suite.capture.notes == ("1 of 13 tests failed; what they did until then counts",)
    [failed] = [one for one in suite.capture.units if one.kind == "test" and one.error]
    assert failed.name == "tests/test_app.py::test_that_fails"
    assert "1 failed" in suite.capture.output_tail
    assert any("statements" in one for one in suite.said)


@pytest.mark.any_sqlalchemy
def test_only_application_code_is_accused(suite: Suite) -> None:
    """Neither the loops of tests and fixtures, nor their sessions, nor many tests of one route."""
    lines = FILES["app/main.py"].splitlines()
    expected = {
        (found[1], "app/main.py", number)
        for number, line in enumerate(lines, 1)
        if (found := re.search(r"# finds: ([\w-]+)", line))
    }
    found = findings_of(suite.capture, suite.root)
    assert {(one.rule, one.file, one.line) for one in found} == expected
    units = {one.rule: one.unit for one in found}
    assert units["n-plus-one"] == "tests/test_app.py::test_a_service"


@pytest.mark.any_sqlalchemy
def test_routes_leave_out_what_tests_do(suite: Suite) -> None:
    routes = {one.name: one for one in routes_of(suite.capture)}
    assert routes["GET /users/{number}"].calls == 38
    assert routes["GET /users/{number}"].statements == 1
    assert routes["tests/test_app.py::test_a_service"].statements >= 9
    assert "tests/test_app.py::test_one_request_many_times" not in routes


@pytest.mark.any_sqlalchemy
def test_nothing_is_left_in_the_project(suite: Suite) -> None:
    left = {path.name for path in suite.root.iterdir()} - {name.split("/")[0] for name in FILES}
    assert left <= {"__pycache__", "data-gw0.db", "data-gw1.db", "data-one.db"}


# Other commands

SCRIPT = """
import os, subprocess, sys, time
from sqlalchemy import create_engine, text

engine = create_engine("sqlite://")
with engine.connect() as connection:
    connection.execute(text("SELECT 1")).all()
"""
HANGING = """
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open("child", "w").write(str(child.pid))
    open("hangs", "w").close()
    time.sleep(600)
"""
FORKING = """
if os.fork() == 0:
    with engine.connect() as connection:
        connection.execute(text("SELECT 2")).all()
    os._exit(0)
os.wait()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "run.py").write_text(SCRIPT, encoding="utf-8")
    return tmp_path


@pytest.fixture
def late(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as the file `hangs` is there, an hour has passed: no outcome by the clock (#10)."""
    hangs, now = script / "hangs", time.monotonic
    clock = SimpleNamespace(monotonic=lambda: now() + 3600 * hangs.exists())
    monkeypatch.setattr("toolkit.queries.capture.run.time", clock)


@pytest.mark.any_sqlalchemy
@pytest.mark.usefixtures("late")
def test_what_hangs_is_stopped_with_its_children(script: Path) -> None:
    with (script / "run.py").open("a") as stream:
        stream.write(HANGING)
    capture = watch_command(project(script), "python run.py", timeout=300)
    assert [one.sql for one in capture.statements] == ["SELECT 1"]
    assert not capture.units[0].ended
    assert capture.notes == ("stopped after 300 s; what was seen until then counts",)
    child = int((script / "child").read_text())
    until = time.monotonic() + 60
    while is_running(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_running(child)


@pytest.mark.any_sqlalchemy
@pytest.mark.usefixtures("late")
def test_a_test_that_hangs_leaves_what_it_has_sent(script: Path) -> None:
    (script / "test_it.py").write_text(
        "import time\n\n\ndef test_it():\n    import run\n\n"
        "    open('hangs', 'w').close()\n    time.sleep(600)\n"
    )
    capture = watch_command(project(script), "python -m pytest -q -p no:cacheprovider", timeout=300)
    [test] = capture.units
    assert (test.name, test.kind, test.ended) == ("test_it.py::test_it", "test", False)
    assert [one.sql for one in capture.statements] == ["SELECT 1"]


def is_running(pid: int) -> bool:
    """Neither gone nor waiting to be collected by a parent."""
    asked = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False)
    return asked.stdout.strip()[:1] not in (b"", b"Z")


def test_a_script_and_its_forks_are_seen(script: Path) -> None:
    """Without FastAPI, without pytest, with a synchronous driver."""
    with (script / "run.py").open("a") as stream:
        stream.write(FORKING)
    capture = watch_command(project(script), "MODE=x python run.py")
    assert capture.exit_status == 0
    assert sorted(one.sql for one in capture.statements) == ["SELECT 1", "SELECT 2"]
    assert len({one.process for one in capture.units}) == 2
    assert {one.rows for one in capture.statements} == {1}
    assert [one.frames[0].file for one in capture.statements] == ["run.py", "run.py"]
    assert findings_of(capture, script) == []


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("no-such-program -q", Exit.RUN_FAILED, "`no-such-program` is neither in"),
        ("python -c 'x", Exit.RUN_FAILED, "No closing quotation"),
        ("", Exit.RUN_FAILED, "there is no command"),
        ("pytest && echo", Exit.RUN_FAILED, "without a shell"),
        ("python -c 'pass'", Exit.NOTHING_SEEN, "not one statement"),
        ("python -I -c 'pass'", Exit.NOTHING_SEEN, "does not read PYTHONPATH"),
        ("python -c 'import no_such_module'", Exit.RUN_FAILED, "No module named 'no_such_module'"),
        (
            "python -c 'raise SystemExit(\"postgresql://me:hidden@db/x\")'",
            Exit.RUN_FAILED,
            "postgresql://me:***@db/x",
        ),
    ],
)
def test_what_cannot_be_watched_is_refused(
    tmp_path: Path, command: str, code: Exit, words: str
) -> None:
    with pytest.raises(QueriesError) as refused:
        watch_command(project(tmp_path), command)
    assert refused.value.problem.exit_code == code
    assert words in str(refused.value)
    assert "hidden" not in str(refused.value)
    assert refused.value.problem.remedy


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("raise RuntimeError('token sesame')", "RuntimeError: token ***"),
        ("other = 1", "main has no app"),
        ("app = 1", "main:app is no application"),
        (
            "async def app(scope, receive, send):\n"
            "    await receive()\n"
            "    await send({'type': 'lifespan.startup.failed'})",
            "start-up failed",
        ),
    ],
)
def test_an_application_that_does_not_start_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    monkeypatch.setenv("API_TOKEN", "sesame")
    (tmp_path / "main.py").write_text(source, encoding="utf-8")
    with pytest.raises(QueriesError) as refused:
        watch_requests(project(tmp_path), "main:app", [Request("GET", "/")])
    assert refused.value.problem.exit_code == Exit.RUN_FAILED
    assert words in str(refused.value)


RAW = """
from sqlalchemy import create_engine, text

engine = create_engine("sqlite://")


def make():
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            raise NotImplementedError
        message = await receive()
        headers = dict(scope["headers"])
        with engine.connect() as connection:
            seen = (scope["path"], headers.get(b"cookie"), message["body"], headers.get(b"x-key"))
            for one in seen:
                connection.execute(text("SELECT :one"), {"one": str(one)})
        cookie = (b"set-cookie", b"user=ada; Path=/")
        await send({"type": "http.response.start", "status": 201, "headers": [cookie]})
        await send({"type": "http.response.body", "body": b""})

    return app
"""


@pytest.mark.any_sqlalchemy
def test_any_application_gets_headers_bodies_and_cookies(tmp_path: Path) -> None:
    """Made by a function, without a lifespan, without Starlette."""
    (tmp_path / "main.py").write_text(RAW, encoding="utf-8")
    lines = ["X-Key: k1", 'POST /a%20b?c=1 {"d": "e"}', "X-Key:", "GET /users/12"]
    capture = watch_requests(project(tmp_path), "main:make", parse_requests(lines, "r"))
    assert [(one.name, one.status) for one in capture.units] == [
        ("POST /a b", 201),
        ("GET /users/{id}", 201),
    ]
    values = [one.parameters[0] for one in capture.statements]
    assert values[:4] == ["/a b", "None", 'b\'{"d": "e"}\'', "b'k1'"]
    assert values[4:] == ["/users/12", "b'user=ada'", "b''", "None"]


PLAIN = """
from fastapi import FastAPI
from sqlalchemy import create_engine, text

app = FastAPI()
engine = create_engine("sqlite://")


@app.get("/plain")
@app.get("/of/{number}")
@app.post("/plain")
def plain():
    with engine.connect() as connection:
        return connection.scalar(text("SELECT 1"))


@app.get("/needs")
def needs(value: int, other: int = 3):
    return value
"""


@pytest.mark.any_sqlalchemy
def test_without_requests_the_plain_gets_are_sent(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PLAIN, encoding="utf-8")
    said: list[str] = []
    capture = watch_requests(project(tmp_path), "main:app", None, say=said.append)
    assert said, "nothing was said"
    assert all(re.fullmatch(r"\d+ plain GET requests", one) for one in said), said  # not "0 of all"
    assert [one.name for one in capture.units] == ["GET /plain"]


@pytest.mark.any_sqlalchemy
def test_an_application_without_plain_gets_is_told_so(tmp_path: Path) -> None:
    """It starts, so its own start is not to blame (#12)."""
    source = PLAIN.replace('@app.get("/plain")\n', "")
    (tmp_path / "main.py").write_text(source, encoding="utf-8")
    with pytest.raises(QueriesError) as refused:
        watch_requests(project(tmp_path), "main:app", None)
    assert refused.value.problem.exit_code == Exit.NOTHING_SEEN
    assert "no route that a plain GET request would reach" in str(refused.value)
    assert "--requests" in str(refused.value)


# The file of requests


@pytest.mark.any_sqlalchemy
def test_requests_are_read(tmp_path: Path) -> None:
    file = tmp_path / "requests.txt"
    file.write_text(
        "# a comment\n\nAuthorization: Bearer x:y\nget /posts?limit=10\n"
        'POST /posts {"a": 1}\nContent-Type: text/plain\nPUT /posts/1 [1]\nAuthorization:\n'
        "DELETE /posts/1\n"
    )
    first, second, third, fourth = read_requests(file)
    bearer = ("Authorization", "Bearer x:y")
    assert first == Request("GET", "/posts?limit=10", (bearer,), "", 4)
    assert second.headers == (bearer, ("Content-Type", "application/json"))
    assert second.body == '{"a": 1}'
    assert third.headers == (bearer, ("Content-Type", "text/plain"))
    assert fourth.headers == (("Content-Type", "text/plain"),)


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("FETCH /x", "not a method"),
        ("GET x", "does not begin with /"),
        ("GET /sesame sesame", "not JSON"),
        ("GET /ü", "not ASCII"),
        ("sesame", "neither a request nor a header"),
        ("GET", "neither a request nor a header"),
    ],
)
def test_a_wrong_line_is_refused_by_its_number(line: str, words: str) -> None:
    with pytest.raises(QueriesError) as refused:
        parse_requests(["# one", "GET /two", line], "requests.txt")
    assert str(refused.value).startswith(f"requests.txt:3: {words}") or words in str(refused.value)
    assert "requests.txt:3" in str(refused.value)
    assert "sesame" not in str(refused.value)
    assert refused.value.problem.exit_code == Exit.USAGE


@pytest.mark.any_sqlalchemy
def test_a_file_without_requests_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nothing\n")
    for name, words in (("empty", "no request in it"), ("missing", "cannot be read")):
        with pytest.raises(QueriesError, match=words):
            read_requests(tmp_path / name)


# Statements without values


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("sql", "shape"),
    [
        ("SELECT a FROM t WHERE b = $1::INTEGER", "SELECT a FROM t WHERE b = ?"),
        ("SELECT a\nFROM t -- c\nWHERE b = %(b_1)s", "SELECT a FROM t WHERE b = ?"),
        ("SELECT a FROM t /* x=1 */ WHERE b = 'it''s' AND c = -1.5e3;", None),
        ("SELECT a FROM t WHERE b IN (?, ?, ?)", "SELECT a FROM t WHERE b IN (?, ...)"),
        ("SELECT a FROM t WHERE b IN ($1::UUID)", "SELECT a FROM t WHERE b IN (?, ...)"),
        ("SELECT a FROM t WHERE b IN (1, 2)", "SELECT a FROM t WHERE b IN (?, ...)"),
        ("INSERT INTO t (a, b) VALUES (?, ?), (?, ?)", "INSERT INTO t (a, b) VALUES (?, ?)"),
        ('SELECT "a 1" FROM t2 WHERE x1 = :x', 'SELECT "a 1" FROM t2 WHERE x1 = ?'),
        ("SELECT 'a'::text, b::date FROM t", "SELECT ?::text, b::date FROM t"),
        ("SELECT `it's` FROM `t`", "SELECT `it's` FROM `t`"),
        ("SELECT $$it's$$, E'a\\'b' FROM t", "SELECT ?, ? FROM t"),
    ],
)
def test_shapes(sql: str, shape: str | None) -> None:
    assert shape_of(sql) == (shape or "SELECT a FROM t WHERE b = ? AND c = ?")
    assert shape_of(shape_of(sql)) == shape_of(sql)


@pytest.mark.any_sqlalchemy
def test_texts_keep_what_was_written_into_them() -> None:
    assert text_of("SELECT a FROM t WHERE b = 'x'") == "SELECT a FROM t WHERE b = 'x'"
    assert text_of("SELECT a FROM t WHERE b IN (?, ?)") == text_of(
        "SELECT a FROM t WHERE b IN (?, ?, ?)"
    )
    assert table_of('SELECT a FROM "app"."t" WHERE b = ?') == "app.t"
    assert table_of("SELECT 1") is None
    assert verb_of("WITH a AS (SELECT 1) SELECT * FROM a") == "SELECT"
    assert verb_of("WITH a AS (SELECT 1) DELETE FROM t") == "DELETE"
