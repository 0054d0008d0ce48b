"""What a long run is doing, for the person who waits for it: on stderr, never on stdout."""

import contextlib
import os
import re
import sys
import threading
import time
import unicodedata
from types import TracebackType
from typing import Self, TextIO

from toolkit.queries.report.words import one_line

DELAY = 2.0
"""Seconds before the bar appears: what is faster needs none."""
INTERVAL = 0.2
QUIET = 30.0
"""Seconds between the lines of a step that goes on, where no bar shows it."""
BAR = 24
NUMBER = re.compile(r"\d[\d,]*")
PART = re.compile(r"\b(\d+) of (\d+)\b")


class Progress:
    """`with Progress() as progress: progress.step("reading the project")`.

    Each step is a line `... reading the project`. On a terminal, a run of more than two
    seconds also has a bar below these lines: what part is done, or else
    that it goes on, and the seconds. It is gone when the context ends, however it ends.

    The bar is drawn by a thread, because the steps wait for other processes. Without a
    terminal there is none.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = is_terminal(self._stream)
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._began = time.monotonic()
        self._said = self._began
        self._words = ""
        self._done = 0
        self._total: int | None = None
        self._drawn = False

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        if self._terminal:
            self._thread = threading.Thread(target=self._draw_until_the_end, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end.set()
        if self._thread:
            self._thread.join()
        with self._lock:
            self._clear()

    def step(self, words: str) -> None:
        """The next step begins; or, if only numbers in its words are others, it goes on.

        `3 of 20` in them is how much of it is done. What goes on is seen in the bar; where
        there is none, in a line now and then.
        """
        words = one_line(words)
        with self._lock:
            goes_on = NUMBER.sub("", words) == NUMBER.sub("", self._words)
            found = PART.search(words)
            self._words = words
            self._done, self._total = (int(found[1]), int(found[2])) if found else (0, None)
            if goes_on and (self._terminal or time.monotonic() - self._said < QUIET):
                return
            self._said = time.monotonic()
            self._clear()
            self._write(f"... {words}\n")

    def _draw_until_the_end(self) -> None:
        wait = DELAY
        while not self._end.wait(wait):
            wait = INTERVAL
            with self._lock:
                line = bar(
                    self._words,
                    self._done,
                    self._total,
                    seconds=time.monotonic() - self._began,
                    columns=columns_of(self._stream),
                )
                self._write(f"\r\x1b[K{line}")
                self._drawn = True

    def _clear(self) -> None:
        if self._drawn:
            self._write("\r\x1b[K")
            self._drawn = False

    def _write(self, text: str) -> None:
        # Somebody who closes the terminal or the pipe does not want the run to fail by it.
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()
            if self._terminal:
                # Not through the stream, whose lock a fork would copy while this holds it.
                encoding = self._stream.encoding or "utf-8"
                os.write(self._stream.fileno(), text.encode(encoding, "backslashreplace"))
            else:
                self._stream.write(text)
                self._stream.flush()


def is_terminal(stream: TextIO) -> bool:
    """Whether lines can be drawn over there."""
    with contextlib.suppress(OSError, ValueError):
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    return False


def columns_of(stream: TextIO) -> int:
    """The terminal's width now: it may be changed while the run goes on."""
    with contextlib.suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or 80
    return 80


def bar(words: str, done: int, total: int | None, *, seconds: float, columns: int) -> str:
    """One line that fits into `columns`; the last one stays free, or terminals wrap.

    `[=====>    ]  4/10  12 s  watching the tests`; what does not fit is left out, the
    words first.
    """
    room = columns - 1
    elapsed = f"{seconds:.0f} s"
    if total:
        done = min(done, total)
        filled = BAR * done // total
        drawn = "=" * filled + ">" * (filled < BAR)
        parts = [f"[{drawn:<{BAR}}]", f"{done}/{total}", elapsed]
    else:
        # Unknown: a piece of the bar that wanders, by the clock.
        at = int(seconds / INTERVAL) % (BAR - 2)
        parts = [f"[{'':<{at}}==={'':<{BAR - 3 - at}}]", elapsed]
    while parts[1:] and cells("  ".join(parts)) > room:
        parts.pop(0)
    line = "  ".join(parts)
    if room - len(line) > 8:
        line += "  " + fitting(words, room - len(line) - 2)
    return line[: max(room, 0)]


def fitting(words: str, room: int) -> str:
    """`words`, cut with `...` to `room` cells of a terminal."""
    if cells(words) <= room:
        return words
    while cells(words) > room - 3:
        words = words[:-1]
    return f"{words}..."


def cells(text: str) -> int:
    """How wide a terminal draws it."""
    return sum(
        0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF")
        for one in text
    )
