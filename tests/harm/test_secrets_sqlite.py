"""An SQLite file of the application is left as it is, with all that lies beside it (#11)."""

import contextlib
import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from projects import warm
from projects.setup_door import SCRIPTS
from projects.shop import Shop
from toolkit.connection import sqlite_file
from toolkit.database import sqlite_reading
from toolkit.queries.catalog import read_findings
from toolkit.report.exits import Exit
from toolkit.setup.target import _sqlite_tables

pytestmark = pytest.mark.any_sqlalchemy

STATES = ("at rest", "hot journal", "left-over WAL", "WAL in use", "empty WAL", "WAL without -shm")
KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.argv[2].split(";"):
    connection.execute(line)
print("ready", flush=True)
sys.stdin.read()
os._exit(9)  # nothing is closed, as after kill -9
"""
WRITING = "PRAGMA cache_size = 2;BEGIN;UPDATE notes SET body = hex(randomblob(900))"
ADDED = "PRAGMA wal_autocheckpoint = 0;CREATE TABLE added (id INTEGER PRIMARY KEY)"


@contextlib.contextmanager
def program(path: Path, statements: str) -> Iterator[None]:
    """Another program, which has the file open inside, and is killed afterwards."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), statements],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        process.communicate()


@contextlib.contextmanager
def file_in(path: Path, state: str) -> Iterator[None]:
    """A file with a table `notes`; with a WAL, also one whose table `added` is only there."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        if "WAL" in state:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)")
        connection.executemany("INSERT INTO notes (body) VALUES (?)", [("x" * 900,)] * 300)
        connection.commit()
    with contextlib.ExitStack() as held:
        if state == "WAL in use":
            held.enter_context(program(path, ADDED))
        elif state == "hot journal":
            with program(path, WRITING):
                pass
            assert sqlite_reading.state_of(path).hot
        elif state in {"left-over WAL", "WAL without -shm"}:
            with program(path, ADDED):
                pass
            if state == "WAL without -shm":
                sqlite_reading.beside(path, "-shm").unlink()
        yield


def fingerprint(path: Path) -> dict[str, tuple[str, int]]:
    """The file and all that is beside it: content and time."""
    return {
        one.name: (hashlib.sha256(one.read_bytes()).hexdigest(), one.stat().st_mtime_ns)
        for one in path.parent.glob(f"{path.name}*")
    }


def tables_in(path: Path) -> list[str]:
    return sorted(_sqlite_tables(path))


@pytest.mark.parametrize("state", STATES)
def test_a_reader_leaves_no_trace_and_sees_all(state: str, tmp_path: Path) -> None:
    path = tmp_path / "a file?#%.db"
    with file_in(path, state):
        before = fingerprint(path)
        expected = ["notes"] if state in {"at rest", "hot journal", "empty WAL"} else [
            "added", "notes",
        ]  # fmt: skip
        assert tables_in(path) == expected
        with sqlite_reading.readable(path) as uri:
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                bodies = connection.execute("SELECT DISTINCT body FROM notes").fetchall()
            assert bodies == [("x" * 900,)]
        read_findings(URL.create("sqlite+aiosqlite", database=str(path)))
        after = fingerprint(path)
        if state == "WAL in use":  # a reader's mark in shared memory, as any other reader's
            before.pop(f"{path.name}-shm")
            after.pop(f"{path.name}-shm")
        assert after == before
    if state == "hot journal":
        # The application's own next start puts it right.
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT DISTINCT body FROM notes").fetchall() == bodies


def test_a_reader_makes_no_file(tmp_path: Path) -> None:
    url = URL.create("sqlite+aiosqlite", database=str(tmp_path / "none.db"))
    with pytest.raises(FileNotFoundError):
        read_findings(url)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_needs_room_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, temporary = tmp_path / "x.db", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with file_in(path, "hot journal"):
        with sqlite_reading.readable(path):
            (folder,) = temporary.iterdir()
            assert folder.stat().st_mode & 0o777 == 0o700
        assert list(temporary.iterdir()) == []
        usage = type("Usage", (), {"free": 1000})
        monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
        with (
            pytest.raises(sqlite_reading.Unreadable, match="no room"),
            sqlite_reading.readable(path),
        ):
            pass


@pytest.mark.parametrize("state", ["hot journal", "left-over WAL"])
def test_four_scripts_leave_it_as_it_is(state: str, tmp_path: Path) -> None:
    """Through the doors, in a project whose own database it is."""
    shop = Shop(tmp_path / "project")
    path = shop.root / "shop.db"
    environment = {
        **os.environ,
        "VIRTUAL_ENV": sys.prefix,
        "DATABASE_URL": f"sqlite+aiosqlite:///{path}",
    }
    calls = {
        "setup-alembic.sh": ("--check-database", "--force"),
        "generate-migration.sh": ("first",),
        "test-connection.sh": ("--url-env", "DATABASE_URL"),
        "optimize-queries.sh": ("--url-env", "DATABASE_URL", "--layers", "code,catalog"),
    }
    with file_in(path, state):
        before = fingerprint(path)
        for door, arguments in calls.items():
            ended = warm.door(SCRIPTS / door, *arguments, cwd=shop.root, environment=environment)
            said = ended.stdout + ended.stderr
            assert ended.returncode in {Exit.OK, Exit.REVISION, Exit.FINDINGS}, said
            assert fingerprint(path) == before, (door, said)
            if door == "test-connection.sh" and state == "hot journal":
                assert "killed while it wrote" in " ".join(said.split())
                assert "damaged: it" not in said


def test_a_hot_journal_is_a_warning_and_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with file_in(path, "hot journal"):
        step = sqlite_file.file_step(sqlite_file.look_at(path, None))
    assert step.status == "warning"
    assert "not damaged" in step.message
    assert "x.db-journal" in step.message
