"""The sum of all connections, and what Little's law says; references/capacity.md agrees."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.connection import command
from toolkit.connection.engine_settings import EngineSettings, read_engine
from toolkit.connection.expected import Expected, Room
from toolkit.connection.ladder import judge_room
from toolkit.connection.steps import Broken, Status, Step
from toolkit.project import read_project

pytestmark = pytest.mark.any_sqlalchemy

PAGE = Path(__file__).resolve().parents[2] / "references" / "capacity.md"
SETTINGS = EngineSettings(pool_size=5, max_overflow=5)
ROOM = Room(97, 0, "100 less 3 reserved")


def judged(room: Room = ROOM, *, pooler: bool = False, **expected: int) -> Step:
    try:
        return judge_room(Expected(SETTINGS, **expected), room, pooler=pooler)  # type: ignore[arg-type]
    except Broken as broken:
        return broken.step


def told(step: Step) -> str:
    return repr(step)


def test_all_factors_are_in_the_sum():
    step = judged(workers=4, hosts=10, services=2)
    assert step.status is Status.BROKEN
    assert "2 services x 10 hosts x 4 workers x (5 + 5) = 800" in told(step)
    assert "At most 1 a process fit" in told(step)
    step = judged(workers=4, hosts=100)
    assert "400 processes need PgBouncer in between" in told(step)
    assert "default_pool_size at most 97" in told(step)


@pytest.mark.parametrize(
    ("hosts", "status"), [(1, Status.OK), (2, Status.OK), (3, Status.BROKEN), (10, Status.BROKEN)]
)
def test_the_sum_is_held_against_the_limit(hosts: int, status: Status):
    assert judged(workers=4, hosts=hosts).status is status


def test_behind_a_pooler_the_sum_is_no_fault():
    assert judged(workers=4, hosts=100, pooler=True).status is Status.OK


def test_littles_law():
    step = judged(workers=4, rate=2000, hold=12)
    assert "24.0 connections in use on average (Little's law), 39 at the peaks" in told(step)
    assert step.status is Status.OK
    step = judged(workers=4, rate=2000, hold=20)
    assert step.status is Status.WARNING
    assert "59 connections are in use at the peaks, and all pools have 40" in told(step)
    assert "Little" not in told(judged(workers=4))


@pytest.mark.parametrize("alone", [["--rate", "5"], ["--hold", "5"]])
def test_rate_and_hold_belong_together(alone: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        command.main(alone)
    assert ended.value.code == 2
    assert "--rate and --hold belong together" in capsys.readouterr().err


def test_the_page_computes_the_same():
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (.+?) \|", PAGE.read_text(), re.M)
    assert [int(row[0]) for row in rows] == [1, 10, 100]
    for hosts, processes, opened, rolling, fits in rows:
        expected = Expected(SETTINGS, workers=4, hosts=int(hosts))
        assert expected.processes == int(processes)
        assert expected.wanted + expected.processes == int(opened)
        assert 2 * int(opened) == int(rolling)
        each = ROOM.limit // expected.processes
        assert fits == ("fits" if int(rolling) <= ROOM.limit else f"{each} a process")
    peak = replace(expected, rate=2000, hold=12).in_use
    assert peak == (24.0, 39)
    assert "2,000 a second of\n12 ms: 24." in PAGE.read_text()
    assert ", 39, the pools" in PAGE.read_text()


@pytest.mark.parametrize(("url", "line"), [("postgresql://h/x", 6), ("sqlite:///x.db", 4)])
def test_an_engine_of_another_database_says_nothing(tmp_path: Path, url: str, line: int) -> None:
    """`check_same_thread` would end in a TypeError of any other driver (#12)."""
    (tmp_path / "db.py").write_text(
        "import fastapi\nfrom sqlalchemy import create_engine\n\n"
        "mine = create_engine(url, connect_args={'check_same_thread': False})\n\n"
        "theirs = create_engine(url)\n"
    )
    settings = read_engine(read_project(tmp_path), url)
    assert settings.origin == f"db.py:{line}"
    assert bool(settings.connect_args) == (line == 4)
