"""Follows the ORM's sessions: who made them, their flushes and commits."""

import sys
from types import ModuleType
from typing import Any

from . import connections, places, records, units
from .foreign import Foreign


def listen(orm: ModuleType) -> None:
    """Watch all sessions."""
    from sqlalchemy import event  # noqa: PLC0415
    from sqlalchemy.orm import Session  # noqa: PLC0415

    event.listen(Session, "after_begin", records.guarded(_after_begin))
    event.listen(Session, "before_flush", records.guarded(_before_flush))
    event.listen(Session, "after_flush", records.guarded(_after_flush))
    event.listen(Session, "after_soft_rollback", records.guarded(_after_rollback))
    event.listen(Session, "after_commit", records.guarded(_after_commit))
    _remember_makers(Session)


def _remember_makers(session: type[Any]) -> None:
    make = session.__init__

    def made(self: Foreign, *arguments: Foreign, **named: Foreign) -> None:
        make(self, *arguments, **named)
        unit = units.request.get()
        if unit is not None:
            from_test = places.innermost_kind(sys._getframe(1)) == places.TEST
            self._query_capture_made = (unit, from_test)

    session.__init__ = made


def _after_begin(session: Foreign, _transaction: Foreign, connection: Foreign) -> None:
    state = connections.state_of(connection)
    state.in_session = True
    if state.checkouts and state.checkouts[-1].session is None:
        unit = state.checkouts[-1].unit
        if unit.kind == "request":
            # Without a mark, it was made by a fixture, a module, or a task of its own.
            made = getattr(session, "_query_capture_made", (None, False))
            state.checkouts[-1].session = made


def _before_flush(_session: Foreign, _context: Foreign, _instances: Foreign) -> None:
    unit = units.current()
    unit.flushes += 1
    unit.flush = unit.flushes


def _after_flush(_session: Foreign, _context: Foreign) -> None:
    units.current().flush = 0


def _after_rollback(_session: Foreign, _previous: Foreign) -> None:
    units.current().flush = 0


def _after_commit(session: Foreign) -> None:
    if not session.in_nested_transaction():
        connections.note_commit(units.current(), sys._getframe(3))
