"""What statements belong to: the request that is served, the test that runs, or the process."""

import asyncio
import sys
import time
from contextvars import ContextVar
from types import FrameType
from typing import Any

from . import places, records


class Unit:
    """A request, a test, or (`other`) whatever else the process does."""

    __slots__ = (
        "activation", "answered", "began", "checkouts", "commit_from", "error", "flush",
        "flushes", "frame", "kind", "name", "number", "pending", "scope", "statements",
        "status", "sync_statements", "task", "test", "writes",
    )  # fmt: skip

    def __init__(self, kind: str, name: str, test: str | None = None) -> None:
        self.kind = kind
        self.name = name
        self.test = test
        self.number = records.number()
        self.began = time.perf_counter()
        self.answered: float | None = None
        self.status: int | None = None
        self.error: BaseException | None = None
        self.scope: Any = None
        """The innermost ASGI scope: the router writes the route into it."""
        self.statements = 0
        self.writes = 0
        self.commit_from = (0, 0)
        """Statements and writes before the last commit."""
        self.flush = 0
        """The flush that is under way; 0 for none."""
        self.flushes = 0
        self.checkouts: list[Any] = []
        """Connections that are out: see connections.py."""
        self.pending: dict[int, int] = {}
        """Rows counted so far, by statement, of results that are still being read."""
        self.sync_statements = [0, 0]
        """Of a synchronous driver in the event loop's thread: how many, frames of the first."""
        self.frame: FrameType | None = None
        self.activation = 0
        self.task = current_task()
        records.write(["unit", self.number, kind, name, test])

    def activation_of(self, outermost: FrameType | None) -> int:
        """Counts up when a test calls the application's code anew; 0 in a request.

        In a test, the loop may be the test's. The frame object is kept until the next one is
        seen: only so is its identity not given to the next call's.
        """
        if self.kind == "request" or outermost is None:
            return 0
        if outermost is not self.frame:
            self.frame = outermost
            self.activation += 1
        return self.activation

    def finish(self, name: str, ms: float, endpoint: int = 0) -> None:
        """Write the end. What still happens in this unit afterwards is written as it comes."""
        self.frame = None
        for statement, rows in self.pending.items():
            records.write(["rows", statement, rows])
        self.pending.clear()
        records.write(["end", self.number, name, ms, self.status, described(self.error), endpoint])
        if self.test is None:
            # Else its test's end does it, for all of its requests together.
            records.flush()


def described(error: BaseException | None) -> list[str] | None:
    """Type and first line; what reads it takes out the values."""
    if error is None:
        return None
    lines = str(error).splitlines() or [""]
    return [type(error).__name__, lines[0][:300]]


request: ContextVar[Unit | None] = ContextVar("request", default=None)
_process: dict[str, Unit | None] = {"test": None, "other": None}


def current() -> Unit:
    """The unit of whatever runs here and now."""
    unit = request.get()
    if unit is not None:
        return unit
    # Tests run one at a time, their fixtures in any task.
    unit = _process["test"] or _process["other"]
    if unit is None:
        unit = _process["other"] = Unit("other", " ".join(sys.argv[:3]) or "python")
    return unit


def current_test() -> Unit | None:
    return _process["test"]


def begin_test(name: str) -> Unit:
    unit = _process["test"] = Unit("test", name)
    return unit


def end_test(unit: Unit) -> None:
    _process["test"] = None
    unit.finish(unit.name, (time.perf_counter() - unit.began) * 1000)


def end_process() -> None:
    """At exit: the rest's end."""
    unit = _process["other"]
    if unit is not None:
        unit.finish(unit.name, (time.perf_counter() - unit.began) * 1000)


def forget() -> None:
    """In a forked child: the parent's units are the parent's."""
    _process["test"] = _process["other"] = None
    request.set(None)


def current_task() -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def event(kind: str, unit: Unit, frames: int, data: dict[str, Any]) -> None:
    """Write an event; record.py and statements.py say what there is."""
    records.write(["event", kind, unit.number, frames, data])


def here(depth: int = 1) -> int:
    """The number of the frames of who called our caller."""
    return places.look(sys._getframe(depth + 1))[0]
