"""optimize-queries on a SQLite file, in each state that one may lie in: nothing of it changes."""

import hashlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from projects import plans_capture as capture
from toolkit.database import sqlite_reading
from toolkit.database.sqlite_reading import Unreadable, readable
from toolkit.queries.catalog import read_findings
from toolkit.queries.plans import measure_statements

pytestmark = pytest.mark.any_sqlalchemy
ROWS = 20_000
KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size = 2")
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.execute("UPDATE posts SET title = title || ' and more'")
if sys.argv[2] == "wal":
    connection.commit()
os._exit(0)
"""
WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("INSERT INTO posts (author, title) VALUES (1, 'committed')")
connection.commit()
print("written", flush=True)
sys.stdin.read()
"""


def make(file: Path, mode: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE posts (id integer PRIMARY KEY, author int, title text)")
        rows = [(number % 500, f"title {number}" + "x" * 60) for number in range(ROWS)]
        connection.executemany("INSERT INTO posts (author, title) VALUES (?, ?)", rows)
        connection.commit()


def killed(file: Path, mode: str) -> None:
    """By a program that was killed while it wrote, or before it took its -wal over."""
    make(file, mode)
    subprocess.run([sys.executable, "-c", KILLED, str(file), mode], check=True)


def at_rest(file: Path, _stack: ExitStack) -> None:
    make(file, "wal")


def killed_with_wal(file: Path, _stack: ExitStack) -> None:
    killed(file, "wal")
    assert file.with_name("shop.db-shm").exists()


def copied_with_wal(file: Path, _stack: ExitStack) -> None:
    killed(file, "wal")
    file.with_name("shop.db-shm").unlink()


def hot_journal(file: Path, _stack: ExitStack) -> None:
    killed(file, "delete")
    assert file.with_name("shop.db-journal").stat().st_size


def in_use(file: Path, stack: ExitStack) -> None:
    make(file, "wal")
    # Of another process: within one, SQLite shares what it has opened.
    command = [sys.executable, "-c", WRITER, str(file)]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stack.enter_context(writer)
    assert writer.stdin and writer.stdout
    stack.callback(writer.stdin.close)
    assert writer.stdout.readline() == "written\n"


def linked(file: Path, _stack: ExitStack) -> None:
    real = file.with_name("real.db")
    killed(real, "wal")
    file.symlink_to(real)


STATES = (at_rest, killed_with_wal, copied_with_wal, hot_journal, in_use, linked)


@pytest.fixture(params=STATES, ids=lambda state: str(state.__name__))
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "production"
    folder.mkdir()
    with ExitStack() as stack:
        request.param(folder / "shop.db", stack)
        yield folder / "shop.db"


def look(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def read_catalog(file: Path) -> None:
    report = read_findings(make_url(f"sqlite+aiosqlite:///{file}"))
    assert report.database.startswith("SQLite")
    has_wal = file.read_bytes()[18] == 2
    assert ("setting-journal-mode" in {one.rule for one in report.findings}) is not has_wal


def try_plans(file: Path) -> None:
    found = [capture.statement("SELECT title FROM posts WHERE author = ?", 7)]
    report = measure_statements(make_url(f"sqlite+aiosqlite:///{file}"), found)
    assert report.skipped is None
    assert capture.indexes(report) == {"ix_posts_author": ("author",)}


@pytest.mark.parametrize("layer", [read_catalog, try_plans], ids=["catalog", "plans"])
def test_a_file_is_left_as_it_lies(file: Path, layer: Callable[[Path], None]) -> None:
    before = look(file.parent)
    layer(file)
    assert look(file.parent) == before


def test_what_was_committed_is_seen_and_nothing_else(
    file: Path, request: pytest.FixtureRequest
) -> None:
    """The copy has what a program would find that opens the file and repairs it."""
    before = look(file.parent)
    with (
        readable(file) as address,
        closing(sqlite3.connect(address, uri=True)) as connection,
    ):
        many, more = connection.execute(
            "SELECT count(*), sum(title LIKE '% and more') FROM posts"
        ).fetchone()
    assert look(file.parent) == before
    state = request.node.callspec.params["file"]
    assert many == ROWS + (state is in_use)
    assert more == (ROWS if state in (killed_with_wal, copied_with_wal, linked) else 0)


def test_several_statements_in_one_are_said(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    make(file, "delete")
    before = look(tmp_path)
    found = [capture.statement("SELECT id FROM posts WHERE id = ?; DELETE FROM posts", 1)]
    report = measure_statements(make_url(f"sqlite+aiosqlite:///{file}"), found)
    assert report.notes == ("app/crud.py:10: not measured: it is several statements",)
    assert look(tmp_path) == before


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    url = make_url(f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}")
    with pytest.raises(FileNotFoundError, match=r"shop\.db"):
        read_findings(url)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changes_all_the_time_is_not_read_in_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = tmp_path / "production"
    folder.mkdir()
    file = folder / "shop.db"
    copied_with_wal(file, ExitStack())

    marks = sqlite_reading.marks

    def marks_and_a_writer(of: Path) -> tuple[int, int, int]:
        found = marks(of)
        with file.open("ab") as opened:
            opened.write(b"\0")
        return found

    monkeypatch.setattr(sqlite_reading, "marks", marks_and_a_writer)
    with pytest.raises(Unreadable, match="being changed"), readable(file):
        pass
