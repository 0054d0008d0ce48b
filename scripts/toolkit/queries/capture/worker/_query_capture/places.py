"""Finds the project's own lines on the stack, also across greenlets and tasks."""

import asyncio
import functools
import gc
import os
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from . import records
from .foreign import Foreign

MOST = 6
SKIP, OWN, TEST, STOP = range(4)

Line = tuple[str, int, str]

_root = ""
_kinds: dict[str, int] = {}
_known: dict[tuple[Line, ...], int] = {}

_LIBRARY = {
    "site-packages", "dist-packages", "node_modules", "__pypackages__",
    ".venv", "venv", ".tox", ".nox", ".eggs",
}  # fmt: skip
_TEST_FOLDER = {"test", "tests", "testing", "alembic", "migrations"}
"""Folders of code that prepares or checks; a migration is neither a request nor its fault."""
_TEST_FILE = re.compile(r"(test_.*|.*_tests?|conftest|tests?)\.py$")
_HERE = str(Path(__file__).resolve().parent)
# Above these, there is only what runs everything else.
_STOP = (
    f"{_HERE}{os.sep}asgi.py",
    # Called by these are endpoints and their dependencies; further out is only middleware.
    f"{os.sep}fastapi{os.sep}routing.py",
    f"{os.sep}starlette{os.sep}routing.py",
    f"{os.sep}asyncio{os.sep}events.py",
    f"{os.sep}asyncio{os.sep}runners.py",
    f"{os.sep}_pytest{os.sep}python.py",
    f"{os.sep}_pytest{os.sep}fixtures.py",
)
_DATABASE = re.compile(
    r"[\\/](sqlalchemy|asyncpg|psycopg|psycopg_pool|aiosqlite|aiomysql|asyncmy)[\\/]"
)


def use(root: str) -> None:
    """Lines below `root` are the project's."""
    global _root  # noqa: PLW0603
    _root = root.rstrip(os.sep) + os.sep
    records.when_forked(_known.clear)


def kind_of(filename: str) -> int:
    """SKIP (a library), OWN, TEST, or STOP: nothing of interest is further out."""
    kind = _kinds.get(filename)
    if kind is None:
        kind = _kinds[filename] = _classify(filename)
    return kind


def _classify(filename: str) -> int:
    if filename.endswith(_STOP):
        return STOP
    if filename.startswith("<"):
        return SKIP
    path = os.path.realpath(filename)
    if not path.startswith(_root) or path.startswith(_HERE):
        return SKIP
    if (
        sys.prefix != _root
        and path.startswith(os.path.realpath(sys.prefix) + os.sep)
        and (os.path.realpath(sys.prefix).startswith(_root))
    ):
        return SKIP
    *folders, name = Path(path[len(_root) :]).parts
    if _LIBRARY.intersection(folders):
        return SKIP
    if _TEST_FOLDER.intersection(folders) or _TEST_FILE.match(name):
        return TEST
    return OWN


@functools.cache
def _getcurrent() -> Foreign:
    """greenlet's function; SQLAlchemy has imported the module if anyone needs it."""
    module = sys.modules.get("greenlet")
    return module.getcurrent if module else None


def look(  # noqa: PLR0912  (it runs for each statement, so it calls nothing)
    frame: FrameType | None,
) -> tuple[int, FrameType | None]:
    """The number of the project's frames from `frame` outwards, and the outermost own frame."""
    own: list[Line] = []
    tests: list[Line] = []
    outermost: FrameType | None = None
    kinds = _kinds
    greenlet: Any = None
    while True:
        while frame is not None:
            filename = frame.f_code.co_filename
            kind = kinds.get(filename)
            if kind is None:
                kind = kind_of(filename)
            if kind:
                if kind == STOP:
                    break
                code = frame.f_code
                if kind == OWN:
                    outermost = frame
                    own.append((filename, frame.f_lineno, code.co_qualname))
                    if len(own) >= MOST:
                        break
                else:
                    tests.append((filename, frame.f_lineno, code.co_qualname))
            frame = frame.f_back
        else:
            # The end of a greenlet's stack; who waits for it has the application's lines.
            if greenlet is None:
                if "greenlet" not in sys.modules:
                    break
                greenlet = _getcurrent()()
            greenlet = greenlet.parent
            if greenlet is None:
                break
            frame = greenlet.gr_frame
            continue
        break
    if not own and not tests:
        own = _of_the_awaiting_task()
    return interned((*own, *tests)[:MOST]), outermost


