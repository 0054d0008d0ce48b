"""Notes loads that raise instead of loading, and SQLAlchemy's own warnings."""

import re
import sys
import types
from collections.abc import Iterable
from types import FrameType, ModuleType
from typing import Any

from . import connections, places, records, units
from .foreign import Foreign

_CARTESIAN = re.compile(r"cartesian product", re.IGNORECASE)
_COLLECTED = "The garbage collector is trying"


def listen(sqlalchemy: ModuleType) -> None:
    """Watch the error of a lazy load outside of a greenlet, and the warnings."""
    from sqlalchemy import exc, util  # noqa: PLC0415

    _note_when_made(exc.MissingGreenlet)
    _watch_warnings(util)


def listen_to_orm(orm: ModuleType) -> None:
    """Watch the error of a lazy load of an object whose session is gone."""
    from sqlalchemy.orm import exc  # noqa: PLC0415

    _note_when_made(exc.DetachedInstanceError)


def _note_when_made(error: type[Any]) -> None:
    make = error.__init__

    def made(self: Foreign, *arguments: Foreign, **named: Foreign) -> None:
        make(self, *arguments, **named)
        records.guarded(_note)(error.__name__, sys._getframe(1))

    error.__init__ = made


def _note(error: str, frame: FrameType) -> None:
    """Event `missing-greenlet`; data: `error` (MissingGreenlet or DetachedInstanceError),
    `attribute` (`Post.author`; None where no attribute was read), `relationship`, `to_many`,
    `expired` (its column was there before a commit), `base` (the base class whose select has
    left out this column of a subclass; else None).
    """
    attribute, relationship, to_many, expired, base = _what_was_read(frame)
    if attribute is None and error != "MissingGreenlet":
        return
    data = {
        "error": error,
        "attribute": attribute,
        "relationship": relationship,
        "to_many": to_many,
        "expired": expired,
        "base": base,
    }
    units.event("missing-greenlet", units.current(), places.look(frame)[0], data)


def are_of_a_subclass(state: Foreign, names: Iterable[str]) -> bool:
    """Are these columns a subclass's own, and absent since the object was loaded as its base?"""
    base = state.manager.mapper.base_mapper
    if state.expired or state.manager.mapper is base:
        return False
    return not any(base.has_property(name) for name in names)


def base_of(state: Foreign) -> type[Any]:
    """The class at the top of an object's class hierarchy."""
    base: type[Any] = state.manager.mapper.base_mapper.class_
    return base


def _what_was_read(
    start: FrameType,
) -> tuple[str | None, bool, bool | None, bool, str | None]:
    relationship, to_many, expired, base = False, None, False, None
    frame: FrameType | None = start
    while frame is not None:
        code = frame.f_code
        if "sqlalchemy" in code.co_filename:
            if code.co_name == "_load_for_state":
                prop: Foreign = getattr(frame.f_locals.get("self"), "parent_property", None)
                if hasattr(prop, "uselist"):
                    relationship, to_many = True, prop.uselist
            elif code.co_name == "_load_expired":
                state: Foreign = frame.f_locals.get("self")
                if are_of_a_subclass(state, frame.f_locals.get("toload", ())):
                    base = base_of(state).__name__
                else:
                    expired = True
            elif code.co_name == "__get__" and "key" not in frame.f_locals:
                attribute = frame.f_locals.get("self")
                owner, key = getattr(attribute, "class_", None), getattr(attribute, "key", None)
                if owner is not None and key is not None:
                    return f"{owner.__name__}.{key}", relationship, to_many, expired, base
        frame = frame.f_back
    return None, relationship, to_many, expired, base


def _watch_warnings(util: Foreign) -> None:
    """SQLAlchemy's warnings pass through here on their way.

    The function that passes them on says that it is SQLAlchemy's: from the names of the
    modules on the stack, SQLAlchemy finds the line that a warning is about.
    """
    warn, note, getframe = util.warn, records.guarded(_note_warning), sys._getframe

    def passing(message: Foreign, *arguments: Foreign, **named: Foreign) -> None:
        note(message, getframe(1))
        warn(message, *arguments, **named)

    variables = {"__name__": "sqlalchemy.util.warnings"}
    cells = passing.__closure__
    util.warn = types.FunctionType(passing.__code__, variables, "warn", None, cells)


def _note_warning(message: object, frame: FrameType) -> None:
    """Event `cartesian-product`; data: `message`, SQLAlchemy's words. Once for each form of
    a statement, when it is compiled.
    """
    text = str(message)
    if text.startswith(_COLLECTED):
        connections.note_collected(frame.f_locals.get("connection_record"))
    elif _CARTESIAN.search(text):
        units.event(
            "cartesian-product", units.current(), places.look(frame)[0], {"message": text[:2000]}
        )
