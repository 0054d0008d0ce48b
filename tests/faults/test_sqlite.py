"""SQLite, written by two processes, and by one that is killed."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from faults.sqlite_writer import METADATA, TOTAL
from projects import warm
from session_manager import DatabaseConfig, DatabaseSessionManager

pytestmark = pytest.mark.faults

TESTS = Path(__file__).parents[1]
PROGRAM = TESTS / "faults" / "sqlite_writer.py"
EACH = 4


async def make(path: Path) -> str:
    url = f"sqlite:///{path}"
    async with (
        DatabaseSessionManager(DatabaseConfig(url)) as manager,
        manager.engine.begin() as connection,
    ):
        await connection.run_sync(METADATA.create_all)
        await connection.execute(TOTAL.insert().values(rows=0))
    return url


@contextmanager
def process(*arguments: object) -> Iterator["subprocess.Popen[str]"]:
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent / "templates")])
    with subprocess.Popen(
        [warm.python(), str(PROGRAM), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        yield running
        running.kill()


def committed(path: Path) -> tuple[set[str], int]:
    """The rows, as the program names them, and the total; the file is sound."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = {
            f"{who} {number}"
            for who, number in connection.execute("SELECT writer, number FROM rows")
        }
        return rows, connection.execute("SELECT rows FROM total").fetchone()[0]


async def test_fifty_writers_and_readers_in_two_processes(tmp_path: Path) -> None:
    """None is lost, and none is told that the database is locked."""
    path = tmp_path / "a.db"
    url = await make(path)
    with process(url, "left", 15, 10, EACH) as left, process(url, "right", 15, 10, EACH) as right:
        told = [one.communicate(timeout=300) for one in (left, right)]
    assert [
        (one.returncode, error) for one, (_, error) in zip((left, right), told, strict=True)
    ] == [
        (0, ""),
        (0, ""),
    ]
    rows, total = committed(path)
    said = {line for out, _ in told for line in out.splitlines()}
    assert len(said) == 2 * 15 * EACH
    assert rows == said
    assert total == len(rows)


async def test_killed_in_the_middle_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    url = await make(path)
    said: set[str] = set()
    for round_ in range(3):
        with process(url, f"round{round_}-", 5, 2, 0) as running:
            assert running.stdout is not None
            for _ in range(20 + 13 * round_):
                said.add(running.stdout.readline().strip())
            running.kill()
            said.update(running.stdout.read().splitlines())
    rows, total = committed(path)
    assert said <= rows, "a commit that was acknowledged is not there"
    assert total == len(rows)
