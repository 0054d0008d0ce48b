"""Scratch databases: made, reached, dropped, and swept after a run that was killed.

Where they are made is in `tests/harm/test_places_*.py`.
"""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url

from projects import warm
from servers.mysql import MySQLServer
from servers.postgres import PostgresServer
from toolkit.database import folders, private_server, scratch
from toolkit.database.errors import DatabaseError
from toolkit.database.folders import PREFIX
from toolkit.database.scratch import execute, open_scratch
from toolkit.report.exits import Exit
from toolkit.report.masking import MASKER, mask, secrets_of

SCRIPTS = Path(__file__).parents[2] / "scripts"
LIST = {
    "postgresql": "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles",
    "mysql": (
        "SELECT schema_name FROM information_schema.schemata UNION SELECT user FROM mysql.user"
    ),
}


@pytest.fixture(autouse=True)
def no_given_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(scratch.SCRATCH_VARIABLE, raising=False)


@pytest.fixture
def server_url(dialect: str, make_database: Callable[[str], str]) -> URL | None:
    """The server that SCRATCH_DATABASE_URL names; None for SQLite."""
    return None if dialect == "sqlite" else make_url(make_database(dialect))


def scratches(server: URL) -> set[str]:
    """Databases and roles."""
    names = {str(name) for (name,) in execute(server, LIST[server.get_backend_name()])}
    return {name for name in names if name.startswith(PREFIX)}


def folders_in(place: Path) -> set[Path]:
    return set(place.glob(f"{PREFIX}*"))


def test_scratch_is_empty_writable_and_gone_afterwards(
    dialect: str, server_url: URL | None
) -> None:
    with open_scratch(dialect, server_url=None) as made:
        assert made.kind == dialect
        assert made.url.password is None or made.url.password not in repr(made)
        execute(made.url, "CREATE TABLE t (x integer)")
        assert execute(made.url, "SELECT count(*) FROM t")[0][0] == 0
        with made.another() as url:
            assert url.database != made.url.database
            execute(url, "CREATE TABLE t (x integer)")
        if server_url is not None:
            assert made.url.database in scratches(server_url)
            assert made.url.host == server_url.host
            assert made.url.username != server_url.username
        else:
            assert Path(str(made.url.database)).exists()
    if server_url is not None:
        assert scratches(server_url) == set()
    else:
        assert not Path(str(made.url.database)).parent.exists()


def test_scratch_is_dropped_after_an_error(dialect: str, server_url: URL | None) -> None:
    with pytest.raises(KeyboardInterrupt), open_scratch(dialect, server_url=None) as made:
        raise KeyboardInterrupt
    if server_url is None:
        assert not Path(str(made.url.database)).parent.exists()
    else:
        assert scratches(server_url) == set()


@pytest.mark.dialects("postgresql", "mysql")
def test_dropped_although_a_connection_is_open(dialect: str, server_url: URL) -> None:
    with open_scratch(dialect, server_url=None) as made:
        held = hold_connection(made.url)
    try:
        assert scratches(server_url) == set()
    finally:
        held.kill()
        held.communicate()


