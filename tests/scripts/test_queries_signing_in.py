"""Applications that want to know who asks, and suites that fail as a whole (#12)."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from projects.layouts import write
from toolkit.queries.capture.worker import replay
from toolkit.queries.command import main
from toolkit.report import door
from toolkit.report.exits import Exit

pytestmark = pytest.mark.any_sqlalchemy

FILES = {
    "requirements.txt": "fastapi\nsqlalchemy\n",
    "who.py": """
from fastapi import Header, HTTPException


def current_user(authorization: str = Header(default="")) -> str:
    if authorization != "Bearer sesame":
        raise HTTPException(401)
    return "ada"
""",
    "main.py": """
from fastapi import Depends, FastAPI
from sqlalchemy import create_engine, text

from who import current_user

app = FastAPI()
engine = create_engine("sqlite://")


@app.get("/open")
def for_all() -> int:
    with engine.connect() as connection:
        return connection.scalar(text("SELECT 1"))


@app.get("/mine")
def for_one(user: str = Depends(current_user)) -> str:
    with engine.connect() as connection:
        return connection.scalar(text("SELECT :user"), {"user": user})


@app.get("/broken")
def broken() -> int:
    raise LookupError("nothing there")
""",
    "signed_in.py": """
from who import current_user

dependency_overrides = {current_user: lambda: "ada"}
other = {current_user: lambda: "eve"}
""",
    "headers.txt": "# as the front end sends them\nAuthorization: Bearer sesame\n",
    "requests.txt": "GET /mine\nAuthorization: Bearer wrong\nGET /mine\n",
    "test_all.py": """
import pytest
from main import engine
from sqlalchemy import text


@pytest.fixture
def data():
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    raise RuntimeError("no such server")


@pytest.mark.parametrize("n", [1, 2])
def test_it(data, n):
    pass
""",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, FILES)
    monkeypatch.chdir(tmp_path)


def optimize(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with door.opened(arguments):
        code = main(arguments)
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def statuses(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    with door.opened(arguments):
        main([*arguments, "--json"])
    document = json.loads(capsys.readouterr().out)
    return {route["name"]: route["failed"] for route in document["routes"]}


def test_what_was_no_answer_stands_beside_its_route(capsys: pytest.CaptureFixture[str]) -> None:
    _, shown = optimize(capsys, "--app", "main:app")
    assert "GET /mine (1 x 401)" in shown
    assert "GET /broken (1 x 500)" in shown
    assert "GET /open\n" in shown
    assert "of 3 requests, 1 with 401, 1 with 500" in shown.replace("\n  ", " ")
    words = " ".join(shown.split())
    assert "--headers FILE with a line such as `Authorization: Bearer ...`" in words
    assert "--overrides MODULE" in words


@pytest.mark.parametrize(
    "sign_in",
    [
        ("--headers", "headers.txt"),
        ("--overrides", "signed_in"),
        ("--overrides", "signed_in:other"),
    ],
)
def test_signing_in_as_it_is_said(
    capsys: pytest.CaptureFixture[str], sign_in: tuple[str, str]
) -> None:
    assert statuses(capsys, "--app", "main:app", *sign_in)["GET /mine"] == {}


def test_a_requests_own_header_counts(capsys: pytest.CaptureFixture[str]) -> None:
    requests = ("--app", "main:app", "--requests", "requests.txt", "--headers", "headers.txt")
    assert statuses(capsys, *requests) == {"GET /mine": {"401": 1}}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--overrides", "signed_in"], Exit.USAGE, "for the application of --app"),
        (["--app", "main:app", "--headers", "who.py"], Exit.USAGE, "who.py:2: not a header"),
        (["--app", "main:app", "--overrides", "who"], Exit.RUN_FAILED, "who has no dictionary"),
    ],
)
def test_what_does_not_sign_in_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: Exit, words: str
) -> None:
    ended, shown = optimize(capsys, *arguments)
    assert ended == code
    assert words in shown


def test_refused_everywhere_is_said_where_nothing_was_seen(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write(tmp_path, {"only.txt": "GET /mine\n"})
    code, shown = optimize(capsys, "--app", "main:app", "--requests", "only.txt")
    assert code == Exit.NOTHING_SEEN
    assert "1 with 401" in shown
    assert "--headers FILE" in shown


def test_a_cookie_is_kept_until_it_is_taken_back() -> None:
    client = replay.Client(None, {})
    given = (b"Set-Cookie", b'a="x y"; Path=/'), (b"set-cookie", b"b=1; Max-Age=60")
    client.keep_cookies([*given, (b"Content-Type", b"d=3"), (b"set-cookie", b"c=2")])
    assert client.cookies == {"a": '"x y"', "b": "1", "c": "2"}
    client.keep_cookies([(b"set-cookie", b"b=gone; Max-Age=0"), (b"set-cookie", b"a=")])
    assert client.cookies == {"c": "2"}


def test_a_suite_that_fails_as_a_whole_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    """Its fixture sent statements, and no test ran: nothing can be said of the application."""
    pytest_command = f"{shlex.quote(sys.executable)} -m pytest -q -p no:cacheprovider -p no:xdist"
    code, shown = optimize(capsys, "--run", pytest_command, "--layers", "capture")
    assert code == Exit.RUN_FAILED
    assert "2 of 2 tests failed" in shown
