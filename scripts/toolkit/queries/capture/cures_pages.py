"""A page from where the last one ended, in the order that the statement has."""

import re
from dataclasses import dataclass

from toolkit.queries.capture.record import Statement
from toolkit.queries.capture.shape import clauses_of, items_of
from toolkit.queries.capture.subject import Subject, subject_of

_ITEM = re.compile(r"(?:(?P<table>\w+)\.)?(?P<name>\w+)(?: (?P<way>ASC|DESC))?", re.IGNORECASE)


@dataclass(frozen=True)
class Key:
    """A column of an order."""

    name: str
    descending: bool


def next_page(one: Statement, size: str) -> str:
    """The statement that continues after `last`, the last row of the page before."""
    clauses = clauses_of(one.shape)
    subject = subject_of(one)
    keys = keys_of(subject, clauses)
    if keys is None:
        return (
            f"# its order stays: {clauses.get('ORDER BY', 'a unique column, such as the key')}\n"
            "# compare what it orders by, a unique column last, with the last row of the page\n"
            f"query.where(...).limit({size})  # in place of the OFFSET"
        )
    order = ", ".join(
        subject.column(key.name) + (".desc()" if key.descending else "") for key in keys
    )
    kept = "# its other conditions stay as they are\n" if "WHERE" in clauses else ""
    unique = "" if len(keys) == 1 else "# the last column has to be unique, and none NULL\n"
    return (
        f"{kept}{unique}query = select({subject.name}).where({after(subject, keys)})\n"
        f"query = query.order_by({order}).limit({size})"
    )


def keys_of(subject: Subject, clauses: dict[str, str]) -> list[Key] | None:
    """The columns of the order with one that is unique; None where it has more than columns."""
    if {"GROUP BY", "UNION", "HAVING"} & set(clauses) or "DISTINCT" in clauses["SELECT"].upper():
        return None
    if "ORDER BY" not in clauses:
        return [Key("id", False)]
    keys: list[Key] = []
    for item in items_of(clauses["ORDER BY"]):
        found = _ITEM.fullmatch(item)
        is_label = found and not found["table"] and f" AS {found['name']}" in clauses["SELECT"]
        if found is None or is_label or found["table"] not in (None, subject.table):
            return None
        keys.append(Key(found["name"], (found["way"] or "").upper() == "DESC"))
    if all(key.name != "id" for key in keys):
        keys.append(Key("id", keys[-1].descending))
    return keys


def after(subject: Subject, keys: list[Key]) -> str:
    """The condition for the rows behind `last`. Databases compare rows in one direction only."""
    columns = [subject.column(key.name) for key in keys]
    if len(keys) == 1:
        return f"{columns[0]} {sign(keys[0])} last.{keys[0].name}"
    if len({key.descending for key in keys}) == 1:
        last = ", ".join(f"last.{key.name}" for key in keys)
        return f"tuple_({', '.join(columns)}) {sign(keys[0])} tuple_({last})"
    cases = []
    for number, key in enumerate(keys):
        equal = [
            f"{column} == last.{one.name}"
            for column, one in zip(columns[:number], keys, strict=False)
        ]
        parts = [*equal, f"{columns[number]} {sign(key)} last.{key.name}"]
        cases.append(f"and_({', '.join(parts)})" if equal else parts[0])
    return f"or_({', '.join(cases)})"


def sign(key: Key) -> str:
    return "<" if key.descending else ">"
