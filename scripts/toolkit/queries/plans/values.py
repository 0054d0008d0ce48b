"""Captured parameters back from JSON, and as literals of PostgreSQL."""

# ruff: noqa: ANN401  (parameters are of any type)

import base64
import datetime as dt
import math
import uuid
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any


class NotRestored(ValueError):
    """A parameter that JSON did not keep. Its text names the type, never the value."""


def timedelta_of(value: Any) -> dt.timedelta:
    return dt.timedelta(seconds=float(value))


def bytes_of(value: Any) -> bytes:
    return base64.b64decode(str(value), validate=True)


RESTORED: dict[str, Callable[[Any], Any]] = {
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "timedelta": timedelta_of,
    "uuid": lambda value: uuid.UUID(str(value)),
    "decimal": lambda value: Decimal(str(value)),
    "float": float,
    "bytes": bytes_of,
}


def restored(value: Any) -> Any:
    """The Python value of what the capture wrote: JSON, or `{"__type__": name, "value": text}`.

    Raises NotRestored.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [restored(item) for item in value]
    if isinstance(value, dict) and "__type__" in value:
        name = str(value["__type__"]).lower()
        inner = value.get("value")
        if name in ("enum", "list", "tuple", "set", "frozenset"):
            return restored(inner)
        if name in RESTORED:
            with suppress(ValueError, TypeError, InvalidOperation):
                return RESTORED[name](inner)
        raise NotRestored(name)
    raise NotRestored(type(value).__name__)


def literal(value: Any, *, typed: bool) -> str:
    """A PostgreSQL literal.

    Not `typed`: as asyncpg sends parameters, the server finds the type; else with the type
    that psycopg gives the value, which matters where no cast stands beside the placeholder.
    Needs standard_conforming_strings. Raises NotRestored.
    """
    if value is None:
        return "NULL"
    text = string(text_of(value))
    if not typed or isinstance(value, (str, list)):
        return text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, Decimal) and value.is_finite()):
        return f"({value})" if value < 0 else str(value)
    return f"{text}::{type_name(value)}"


def type_name(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return "timestamptz" if value.tzinfo else "timestamp"
    names: dict[type, str] = {
        dt.date: "date",
        dt.time: "time",
        dt.timedelta: "interval",
        uuid.UUID: "uuid",
        float: "float8",
        Decimal: "numeric",
        bytes: "bytea",
    }
    return names[type(value)]


def text_of(value: Any) -> str:
    """PostgreSQL's input text of a value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, dt.timedelta):
        return f"{value.total_seconds():.6f} seconds"
    if isinstance(value, list):
        return "{" + ",".join(element(item) for item in value) + "}"
    if isinstance(value, (str, int, float, Decimal, uuid.UUID, dt.date, dt.time)):
        return str(value)
    raise NotRestored(type(value).__name__)


def element(value: Any) -> str:
    """One element of an array's input text."""
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return text_of(value)
    text = text_of(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def string(text: str) -> str:
    if "\0" in text:
        raise NotRestored("str with NUL")
    return "'" + text.replace("'", "''") + "'"
