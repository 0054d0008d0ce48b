"""Lines of Python that call Alembic's operations."""

import json
import re
from collections.abc import Iterable, Mapping

from toolkit.database.catalog import Entry

WIDTH = 92
"""A line's length without its indentation in the file."""

# What SQLAlchemy's text() takes for a parameter.
PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w+(?!:))")


def literal(value: object) -> str:
    """A value as Python source; strings in double quotes where that is shorter."""
    if isinstance(value, str) and ('"' not in value or "'" in value):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(one) for one in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{literal(key)}: {literal(one)}" for key, one in value.items())
        return "{" + ", ".join(pairs) + "}"
    return repr(value)


def sql(text: str) -> str:
    """SQL as a Python string that text() takes as it is."""
    return literal(PARAMETER.sub(r"\\:", text))


def expression(text: str) -> str:
    return f"sa.text({sql(text)})"


def call(
    function: str, arguments: Iterable[str], keywords: Mapping[str, str | None], on: str = "op"
) -> list[str]:
    """`on.function(...)`, on several lines if it is long. Keywords that are None are left out."""
    parts = [*arguments, *(f"{key}={text}" for key, text in keywords.items() if text is not None)]
    line = f"{on}.{function}({', '.join(parts)})"
    if len(line) <= WIDTH or len(parts) == 1:
        return [line]
    return [f"{on}.{function}(", *(f"    {part}," for part in parts), ")"]


def execute(statement: str) -> list[str]:
    return [f"op.execute({sql(statement)})"]


def name(text: str | None, on: str = "op") -> str:
    """A constraint's name, not to be put through a naming convention once more."""
    return "None" if text is None else f"{on}.f({literal(text)})"


def schema_of(entry: Entry, default: str | None) -> str | None:
    """The schema as an argument; None for the default one."""
    schema = entry.get("schema")
    return literal(schema) if schema and schema != default else None
