"""A captured statement taken apart at its placeholders, whichever driver wrote it."""

# ruff: noqa: ANN401  (parameters are of any type)

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.database.urls import Kind
from toolkit.queries.plans.values import NotRestored, literal, restored

# What may hold something that looks like a placeholder: skipped as a whole.
TEXT = r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | --[^\n]* | /\*.*?\*/
         | \$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$"""
NUMBERED = re.compile(rf"{TEXT} | \$(?P<number>\d+)", re.X | re.S)
PERCENT = re.compile(
    rf"(?P<skip>{TEXT}) | %\((?P<name>[^)]*)\)s | (?P<one>%s) | (?P<percent>%%)", re.X | re.S
)
MARK = re.compile(rf"{TEXT} | (?P<one>\?) | (?<![:\w]):(?P<name>[A-Za-z_]\w*)", re.X | re.S)
COMMENT = re.compile(r"^(?:\s+|--[^\n]*\n|/\*.*?\*/)+", re.S)


@dataclass(frozen=True, repr=False)
class Query:
    """A statement and the values of its placeholders; neither is ever printed."""

    parts: tuple[str, ...]
    """The text around the placeholders, one more than these."""
    slots: tuple[int, ...]
    """For each placeholder the position of its value."""
    values: tuple[Any, ...]
    missing: str = ""
    """The type of a parameter that was not kept: the statement can't be run."""
    typed: bool = False
    """The driver sends types with the values."""

    def joined(self, placeholder: Callable[[int], str]) -> str:
        """The text with `placeholder(slot)` in the places."""
        pieces = [self.parts[0]]
        for slot, part in zip(self.slots, self.parts[1:], strict=True):
            pieces += [placeholder(slot), part]
        return "".join(pieces)

    @property
    def readable(self) -> str:
        """With `:p0`, which the parser knows in every dialect."""
        return self.joined(lambda slot: f":p{slot}")

    @property
    def numbered(self) -> str:
        """With `$1`, for PREPARE."""
        return self.joined(lambda slot: f"${slot + 1}")

    @property
    def inlined(self) -> str:
        """With literals, for PostgreSQL: EXPLAIN then needs nothing of a driver. Raises
        NotRestored."""
        if self.missing:
            raise NotRestored(self.missing)
        return self.joined(lambda slot: literal(self.values[slot], typed=self.typed))

    @property
    def marked(self) -> tuple[str, tuple[Any, ...]]:
        """With `?` and its values, for SQLite."""
        self.need_values()
        return self.joined(lambda _: "?"), tuple(self.values[slot] for slot in self.slots)

    @property
    def formatted(self) -> tuple[str, tuple[Any, ...]]:
        """With `%s` and its values, for MySQL's drivers."""
        self.need_values()
        doubled = Query(tuple(part.replace("%", "%%") for part in self.parts), self.slots, ())
        return doubled.joined(lambda _: "%s"), tuple(self.values[slot] for slot in self.slots)

    def need_values(self) -> None:
        if self.missing:
            raise NotRestored(self.missing)


def take_apart(sql: str, parameters: Any, kind: Kind) -> Query:
    """Find the placeholders that SQLAlchemy wrote for its driver.

    asyncpg `$1`; psycopg, pymysql and aiomysql `%s` or `%(name)s`, with `%%` for a percent
    sign; sqlite3 `?` or `:name`.
    """
    sql = COMMENT.sub("", sql).strip().rstrip(";").rstrip()
    given = list(parameters.values() if isinstance(parameters, Mapping) else parameters or ())
    names = list(parameters) if isinstance(parameters, Mapping) else []
    pattern = MARK
    if kind == "mysql":
        pattern = PERCENT
    elif kind == "postgresql":
        numbered = any(match["number"] for match in NUMBERED.finditer(sql))
        pattern = NUMBERED if numbered and not names else PERCENT
    parts, slots, at = [""], [], 0
    for match in pattern.finditer(sql):
        groups = match.groupdict()
        parts[-1] += sql[at : match.start()]
        at = match.end()
        if groups.get("number"):
            slots.append(int(groups["number"]) - 1)
        elif groups.get("one"):
            slots.append(len(slots))
        elif groups.get("name") and groups["name"] in names:
            slots.append(names.index(groups["name"]))
        else:
            # Such a driver wants percent signs doubled in strings and comments as well.
            text = match.group()
            parts[-1] += text.replace("%%", "%") if pattern is PERCENT else text
            continue
        parts.append("")
    parts[-1] += sql[at:]
    values, missing = [], ""
    for value in given:
        try:
            values.append(restored(value))
        except NotRestored as error:
            values.append(None)
            missing = str(error)
    if any(slot >= len(values) for slot in slots):
        missing = missing or "not captured"
    return Query(tuple(parts), tuple(slots), tuple(values), missing, pattern is PERCENT)
