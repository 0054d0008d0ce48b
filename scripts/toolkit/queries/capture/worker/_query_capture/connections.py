"""Follows each connection: its transactions, who has it, and what is awaited meanwhile."""

import asyncio
import contextvars
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

from . import places, records, units
from .foreign import Foreign

KEY = "_query_capture"
SLOW_MS = 100.0
"""Milliseconds of awaiting something else, in sum, from which on a held connection is noted."""
FIRST_LOOK, BETWEEN_LOOKS = 0.03, 0.015
"""Seconds from the check-out to the first look at the task that has it, and to the next ones."""
_NO_CONTEXT = contextvars.Context()


class State:
    """What is known of one connection to the database, in its pool record's `info`."""

    __slots__ = ("checkouts", "epoch", "in_session", "is_open", "number", "transaction")

    def __init__(self) -> None:
        self.epoch = records.epoch
        self.number = records.number()
        self.transaction = 0
        self.is_open = False
        """Is a transaction under way?"""
        self.in_session = False
        self.checkouts: list[Checkout] = []


class Checkout:
    """From the pool and back."""

    __slots__ = (
        "at", "frames", "in_transaction", "lines", "looked", "own", "seen", "session", "state",
        "task", "unit", "waited", "waiter", "watch",
    )  # fmt: skip

    def __init__(self, state: State, unit: units.Unit) -> None:
        self.state = state
        self.unit = unit
        self.task = units.current_task()
        self.at = time.perf_counter()
        self.frames = 0
        """Of its first statement."""
        self.own = False
        """Was the project's code among them?"""
        self.session: tuple[units.Unit | None, bool] | None = None
        """Of the session that has it: the unit that made it, and was that a test's code?"""
        self.watch: _Watch | None = None
        self.waiter: object = None
        """The future that the task awaited at the last look, when that was, and how many
        statements its unit had sent.
        """
        self.looked = 0.0
        self.seen = 0
        self.waited = 0.0
        self.in_transaction = False
        """Was a transaction under way while it awaited something else?"""
        self.lines: dict[int, float] = {}
        """Seconds by the frames that awaited something else."""


def listen() -> None:
    """Watch all pools."""
    from sqlalchemy import event  # noqa: PLC0415
    from sqlalchemy.pool import Pool  # noqa: PLC0415

    event.listen(Pool, "checkout", records.guarded(_check_out))
    event.listen(Pool, "checkin", records.guarded(_check_in))


def watch_transactions(dialect: Foreign) -> None:
    """Watch the beginnings and ends of an engine's transactions, by its dialect's methods."""
    for name, note in (("do_begin", _begin), ("do_commit", _commit), ("do_rollback", _roll_back)):
        setattr(dialect, name, _noting(getattr(dialect, name), records.guarded(note)))


def _noting(act: Callable[[Any], Any], note: Callable[[State], Any]) -> Callable[[Any], Any]:
    def acting(connection: Foreign) -> Foreign:
        result = act(connection)
        record = getattr(connection, "_connection_record", None)
        if record is not None:
            note(_state(record.info))
        return result

    return acting


def state_of(conn: Foreign) -> State:
    """Of a connection of SQLAlchemy's, which is asked for its record only once."""
    known = conn.__dict__.get(KEY)
    connection = conn._dbapi_connection
    if known is None or known[0] is not connection:
        known = conn.__dict__[KEY] = (connection, _state(conn.info))
    state: State = known[1]
    return state


def _state(info: dict[Any, Any]) -> State:
    state: State | None = info.get(KEY)
    if state is None or state.epoch != records.epoch:
        state = info[KEY] = State()
    return state


def _check_out(_dbapi_connection: Foreign, record: Foreign, _proxy: Foreign) -> None:
    state = _state(record.info)
    unit = units.current()
    checkout = Checkout(state, unit)
    state.checkouts.append(checkout)
    unit.checkouts.append(checkout)
    if unit.kind == "request":
        _watch(checkout)


def _check_in(_dbapi_connection: Foreign, record: Foreign) -> None:
    state = _state(record.info)
    state.in_session = state.is_open = False
    if not state.checkouts:
        return
    # A pool of one connection (SQLite in memory) hands it to several at a time.
    unit = units.current()
    mine = [one for one in state.checkouts if one.unit is unit]
    checkout = (mine or state.checkouts)[-1]
    state.checkouts.remove(checkout)
    if checkout.watch is not None:
        checkout.watch.checkouts.discard(checkout)
        checkout.watch = None
    if checkout in checkout.unit.checkouts:
        checkout.unit.checkouts.remove(checkout)
    if checkout.waited * 1000 > SLOW_MS:
        _note_held(checkout)


def _note_held(checkout: Checkout) -> None:
    """Event `held-connection`; data: `waited_ms` awaiting something else, `held_ms` in all,
    `in_transaction`; the frames are where it awaited longest.
    """
    frames = max(checkout.lines, key=lambda line: checkout.lines[line], default=0)
    data = {
        "waited_ms": round(checkout.waited * 1000, 1),
        "held_ms": round((time.perf_counter() - checkout.at) * 1000, 1),
        "in_transaction": checkout.in_transaction,
    }
    units.event("held-connection", checkout.unit, frames, data)


