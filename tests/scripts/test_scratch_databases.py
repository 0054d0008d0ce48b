"""Scratch databases: made, reached, dropped, and swept after a run that was killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url

from servers.mysql import MySQLServer
from servers.postgres import PostgresServer
from toolkit.database import private_server, scratch
from toolkit.database.errors import DatabaseError
from toolkit.database.scratch import execute, open_scratch
from toolkit.database.urls import mask, secrets_of
from toolkit.report.exits import Exit

SCRIPTS = Path(__file__).parents[2] / "scripts"
LIST = scratch.LIST


@pytest.fixture(autouse=True)
def no_given_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(scratch.SCRATCH_VARIABLE, raising=False)


@pytest.fixture
def server_url(dialect: str, make_database: Callable[[str], str]) -> URL | None:
    return None if dialect == "sqlite" else make_url(make_database(dialect))


def scratches(server: URL) -> set[str]:
    names = {str(name) for (name,) in execute(server, LIST[server.get_backend_name()])}
    return {name for name in names if name.startswith(scratch.PREFIX)}


def files() -> set[Path]:
    return set(Path("/tmp").glob(f"{scratch.PREFIX}{os.getpid()}_*"))


def test_scratch_is_empty_writable_and_gone_afterwards(
    dialect: str, server_url: URL | None
) -> None:
    before = files()
    with open_scratch(dialect, server_url=server_url) as made:
        assert made.kind == dialect
        assert made.url.password is None or made.url.password not in str(made)
        execute(made.url, "CREATE TABLE t (x integer)")
        assert execute(made.url, "SELECT count(*) FROM t")[0][0] == 0
        if server_url is not None:
            assert made.url.database in scratches(server_url)
            assert made.url.host == server_url.host
        else:
            assert Path(str(made.url.database)).exists()
    if server_url is not None:
        assert made.url.database not in scratches(server_url)
    assert files() == before


def test_scratch_is_dropped_after_an_error(dialect: str, server_url: URL | None) -> None:
    with pytest.raises(KeyboardInterrupt), open_scratch(dialect, server_url=server_url) as made:
        raise KeyboardInterrupt
    if server_url is None:
        assert not Path(str(made.url.database)).parent.exists()
    else:
        assert made.url.database not in scratches(server_url)


@pytest.mark.dialects("postgresql", "mysql")
def test_dropped_although_a_connection_is_open(dialect: str, server_url: URL) -> None:
    with open_scratch(dialect, server_url=server_url) as made:
        held = hold_connection(made.url)
    try:
        assert made.url.database not in scratches(server_url)
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
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
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
from sqlalchemy.engine import make_url
from toolkit.database.scratch import open_scratch
server = sys.stdin.readline().strip()
with open_scratch(sys.argv[2], server_url=make_url(server) if server else None) as made:
    print(made.url.database, flush=True)
    time.sleep(60)
"""


def hold_scratch(kind: str, server: URL | None) -> "tuple[subprocess.Popen[str], str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(SCRIPTS), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    given = server.render_as_string(hide_password=False) if server else ""
    process.stdin.write(given + "\n")
    process.stdin.flush()
    return process, process.stdout.readline().strip()


@pytest.mark.any_sqlalchemy
def test_next_run_sweeps_what_a_killed_run_left(dialect: str, server_url: URL | None) -> None:
    process, database = hold_scratch(dialect, server_url)
    process.kill()
    process.communicate()

    def exists() -> bool:
        if server_url is None:
            return Path(database).parent.exists()
        return database in scratches(server_url)

    assert exists(), "a killed run cannot clean up itself"
    with open_scratch(dialect, server_url=server_url):
        assert not exists()


