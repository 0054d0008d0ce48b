"""Each script's door: what is asked wrongly is refused, what fails around it is one line (#11)."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from projects import warm
from projects.setup_door import SCRIPTS
from projects.shop import Shop
from toolkit.report.command_line import refused
from toolkit.report.endings import REMEDIES, broken_temporary_folder, ending_of, proof_code
from toolkit.report.exits import Exit

pytestmark = pytest.mark.any_sqlalchemy

PROGRAM = SCRIPTS / "run_toolkit.py"
SECRET = "s3cr3t-w0rd"
COMMANDS = ("setup", "migration", "connection", "queries")
DOORS = {
    "setup": "setup-alembic.sh",
    "migration": "generate-migration.sh",
    "connection": "test-connection.sh",
    "queries": "optimize-queries.sh",
}


def run(
    command: str, *arguments: str, cwd: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix, **variables}
    return warm.completed(str(PROGRAM), command, *arguments, cwd=cwd, environment=environment)


# A password on the command line

FORMS = (
    ("--url", f"postgresql://app:{SECRET}@h/d"),
    (f"--url=postgresql+asyncpg://app:{SECRET}@h/d",),
    ("--url", f"postgresql://:{SECRET}@h/d"),
    ("--url", f"postgresql://app:a/{SECRET}@h/d"),
    ("--url", f"postgresql://app:a?{SECRET}@h/d"),
    ("--url", f"postgresql://app:a#{SECRET}@h/d"),
    ("--url", f"postgresql://app:@{SECRET}@h/d"),
    ("--url", f"postgresql://h/d?user=app&password={SECRET}"),
    ("--url", f"postgresql://h/d?sslpassword={SECRET}"),
    ("--url", f"postgresql://h/d?sslmode=require&pass%77ord={SECRET}"),
    ("--url", f"mysql+aiomysql://h/d?passwd={SECRET}"),
    ("--url", f"mysql+aiomysql://h/d?password1={SECRET}"),
    ("--url", f"host=h user=app password={SECRET} dbname=d"),
    ("--url", f"host=h password = '{SECRET}'"),
    ("--url", f"app:{SECRET}@h/d"),
    ("--url-env", f"postgresql://app:{SECRET}@h/d"),
    ("--url-env", f"app:{SECRET}@h/d"),
    ("--url-env", f"host=h password={SECRET}"),
    ("--url-env", f"$DATABASE_{SECRET}"),
    ("--url-from", f"postgresql://app:{SECRET}@h/d"),
    ("--connect-arg", f"password={SECRET}"),
    ("--connect-arg", f"passwd={SECRET}"),
    (f"--connect-arg=PASSWORD={SECRET}",),
    ("--connect-arg", f"sslpassword={SECRET}"),
    ("--connect-arg", f"dsn=postgresql://app:{SECRET}@h/d"),
    ("--connect-arg", f"ssl={{'password': '{SECRET}'}}"),
    ("--scratch-url", f"postgresql://app:{SECRET}@h/"),
    (f"--scratch-url=mysql://h/?password={SECRET}",),
    ("--stats-url", f"postgresql://app:{SECRET}@h/d"),
    ("--project", f"postgresql://app:{SECRET}@h/d"),
    (f"postgresql://app:{SECRET}@h/d",),
    (f"like postgresql://app:{SECRET}@h/d",),
    ("--url", f"postgresql://app:with blanks {SECRET}@h/d"),
    (f"postgresql://app:with blanks {SECRET}@h/d",),
    (f"postgresql://h/d?password={SECRET}",),
    (f"postgresql://h/d?user=app;password={SECRET}",),
    (f"postgresql://h/d&password={SECRET}",),
    ("--run", "pytest", f"postgresql://app:{SECRET}@h/d"),
    ("--run", "--json=", f"postgresql://app:{SECRET}@h/d"),
)
INNOCENT = (
    ("--url", "postgresql://app@h:5432/d?sslmode=require"),
    ("--url", "sqlite+aiosqlite:////data/a:b@c.db"),
    ("--url", "postgresql://h/d?passfile=/etc/pgpass"),
    ("--url", "postgresql://h/d?password="),
    ("--url", "postgresql://h:5432/d?options=a@b"),
    ("--url-env", "DATABASE_URL"),
    ("--url-from", "app.config:settings.database_password"),
    ("--connect-arg", "password_encryption=scram-sha-256"),
    ("--connect-arg", "statement_cache_size=0"),
    ("add password and token columns; see https://example.com/a:b",),
    ("as http://localhost:8000/docs has it, for me@example.com",),
    ("--fill", "users.password=md5('x')"),
    ("--run", f"DATABASE_URL=postgresql://app:{SECRET}@h/d pytest"),
    ("--budget", "GET /login?password=3"),
)


@pytest.mark.parametrize("arguments", FORMS, ids=lambda form: " ".join(form)[:40])
def test_a_password_on_the_command_line_is_refused_in_every_form(
    arguments: tuple[str, ...],
) -> None:
    for name in DOORS.values():
        line = refused(name, [*arguments, "--json"])
        assert line is not None
        assert line.startswith(f"{name}: ")
        assert "\n" not in line
        assert SECRET not in line


@pytest.mark.parametrize("arguments", INNOCENT, ids=lambda form: " ".join(form)[:40])
def test_what_only_looks_like_one_is_not_refused(arguments: tuple[str, ...]) -> None:
    assert refused("optimize-queries.sh", arguments) is None


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_started_for_it(command: str, tmp_path: Path) -> None:
    """In a project whose import would leave a file."""
    shop = Shop(tmp_path / "shop")
    shop.write("app/main.py", f"open({str(tmp_path / 'started')!r}, 'w')\nimport fastapi\n")
    for option in ("--url-env", "--url-from", "--project"):
        ended = run(command, option, f"postgresql://app:{SECRET}@h/d", cwd=shop.root)
        assert ended.returncode == Exit.USAGE
        assert ended.stdout == ""
        assert ended.stderr.count("\n") == 1
        assert SECRET not in ended.stderr
    assert not (tmp_path / "started").exists()


# What is no bug


@pytest.mark.parametrize("command", COMMANDS)
def test_output_that_is_closed_or_full_is_one_line(command: str, tmp_path: Path) -> None:
    words = [sys.executable, str(PROGRAM), command, "--help"]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone, Path("/dev/full").open("wb") as full:
        for stream, code in ((gone, Exit.OUTPUT_CLOSED), (full, Exit.DISK_FULL)):
            ended = subprocess.run(
                words, stdout=stream, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path
            )
            assert (ended.returncode, ended.stderr.count("\n")) == (code, 1), ended.stderr
            assert ended.stderr.startswith(f"{DOORS[command]}: ")
    closed = ["bash", "-c", 'exec "$@" >&-', "bash", *words]
    ended = subprocess.run(closed, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (Exit.OUTPUT_CLOSED, 1), ended.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_temporary_folder_is_one_line(command: str, tmp_path: Path) -> None:
    missing = tmp_path / "not there"
    ended = run(command, "--json", cwd=tmp_path, TMPDIR=str(missing))
    assert (ended.returncode, ended.stderr.count("\n")) == (Exit.NO_TEMPORARY, 1), ended.stderr
    assert str(missing) in ended.stderr
    assert not missing.exists()


def raise_from(cause: Exception) -> None:
    raise RuntimeError("it did not work") from cause


def test_the_first_temporary_folder_that_is_named_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(tmp_path / "not there"))
    monkeypatch.setenv("TMPDIR", "")
    assert (ended := broken_temporary_folder()) is not None
    assert ended.message.startswith("TEMP is ")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert broken_temporary_folder() is None


def raised(action: Callable[[], object]) -> BaseException:
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def sqlalchemy_error(words: str) -> Exception:
    from sqlalchemy.exc import OperationalError

    return OperationalError("SELECT 1", {}, type("Error", (Exception,), {"__module__": "d"})(words))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionError(13, "Permission denied", "/srv/x"), Exit.NO_RIGHT),
        (OSError(30, "Read-only file system", "/srv/x"), Exit.READ_ONLY),
        (OSError(28, "No space left on device", "/srv/x"), Exit.DISK_FULL),
        (OSError(122, "Disk quota exceeded", "/srv/x"), Exit.DISK_FULL),
        (OSError(26, "Text file busy", "/srv/x"), Exit.BUSY),
        (OSError(16, "Device or resource busy", "/srv/x"), Exit.BUSY),
        (OSError(24, "Too many open files", "/srv/x"), Exit.TOO_MANY),
        (BlockingIOError(11, "Resource temporarily unavailable"), Exit.TOO_MANY),
        (FileNotFoundError(2, "No usable temporary directory found in ['/x']"), Exit.NO_TEMPORARY),
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"), Exit.NETWORK),
        (ConnectionResetError(104, "Connection reset by peer"), Exit.SERVER_GONE),
        (sqlalchemy_error("(2013, 'Lost connection to MySQL server')"), Exit.SERVER_GONE),
        (sqlalchemy_error("(2003, \"Can't connect to MySQL server on 'h'\")"), Exit.NETWORK),
        (sqlalchemy_error("server closed the connection unexpectedly"), Exit.SERVER_GONE),
        (sqlalchemy_error("connection was closed in the middle of operation"), Exit.SERVER_GONE),
        (sqlalchemy_error("the database system is starting up"), Exit.NETWORK),
        (sqlalchemy_error("database or disk is full"), Exit.DISK_FULL),
        (sqlalchemy_error("attempt to write a readonly database"), Exit.NO_RIGHT),
        (sqlalchemy_error("database is locked"), Exit.BUSY),
        (ExceptionGroup("tasks", [PermissionError(13, "Permission denied")]), Exit.NO_RIGHT),
    ],
    ids=lambda one: str(one)[:40],
)  # fmt: skip
def test_what_is_no_bug_has_a_line_and_a_code(error: Exception, code: Exit) -> None:
    ending = ending_of(error)
    assert ending is not None
    assert ending.code == code
    assert "\n" not in ending.message
    assert ending.message.endswith(f". {REMEDIES[code]}")
    assert ".. " not in ending.message
    wrapped = raised(lambda: raise_from(error))
    assert ending_of(wrapped) == ending


def test_a_proof_fails_by_what_is_proved_or_by_what_is_under_it() -> None:
    assert proof_code("OperationalError: server closed the connection") == Exit.SERVER_GONE
    assert proof_code("OSError: [Errno 28] No space left on device") == Exit.DISK_FULL
    assert proof_code("OperationalError: no such table: users") == Exit.PROOF_FAILED


def test_a_bug_stays_one() -> None:
    def bug() -> None:
        try:
            Path("/not/there").read_text()
        except OSError:
            raise TypeError("database is locked") from None

    assert ending_of(raised(bug)) is None
    assert ending_of(KeyError("Permission denied")) is None
    assert ending_of(FileNotFoundError(2, "No such file or directory", "/x")) is None


def refusing(path: str, number: int) -> str:
    """A module that has the operating system say no for one folder, as a mount or a quota does."""
    return f"""
