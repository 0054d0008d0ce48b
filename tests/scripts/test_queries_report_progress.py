"""The progress of optimize-queries.sh, on terminals and into pipes."""

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

import pytest

from toolkit.queries.report.progress import bar, cells

pytestmark = pytest.mark.any_sqlalchemy

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# It goes on when it is told to, so that no test waits for a fixed time.
PROGRAM = """
import sys, threading
from toolkit.queries.report.progress import Progress

with Progress() as progress:
    progress.step("reading the project")
    if sys.argv[1] == "unknown":
        progress.step("watching the tests\\x1b[2J")
    else:
        for number in (1, 4):
            progress.step(f"watching the tests\\x1b[2J, {number} of 10")
    sys.stdin.readline()
    threads = threading.active_count()
    if sys.argv[1] == "fails":
        raise SystemExit("it broke")
    progress.step("measuring")
print(f'{{"threads": {threads}}}')
"""


@dataclass(frozen=True)
class Seen:
    out: str
    raw: str
    """What the terminal got."""

    @property
    def screen(self) -> list[str]:
        """What is left to see of it."""
        lines = [""]
        for piece in re.findall(r"\r\n|\n|\r|\x1b\[K|[^\r\n\x1b]+|\x1b", self.raw):
            if piece in ("\n", "\r\n"):
                lines.append("")
            elif piece in ("\r", "\x1b[K"):
                lines[-1] = ""
            else:
                lines[-1] += piece
        return [line for line in lines if line]


def watch(kind: str, *, columns: int, until: str, term: str = "xterm") -> Seen:
    """Run the program on a terminal so wide; it is told to go on once `until` is there."""
    terminal, other = pty.openpty()
    ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "TERM": term}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=other,
        text=True,
        env=environment,
    )
    os.close(other)
    raw, told = "", False
    with process:
        assert process.stdin
        assert process.stdout
        while select.select([terminal], [], [], 30)[0]:
            try:
                raw += os.read(terminal, 4096).decode()
            except OSError:  # Linux says so when the last writer has closed it
                break
            if not told and re.search(until, raw):
                told = True
                process.stdin.write("\n")
                process.stdin.flush()
        # It waits for no word that will not come.
        process.stdin.close()
        out = process.stdout.read()
    os.close(terminal)
    assert told, raw
    return Seen(out, raw)


def drawn(seen: Seen) -> list[str]:
    # The next step's line comes after a clearing, too.
    return re.findall(r"\r\x1b\[K(?!\.\.\. )([^\r\n\x1b]+)", seen.raw)


def test_a_slow_run_has_a_bar_that_is_gone_afterwards() -> None:
    seen = watch("known", columns=100, until=r"4/10.*4/10")
    # One more may be drawn between the last step's beginning and the end.
    bars = [one for one in drawn(seen) if "measuring" not in one]
    assert len(bars) >= 2
    for one in bars:
        assert re.fullmatch(
            r"\[=========> {14}\]  4/10  \d+ s  watching the tests\\x1b\[2J, 4 of 10", one
        )
    assert seen.screen == [
        "... reading the project",
        "... watching the tests\\x1b[2J, 1 of 10",
        "... measuring",
    ]
    assert seen.out == '{"threads": 2}\n'


def test_a_bar_of_unknown_length_moves_in_a_narrow_terminal() -> None:
    seen = watch("unknown", columns=40, until=r"(\[ *=== *\].*){3}")
    assert len({one.partition("]")[0] for one in drawn(seen)}) >= 2
    assert max(map(len, drawn(seen))) < 40
    assert len(seen.screen) == 3


def test_an_error_leaves_no_bar() -> None:
    seen = watch("fails", columns=12, until=r"4/10")
    assert seen.screen[-1] == "it broke"
    assert len(seen.screen) == 3
    assert max(map(len, drawn(seen))) < 12


def test_a_quick_run_and_a_dumb_terminal_have_lines_only() -> None:
    quick = watch("known", columns=80, until="watching")
    assert "\r\x1b" not in quick.raw
    dumb = watch("known", columns=80, until="watching", term="dumb")
    assert dumb.screen == quick.screen
    assert dumb.out == '{"threads": 1}\n'
    assert len(quick.screen) == 3


def test_into_a_pipe_go_lines_and_nothing_to_stdout() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, "known"],
        input="\n",
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        check=True,
    )
    assert ended.stdout == '{"threads": 1}\n'
    assert ended.stderr == (
        "... reading the project\n... watching the tests\\x1b[2J, 1 of 10\n... measuring\n"
    )


def test_wide_characters_are_two_cells() -> None:
    assert [cells(one) for one in ("", "ab", "数据", "e\u0301")] == [0, 2, 4, 1]


@pytest.mark.parametrize("words", ["watching the tests", "数据库查询的测试正在运行中请稍候", ""])
@pytest.mark.parametrize("total", [None, 7, 128_000])
def test_the_bar_fits_into_every_width(words: str, total: int | None) -> None:
    for columns in range(1, 200):
        for done in (0, 3, 7, 200_000):
            for seconds in (0, 2.2, 4.2, 12_345.6):
                line = bar(words, done, total, seconds=seconds, columns=columns)
                assert cells(line) < columns or line == "", (columns, line)
    wide = bar(words, 3, total, seconds=5, columns=200)
    assert wide.endswith(words)
    assert len(wide.partition("]")[0]) == 25
