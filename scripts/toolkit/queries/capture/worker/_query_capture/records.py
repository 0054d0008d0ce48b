"""Writes what was seen, a JSON list a line, into a private file of this process.

Records are written some at a time, at the latest when their unit ends: a process that is
killed leaves what it has seen. Texts and places are written once and named by number afterwards.

    ["process", pid, arguments]
    ["unit", number, kind, name, test]
    ["end", unit, name, ms, status, error, frames of the endpoint]
    ["sql", number, text]
    ["frames", number, [[file, line, function], ...]]
    ["engine", number, dialect, driver, url]
    ["statement", ...]                  fields: see statements.py
    ["rows", statement, rows]           counted while they were fetched
    ["event", kind, unit, frames, data]
    ["trouble", text]                   an error of ours
"""

import atexit
import base64
import collections
import datetime
import decimal
import enum
import functools
import itertools
import json
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .foreign import Foreign

Result = TypeVar("Result")

LONGEST_TEXT = 20_000
"""Characters of a parameter: EXPLAIN needs no whole document."""
MOST_WAITING = 100
LONGEST_WAIT = 0.05
"""Seconds that a record waits at most for the next ones; a unit's end writes them all."""
MOST_TEXTS = 5_000
"""Statements that are remembered; code that writes literals into them makes any number."""


@dataclass(frozen=True)
class Settings:
    """What the starting process asks for."""

    root: str
    """The project's folder, without links."""
    records: str
    """The folder to write to."""

    @classmethod
    def read(cls, file: Path) -> "Settings":
        return cls(**json.loads(file.read_text(encoding="utf-8")))


class _Writer:
    """The file of this process. A forked child gets one of its own."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.texts: dict[str, int] = {}
        self.numbers = itertools.count(1)
        self.waiting: collections.deque[list[Any]] = collections.deque()
        self.since = 0.0
        self.descriptor = -1

    def open(self) -> None:
        name = f"{os.getpid()}-{uuid.uuid4().hex}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self.descriptor = os.open(os.path.join(self.folder, name), flags, 0o600)  # noqa: PTH118
        self.waiting.append(["process", os.getpid(), sys.argv[:4]])
        _when_ended(flush)

    def flush(self) -> None:
        lines = []
        while self.waiting:
            record = self.waiting.popleft()
            try:
                line = _encode(record)
                if len(line) > LONGEST_TEXT:
                    line = _encode(_plain(record))
            except (TypeError, ValueError):
                # A driver's own type as a key, or a structure that holds itself.
                line = _encode(_plain([*record[:-1], None]))
            lines.append(line)
        lines.append("")
        os.write(self.descriptor, "\n".join(lines).encode("ascii"))


def _when_ended(action: Callable[[], None]) -> None:
    """Call `action` at the end, also when someone asks the process to end by SIGTERM."""
    atexit.register(action)
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    def ended(number: int, _frame: object) -> None:
        action()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, ended)


_writer: _Writer | None = None
epoch = 0
"""Counts up in a forked child: what was numbered before belongs to the parent's file."""
_starting_over: list[Callable[[], None]] = []


def use(settings: Settings) -> None:
    """Write to the folder of these settings."""
    global _writer  # noqa: PLW0603
    _writer = _Writer(settings.records)
    os.register_at_fork(after_in_child=_start_over)


def when_forked(action: Callable[[], None]) -> None:
    """Call `action` in forked children, which inherit our state but not our file."""
    _starting_over.append(action)


def _start_over() -> None:
    global _writer, epoch  # noqa: PLW0603
    if _writer is not None:
        _writer = _Writer(_writer.folder)
        epoch += 1
        for action in _starting_over:
            action()


def number() -> int:
    """A new number, of whatever has to be told apart in this file."""
    return next(_writer.numbers) if _writer else 0


def _encoder() -> Callable[[list[Any]], str]:
    """JSONEncoder.encode without making the same encoder for each call."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return json.JSONEncoder(separators=(",", ":"), default=as_json).encode
    quote = json.encoder.encode_basestring_ascii
    parts = make(None, as_json, quote, None, ":", ",", False, False, True)
    return lambda record: "".join(parts(record, 0))


def write(record: list[Any]) -> None:
    """Add one record. Many are encoded together: that is twice as fast."""
    writer = _writer
    if writer is None:
        return
    now = time.perf_counter()
    waiting = writer.waiting
    if not waiting:
        writer.since = now
        if writer.descriptor < 0:
            writer.open()
    waiting.append(record)
    if len(waiting) >= MOST_WAITING or now - writer.since > LONGEST_WAIT:
        writer.flush()


def flush() -> None:
    """Write what waits."""
    if _writer is not None and _writer.waiting:
        _writer.flush()


def text_number(sql: str) -> int:
    """The number of a statement's text, which is written when it is new."""
    if _writer is None:
        return 0
    known = _writer.texts.get(sql)
    if known is None:
        if len(_writer.texts) >= MOST_TEXTS:
            _writer.texts.clear()
        known = _writer.texts[sql] = number()
        write(["sql", known, sql])
    return known


def as_json(value: object) -> object:
    """A parameter that JSON has no form for, with its type: the plans layer reads it back."""
    if isinstance(value, enum.Enum):
        return typed("enum", value.name)
    if isinstance(value, bytes | bytearray | memoryview):
        return typed("bytes", base64.b64encode(bytes(value)).decode("ascii"))
    for kind in (datetime.datetime, datetime.date, datetime.time):
        if isinstance(value, kind):
            return typed(kind.__name__, value.isoformat())
    if isinstance(value, datetime.timedelta):
        return typed("timedelta", value.total_seconds())
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return typed("decimal" if isinstance(value, decimal.Decimal) else "uuid", str(value))
    return typed(type(value).__name__, None)


_encode = _encoder()


def typed(kind: str, value: object) -> dict[str, object]:
    return {"__type__": kind, "value": value}


def _plain(record: list[Any]) -> list[Any]:
    """A record with long texts left out of its parameters, which are its last field."""
    return [*record[:-1], _shortened(record[-1])] if record[0] == "statement" else record


def _shortened(value: Foreign) -> Foreign:
    if type(value) is str:
        # Without an end, it is not the value that was given: nobody may take it for that.
        return value if len(value) <= LONGEST_TEXT else typed("long text", None)
    if isinstance(value, tuple | list):
        return [_shortened(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _shortened(one) for name, one in value.items()}
    return value


def guarded(function: Callable[..., Result]) -> Callable[..., Result | None]:
    """`function`, whose errors are written down and do not reach the application."""

    @functools.wraps(function)
    def call(*arguments: Foreign, **named: Foreign) -> Result | None:
        try:
            return function(*arguments, **named)
        except Exception as error:
            trouble(function, error)
            return None

    return call


def trouble(function: Callable[..., object], error: Exception) -> None:
    """Note an error of ours, without its message: that may hold a value."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    place = (
        f"{Path(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno}"
        if (traceback)
        else ""
    )
    try:
        write(["trouble", f"{function.__qualname__}: {type(error).__name__} at {place}"])
    except OSError:
        # The disk is full or the folder is gone: there is no way left to say so.
        return