import builtins, errno, io, os, pathlib
def no(function):
    def call(path, *rest, **named):
        flags = rest[0] if rest and isinstance(rest[0], int) else 0
        mode = str(rest[0] if rest else named.get("mode", "r"))
        writes = flags & (os.O_WRONLY | os.O_RDWR) or set("wxa+") & set(mode) or function in SURE
        inside = not isinstance(path, int) and str(path).startswith({path!r})
        if writes and inside:
            raise OSError({number}, os.strerror({number}), str(path))
        return function(path, *rest, **named)
    return call
SURE = (os.mkdir,)
real = io.open
builtins.open = io.open = no(real)
os.open, os.mkdir = no(os.open), no(os.mkdir)
"""


@pytest.mark.parametrize(
    ("number", "code"), [(13, Exit.NO_RIGHT), (28, Exit.DISK_FULL), (30, Exit.READ_ONLY)]
)
@pytest.mark.parametrize("command", ["setup", "migration"])
def test_a_project_that_cannot_be_written_is_no_internal_error(
    command: str, number: int, code: Exit, tmp_path: Path
) -> None:
    shop = Shop(tmp_path / "shop")
    before = shop.files()
    start = tmp_path / "start.py"
    start.write_text(
        refusing(str(shop.root), number)
        + "import runpy, sys\nsys.argv.pop(0)\n"
        + f"sys.argv.insert(0, {str(PROGRAM)!r})\n"
        + f"runpy.run_path({str(PROGRAM)!r}, run_name='__main__')\n"
    )
    arguments = {"setup": ["--force", "--no-prove"], "migration": ["first"]}[command]
    ended = warm.completed(
        *(str(start), command, *arguments),
        cwd=shop.root,
        environment=shop.environment("sqlite+aiosqlite:///dev.db"),
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "internal error" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"{DOORS[command]}: {os.strerror(number)}")
    assert shop.files() == before


# A server that is down


def nobody_there() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "mysql+aiomysql"])
def test_a_server_that_is_down_is_named_in_place_of_no_statement(
    scheme: str, tmp_path: Path
) -> None:
    shop = Shop(tmp_path / "shop")
    shop.write(
        "app/main.py",
        "from fastapi import FastAPI\nfrom sqlalchemy import text\n"
        "from sqlalchemy.ext.asyncio import create_async_engine\n\n"
        "from app.db import DATABASE_URL\n\napi = FastAPI()\n"
        "engine = create_async_engine(DATABASE_URL)\n\n\n"
        '@api.get("/one")\nasync def one() -> int:\n'
        "    async with engine.connect() as connection:\n"
        '        return (await connection.execute(text("SELECT 1"))).scalar_one()\n',
    )
    url = f"{scheme}://app:{SECRET}@127.0.0.1:{nobody_there()}/shop"
    ended = run("queries", "--app", "app.main:api", cwd=shop.root, DATABASE_URL=url)
    assert ended.returncode == Exit.NETWORK, ended.stderr
    assert "its database does not answer" in ended.stderr
    assert "not one statement" not in ended.stderr
    ended = run("queries", "--url-env", "DATABASE_URL", "--json", cwd=shop.root, DATABASE_URL=url)
    assert ended.returncode == Exit.NETWORK, ended.stderr
    catalog = next(one for one in json.loads(ended.stdout)["layers"] if one["layer"] == "catalog")
    assert not catalog["ran"]
    assert SECRET not in ended.stdout + ended.stderr


def test_a_secret_given_to_a_command_is_in_no_report(tmp_path: Path) -> None:
    """`--run VAR=secret`: in text, JSON and the page; and it is not run again from a report."""
    shop = Shop(tmp_path / "shop")
    shop.write(
        "one.py",
        "import os\nfrom sqlalchemy import create_engine, text\n"
        'with create_engine("sqlite://").connect() as c:\n    c.execute(text("SELECT 1"))\n'
        'print(os.environ["API_TOKEN"])\n',
    )
    words = ("--run", f"API_TOKEN={SECRET} python one.py", "--layers", "capture")
    ended = run("queries", *words, "--json", "--html", "r.html", cwd=shop.root)
    assert ended.returncode == Exit.OK, ended.stderr
    (shop.root / "r.json").write_text(ended.stdout)
    page = (shop.root / "r.html").read_text()
    for text in (ended.stdout, ended.stderr, page):
        assert SECRET not in text
    assert "API_TOKEN=***" in page
    again = run("queries", "--verify", "r.json", cwd=shop.root)
    assert again.returncode == Exit.USAGE
    assert "held a secret" in again.stderr


def test_a_password_in_a_source_line_is_in_no_excerpt_diff_or_baseline(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    literal = f'"postgresql+asyncpg://app:{SECRET}@db.internal/shop"'
    shop.edit("app/db.py", 'os.environ["DATABASE_URL"]', literal)
    shop.write(
        "app/main.py",
        "from fastapi import FastAPI\n"
        "from sqlalchemy.ext.asyncio import AsyncSession\n\n"
        "from app.models import User\n\napi = FastAPI()\n\n\n"
        '@api.get("/users")\nasync def users(session: AsyncSession, ids: list[int]):\n'
        f'    api_key = "{SECRET}"\n'
        "    for id in ids:\n"
        "        await session.get(User, id)\n"
        f'    return {{"password": "{SECRET}"}}\n',
    )
    made = ("--layers", "code", "--html", "r.html", "--write-baseline", "b.json")
    shown = []
    for form in ("--json", "--sarif"):
        ended = run("queries", *made, form, cwd=shop.root)
        shown += [ended.stdout, ended.stderr]
    assert '"lines"' in shown[0]
    assert "api_key = " in shown[0]
    page = (shop.root / "r.html").read_text()
    assert "api_key = " in page
    shown += [page, (shop.root / "b.json").read_text()]
    for form in ((), ("--json",)):
        ended = run("setup", "--dry-run", "--force", *form, cwd=shop.root)
        shown += [ended.stdout, ended.stderr]
    for text in shown:
        assert SECRET not in text


# What steers a terminal, and what a shell would run


def test_names_neither_steer_a_terminal_nor_run_in_a_shell(tmp_path: Path) -> None:
    root = tmp_path / "it's $(touch pwned) \x1b[31m\u202e"
    shop = Shop(root)
    ended = shop.generate("add users")
    assert ended.code == 0, ended.err
    said = ended.out + ended.err
    assert not {"\x1b", "\u202e", "\x07"} & set(said)
    line = next(one for one in ended.out.splitlines() if "upgrade head" in one)
    command = line.partition(". ")[2].replace("alembic upgrade head", 'pwd; echo "$PWD" >where')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if "cd " in command:
        subprocess.run(["bash", "-c", command], cwd=elsewhere, check=True, capture_output=True)
        assert (root / "where").exists()
    assert list(elsewhere.iterdir()) == []