def interned(lines: tuple[Line, ...]) -> int:
    """The number of these frames, which are written when they are new; 0 for none."""
    if not lines:
        return 0
    known = _known.get(lines)
    if known is None:
        known = _known[lines] = records.number()
        shown = [[os.path.realpath(f)[len(_root) :], line, name] for f, line, name in lines]
        records.write(["frames", known, shown])
    return known


def innermost_kind(frame: FrameType | None) -> int:
    """OWN or TEST by the innermost of the project's frames, SKIP where there is none."""
    greenlet: Any = None
    while True:
        while frame is not None:
            kind = kind_of(frame.f_code.co_filename)
            if kind in (OWN, TEST):
                return kind
            if kind == STOP:
                return SKIP
            frame = frame.f_back
        if "greenlet" not in sys.modules:
            return SKIP
        greenlet = (_getcurrent()() if greenlet is None else greenlet).parent
        if greenlet is None:
            return SKIP
        frame = greenlet.gr_frame


def chain(coroutine: Foreign) -> list[FrameType]:
    """The frames of a suspended coroutine and of what it awaits, outermost first."""
    frames: list[FrameType] = []
    for _ in range(200):
        frame = None
        following = None
        for names in (
            ("cr_frame", "cr_await"),
            ("ag_frame", "ag_await"),
            ("gi_frame", "gi_yieldfrom"),
        ):
            if hasattr(coroutine, names[0]):
                frame, following = getattr(coroutine, names[0]), getattr(coroutine, names[1])
                break
        else:
            # `async for` awaits an object that hides its generator.
            following = next(
                (
                    one
                    for one in gc.get_referents(coroutine)
                    if hasattr(one, "ag_frame") or hasattr(one, "cr_frame")
                ),
                None,
            )
        if frame is not None:
            frames.append(frame)
        if following is None:
            break
        coroutine = following
    return frames


def awaited(coroutine: Foreign) -> int | None:
    """Where a suspended coroutine waits: the number of its frames; None for the database."""
    frames = chain(coroutine)
    if any(_DATABASE.search(frame.f_code.co_filename) for frame in frames):
        return None
    return interned(tuple(_own_lines(frames)))


def _own_lines(frames: list[FrameType]) -> list[Line]:
    lines = [
        (frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)
        for frame in reversed(frames)
        if kind_of(frame.f_code.co_filename) == OWN
    ]
    return lines[:MOST]


def _of_the_awaiting_task() -> list[Line]:
    """The lines of the task that waits for this one, as under gather and wait_for.

    These run `session.execute(...)` in a task of its own, in which no line is the project's.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return []
    if task is None:
        return []
    waited_for = {id(one) for one in _futures_behind(task)}
    for other in asyncio.all_tasks():
        waiter = getattr(other, "_fut_waiter", None)
        if waiter is not None and (waiter is task or id(waiter) in waited_for):
            return _own_lines(chain(other.get_coro()))
    return []


def _futures_behind(task: "asyncio.Task[Any]") -> list[object]:
    """Futures that are resolved when `task` is done: what its callbacks refer to."""
    found: list[object] = []
    for callback, _context in getattr(task, "_callbacks", None) or ():
        inner = getattr(callback, "__closure__", None) or ()
        found += [cell.cell_contents for cell in inner if _is_set(cell)]
        found += list(getattr(callback, "args", ()))
        found.append(getattr(callback, "__self__", None))
    return [one for one in found if asyncio.isfuture(one)]


def _is_set(cell: Foreign) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