def hold_connection(url: URL) -> "subprocess.Popen[str]":
    program = (
        "import asyncio, sys\n"
        "from sqlalchemy import text\n"
        "from sqlalchemy.ext.asyncio import create_async_engine\n"
        "async def main():\n"
        "    engine = create_async_engine(sys.stdin.readline().strip())\n"
        "    async with engine.connect() as c:\n"
        "        await c.execute(text('SELECT 1'))\n"
        "        print('held', flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen(
        [warm.python(), "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(url.render_as_string(hide_password=False) + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "held\n"
    return process


HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from toolkit.database.scratch import open_scratch
with open_scratch(sys.argv[2], server_url=None) as made, made.another():
    print(made.url.render_as_string(hide_password=False), flush=True)
    time.sleep(600)
"""


def hold_scratch(kind: str) -> "tuple[subprocess.Popen[str], URL]":
    process = subprocess.Popen(
        [warm.python(), "-c", HOLD, str(SCRIPTS), kind],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, make_url(process.stdout.readline().strip())


@pytest.mark.any_sqlalchemy
def test_next_run_sweeps_what_a_killed_run_left(dialect: str, server_url: URL | None) -> None:
    process, url = hold_scratch(dialect)
    process.kill()
    process.communicate()

    def left() -> bool:
        if server_url is None:
            return Path(str(url.database)).parent.exists()
        return bool({url.database, url.username} & scratches(server_url))

    assert left(), "a killed run cannot clean up itself"
    with open_scratch(dialect, server_url=None):
        assert not left()


def test_a_living_run_is_not_swept(dialect: str, server_url: URL | None) -> None:
    process, url = hold_scratch(dialect)
    try:
        with open_scratch(dialect, server_url=None):
            if server_url is None:
                assert Path(str(url.database)).parent.exists()
            else:
                assert {url.database, url.username} <= scratches(server_url)
                assert execute(url, "SELECT 1")[0][0] == 1
    finally:
        process.terminate()
        process.communicate()


def test_a_folder_without_our_lock_is_left_alone(tmp_path: Path) -> None:
    """Somebody else's, a link to elsewhere, one that is in use."""
    with folders.own_folder(tmp_path) as used:
        foreign = tmp_path / f"{PREFIX}0123456789abcdef"
        foreign.mkdir()
        link = tmp_path / f"{PREFIX}link"
        link.symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "lock").touch()
        folders.sweep(link)
        for one in (used, foreign):
            with pytest.raises(OSError):
                folders.sweep(one)
        assert folders_in(tmp_path) == {used, foreign, link}
        assert (tmp_path / "elsewhere" / "lock").exists()
    assert folders_in(tmp_path) == {foreign, link}


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("postgresql", signal.SIGKILL),
        ("postgresql", signal.SIGTERM),
        # The same keeper; to make its data takes four times as long.
        ("mysql", signal.SIGKILL),
    ],
)
@pytest.mark.any_sqlalchemy
def test_private_server_ends_with_its_owner(kind: str, end: signal.Signals) -> None:
    try:
        private_server.find_programs(kind)
    except private_server.NoBinaries as error:
        pytest.skip(str(error))
    process, url = hold_scratch(kind)
    folder = Path(str(url.query.get("host") or url.query.get("unix_socket")))
    while not folder.name.startswith(PREFIX):
        folder = folder.parent
    assert folder.exists()
    process.send_signal(end)
    process.communicate()
    deadline = time.monotonic() + 60
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()
    assert str(folder) not in command_lines()


def command_lines() -> str:
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(lines)


def test_the_variable_overrides_the_project(
    monkeypatch: pytest.MonkeyPatch, postgres_server: PostgresServer
) -> None:
    monkeypatch.setenv(scratch.SCRATCH_VARIABLE, postgres_server.url("postgres"))
    elsewhere = make_url("postgresql+asyncpg://u:p@127.0.0.1:1/db")
    with open_scratch("postgresql", server_url=elsewhere) as made:
        assert made.url.port == postgres_server.port


@pytest.mark.parametrize(
    "given", ["mysql+aiomysql://h/x", "not a url", "postgresql+asyncpg://u:pw9@127.0.0.1:1/x"]
)
def test_a_wrong_variable_is_an_error_not_a_detour(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv(scratch.SCRATCH_VARIABLE, given)
    with pytest.raises(DatabaseError) as caught, open_scratch("postgresql", server_url=None):
        pass
    assert caught.value.problem.exit_code == Exit.NO_SCRATCH
    assert "pw9" not in str(caught.value)


def test_database_that_does_not_exist_yet_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, postgres_server: PostgresServer
) -> None:
    monkeypatch.setenv(scratch.SCRATCH_VARIABLE, postgres_server.url("not_created_yet"))
    with open_scratch("postgresql", server_url=None) as made:
        assert made.url.port == postgres_server.port
        assert made.notes == ()


def test_mysql_database_has_the_character_set_of_all(
    mysql_server: MySQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in (mysql_server.url("mysql"), ""):
        monkeypatch.setenv(scratch.SCRATCH_VARIABLE, variable)
        with open_scratch("mysql", server_url=None) as made:
            assert execute(made.url, "SELECT @@character_set_database")[0][0] == "utf8mb4"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+asyncpg://u:p@ss/w:rd@host/db", "postgresql+asyncpg://u:***@host/db"),
        ("at 'mysql://u:secret@h:3306/x' failed", "at 'mysql://u:***@h:3306/x' failed"),
        ("input_value='postgres://u:secr...'", "input_value='postgres://u:***'"),
        ("http://localhost:8000/docs", "http://localhost:8000/docs"),
        ("(127.0.0.1:5432)", "(127.0.0.1:5432)"),
        ("?user=a&password=hunter2&x=1", "?user=a&password=***&x=1"),
        ("password 'own-word' and own-word/app.", "password '***' and ***/***."),
    ],
)
def test_mask(text: str, shown: str) -> None:
    MASKER.forget()  # what another test has taught it, such as a project's folders
    assert mask(text, {"own-word", "app"}) == shown


def test_secrets_of_an_environment() -> None:
    found = secrets_of(
        {"DATABASE_URL": "postgresql://u:p%40ss@h/d", "DB_PASSWORD": "abc123", "HOME": "/root"}
    )
    assert found == {"p%40ss", "p@ss", "abc123"}