def test_a_living_run_is_not_swept(dialect: str, server_url: URL | None) -> None:
    process, database = hold_scratch(dialect, server_url)
    try:
        with open_scratch(dialect, server_url=server_url):
            if server_url is None:
                assert Path(database).parent.exists()
            else:
                assert database in scratches(server_url)
    finally:
        process.terminate()
        process.communicate()


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses the question, which it does only for a process that is there."""

    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert not scratch.is_left_over(f"{scratch.PREFIX}1_{scratch.machine()}12345678")


def test_the_sweep_leaves_other_machines_alone(postgres_server: PostgresServer) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    foreign = f"{scratch.PREFIX}{gone.pid}_{'0' * 6}12345678"
    ours = f"{scratch.PREFIX}{gone.pid}_{scratch.machine()}12345678"
    postgres_server.create_database(foreign)
    postgres_server.create_database(ours)
    try:
        with open_scratch("postgresql", server_url=make_url(postgres_server.url("postgres"))):
            left = scratches(make_url(postgres_server.url("postgres")))
        assert foreign in left
        assert ours not in left
    finally:
        postgres_server.drop_database(foreign)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
@pytest.mark.any_sqlalchemy
def test_private_server_ends_with_its_owner(kind: str, end: signal.Signals) -> None:
    try:
        private_server.find_programs(kind)
    except private_server.NoBinaries as error:
        pytest.skip(str(error))
    process, database = hold_scratch(kind, None)
    assert database.startswith(scratch.PREFIX)
    folders = list(Path("/tmp").glob(f"{scratch.PREFIX}{process.pid}_*"))
    assert folders
    process.send_signal(end)
    process.communicate()
    deadline = time.monotonic() + 15
    while any(one.exists() for one in folders) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(one.exists() for one in folders)
    assert str(folders[0]) not in command_lines()


def command_lines() -> str:
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(lines)


def test_role_without_createdb_gets_a_private_server(postgres_server: PostgresServer) -> None:
    postgres_server.execute("CREATE ROLE scratch_plain LOGIN PASSWORD 'pl@in:pw'")
    try:
        url = make_url(postgres_server.url("postgres")).set(
            username="scratch_plain", password="pl@in:pw"
        )
        with open_scratch("postgresql", server_url=url) as made:
            assert "private" in made.origin
            assert "permission denied" in " ".join(made.notes)
            assert "pl@in:pw" not in " ".join(made.notes)
            assert execute(made.url, "SELECT 1")[0][0] == 1
    finally:
        postgres_server.execute("DROP ROLE scratch_plain")


def test_no_server_and_no_programs_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(private_server, "POSTGRES_FOLDERS", ())
    unreachable = make_url("postgresql+asyncpg://me:p4ssw0rd@127.0.0.1:1/db")
    with (
        pytest.raises(DatabaseError) as caught,
        open_scratch("postgresql", server_url=unreachable),
    ):
        pass
    problem = caught.value.problem
    assert problem.exit_code == Exit.NO_SCRATCH
    assert scratch.SCRATCH_VARIABLE in problem.remedy
    assert "p4ssw0rd" not in str(caught.value)


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


def test_database_that_does_not_exist_yet_is_no_obstacle(postgres_server: PostgresServer) -> None:
    url = make_url(postgres_server.url("not_created_yet"))
    with open_scratch("postgresql", server_url=url) as made:
        assert made.url.host == url.host
        assert made.notes == ()


def test_mysql_server_version_is_kept(mysql_server: MySQLServer) -> None:
    url = make_url(mysql_server.url("mysql"))
    with open_scratch("mysql", server_url=url) as made:
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
        ("password 'own-word' and app/models.py", "password '***' and app/models.py"),
    ],
)
def test_mask(text: str, shown: str) -> None:
    assert mask(text, {"own-word", "app"}) == shown


def test_secrets_of_an_environment() -> None:
    found = secrets_of(
        {"DATABASE_URL": "postgresql://u:p%40ss@h/d", "DB_PASSWORD": "abc123", "HOME": "/root"}
    )
    assert found == {"p%40ss", "p@ss", "abc123"}