class _Watch:
    """Looks every few milliseconds what the tasks that have connections are waiting for.

    To look now and then costs next to nothing; to time each await would cost something at each.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = weakref.ref(loop)
        self.checkouts: set[Checkout] = set()
        self.is_running = False

    def add(self, checkout: Checkout) -> None:
        self.checkouts.add(checkout)
        if not self.is_running:
            self.is_running = True
            self.again()

    def again(self) -> None:
        loop = self.loop()
        if loop is not None and not loop.is_closed():
            # In no context: the request's would be kept alive.
            loop.call_later(BETWEEN_LOOKS, self.look, context=_NO_CONTEXT)

    def look(self) -> None:
        self.checkouts = {one for one in self.checkouts if one.task and not one.task.done()}
        if not self.checkouts:
            self.is_running = False
            return
        now = time.perf_counter()
        for checkout in self.checkouts:
            if now - checkout.at > FIRST_LOOK:
                records.guarded(_note_wait)(checkout, now)
        self.again()


_watches: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch]" = (
    weakref.WeakKeyDictionary()
)


def _watch(checkout: Checkout) -> None:
    """Begin to look, where an event loop runs the task."""
    loop = asyncio._get_running_loop()
    if loop is None or checkout.task is None:
        return
    watch = _watches.get(loop)
    if watch is None:
        watch = _watches[loop] = _Watch(loop)
    watch.add(checkout)
    checkout.watch = watch


def _note_wait(checkout: Checkout, now: float) -> None:
    """The same future as at the last look is one wait; a busy loop has another one each time."""
    waiter = getattr(checkout.task, "_fut_waiter", None)
    statements = checkout.unit.statements
    if waiter is not None and waiter is checkout.waiter and statements == checkout.seen:
        frames = places.awaited(checkout.task.get_coro()) if checkout.task else None
        if frames is not None:
            seconds = now - checkout.looked
            checkout.waited += seconds
            checkout.lines[frames] = checkout.lines.get(frames, 0.0) + seconds
            checkout.in_transaction |= checkout.state.is_open
    checkout.waiter, checkout.looked, checkout.seen = waiter, now, statements


def note_left_open(unit: units.Unit) -> None:
    """Event `left-open` for what the request that ends has not given back; data: `how`
    (`request-end` or `garbage`), `held_ms`, `in_transaction`; the frames are the check-out's.
    """
    for checkout in list(unit.checkouts):
        if _is_ours(checkout) and _is_over(checkout.task, unit):
            _write_left_open(checkout, "request-end")
            unit.checkouts.remove(checkout)


def note_collected(record: Foreign) -> None:
    """The garbage collector found a connection that nobody has given back."""
    state = record.info.get(KEY) if record is not None else None
    if state is not None and state.checkouts:
        checkout = state.checkouts[-1]
        known = checkout in checkout.unit.checkouts
        if known and checkout.unit.kind == "request" and _is_ours(checkout):
            _write_left_open(checkout, "garbage")
            checkout.unit.checkouts.remove(checkout)


def _write_left_open(checkout: Checkout, how: str) -> None:
    data = {
        "how": how,
        "held_ms": round((time.perf_counter() - checkout.at) * 1000, 1),
        "in_transaction": checkout.state.is_open,
    }
    units.event("left-open", checkout.unit, checkout.frames, data)


def _is_ours(checkout: Checkout) -> bool:
    """Was it the application's request that opened it? A test's session outlives requests."""
    if checkout.session is not None:
        made_by, from_test = checkout.session
        return made_by is checkout.unit and not from_test
    return checkout.own


def _is_over(task: "asyncio.Task[Any] | None", unit: units.Unit) -> bool:
    """Has whoever checked it out ended? A background task may still need it."""
    return task is None or task.done() or task in (unit.task, units.current_task())


def _begin(state: State) -> None:
    state.transaction = records.number()
    state.is_open = True


def _commit(state: State) -> None:
    state.is_open = False
    if not state.in_session:
        note_commit(units.current(), sys._getframe(3))


def note_commit(unit: units.Unit, frame: Foreign) -> None:
    """Event `commit`; data: `statements` and `writes` since the last one of this unit."""
    statements, writes = unit.commit_from
    if unit.statements == statements:
        return
    data = {"statements": unit.statements - statements, "writes": unit.writes - writes}
    unit.commit_from = (unit.statements, unit.writes)
    units.event("commit", unit, places.look(frame)[0], data)


def _roll_back(state: State) -> None:
    """Event `rollback`, without frames; data: `writes` that it undoes. Closing a session that
    has only read is none.
    """
    state.is_open = False
    unit = units.current()
    writes = unit.writes - unit.commit_from[1]
    if writes:
        unit.commit_from = (unit.statements, unit.writes)
        units.event("rollback", unit, 0, {"writes": writes})
