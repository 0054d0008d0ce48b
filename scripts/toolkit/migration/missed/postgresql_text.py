"""Names, strings and sequence options as PostgreSQL writes them."""

import re
from typing import Any

from sqlalchemy.dialects import postgresql

from toolkit.database.catalog import Entry

PREPARER = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]
LARGEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}


def quote(name: str) -> str:
    return str(PREPARER.quote(name))


def qualified(entry: Entry) -> str:
    return ".".join(quote(entry[key]) for key in ("schema", "name") if entry[key])


def string(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def options(wanted: dict[str, Any], present: dict[str, Any] | None = None) -> str:
    """The options of a sequence that are not what it has anyway, or what is usual."""
    largest = LARGEST.get(str(wanted["type"]), LARGEST["bigint"])
    usual = {
        "type": "bigint",
        "start": 1,
        "increment": 1,
        "minimum": 1,
        "maximum": largest,
        "cache": 1,
        "cycle": False,
    }
    has = present or usual
    text = f" AS {wanted['type']}" if wanted["type"] != has["type"] else ""
    phrases = {
        "increment": "INCREMENT BY",
        "minimum": "MINVALUE",
        "maximum": "MAXVALUE",
        "start": "START WITH",
        "cache": "CACHE",
    }
    for key, phrase in phrases.items():
        if wanted[key] != has[key]:
            text += f" {phrase} {wanted[key]}"
    if wanted["cycle"] != has["cycle"]:
        text += " CYCLE" if wanted["cycle"] else " NO CYCLE"
    return text


def base_type(text: str) -> str:
    """The type without its length: a longer varchar needs no conversion."""
    return re.sub(r"\(.*?\)", "", text)
