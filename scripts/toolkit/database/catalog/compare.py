"""Differences of two catalogs of one kind of database."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .model import TABLE_PARTS, UNCOMPARED, Catalog, Entry

# A constraint or an index is what it says; its name may be the database's invention.
PAIRED = frozenset({"unique", "exclusion", "check", "index", "foreign_key"})

# The text that PostgreSQL shows for `a IN ('x', 'y')` changes when that text is itself used
# to make a constraint: casts between text types move, and the brackets around them.
TEXT_CAST = re.compile(r"::(?:character varying|text|bpchar)(?:\(\d+\))?(?:\[\])?")
BRACKETS = re.compile(r"""(?<![\w"])\(('(?:[^']|'')*'|[\w.]+|"[^"]+"|ARRAY\[[^\[\]()]*\])\)""")


@dataclass(frozen=True)
class Difference:
    """One object, or one attribute of an object that both catalogs have."""

    kind: str
    name: str
    """The qualified name; where the two sides have different ones, the name after."""
    attribute: str | None
    """None: the object is on one side only."""
    before: Any
    after: Any


def differences(
    before: Catalog, after: Catalog, *, names: bool = True, order: bool = False
) -> list[Difference]:
    """What is not the same, by kind and name; empty for equal schemas.

    `names`: whether a constraint or index that differs in nothing but its name counts; names
    that the database made up never do. `order`: whether the order of columns counts. Of a
    table that is on one side only, its parts are not listed.
    """
    found: list[Difference] = []
    for kind in sorted({*before, *after} - {"database"}):
        old = outside_of(before.get(kind, {}), kind, only_tables(before, after))
        new = outside_of(after.get(kind, {}), kind, only_tables(after, before))
        if kind in PAIRED:
            drop_pairs(old, new, made_up=True)
        found += [one for name in sorted({*old} & {*new}) for one in changed(kind, name, old, new)]
        gone = {name: entry for name, entry in old.items() if name not in new}
        come = {name: entry for name, entry in new.items() if name not in old}
        if kind in PAIRED:
            drop_pairs(gone, come, made_up=names)
        found += [Difference(kind, name, None, entry, None) for name, entry in sorted(gone.items())]
        found += [Difference(kind, name, None, None, entry) for name, entry in sorted(come.items())]
    return [*found, *(moved_columns(before, after) if order else ())]


def round_trip(before: Catalog, between: Catalog, after: Catalog) -> list[Difference]:
    """What an upgrade and its downgrade leave behind. `between` is the upgraded schema.

    MySQL makes an index for a foreign key and keeps it when that is dropped: not counted. Nor
    is a constraint that was validated: nobody doubts it again.
    """
    made = {
        name for name, entry in between.get("index", {}).items() if entry.get("for_foreign_key")
    }
    return [
        difference
        for difference in differences(before, after)
        if not (difference.attribute == "validated" and difference.after)
        and not (
            difference.kind == "index"
            and difference.name in made
            and (difference.attribute in {None, "for_foreign_key"})
            and difference.after is not None
        )
    ]


def only_tables(here: Catalog, there: Catalog) -> set[tuple[Any, Any]]:
    others = there.get("table", {})
    return {
        (entry["schema"], entry["name"])
        for name, entry in here.get("table", {}).items()
        if name not in others
    }


def outside_of(
    entries: dict[str, Entry], kind: str, tables: set[tuple[Any, Any]]
) -> dict[str, Entry]:
    if kind not in TABLE_PARTS:
        return dict(entries)
    return {
        name: entry
        for name, entry in entries.items()
        if (entry["schema"], entry["table"]) not in tables
    }


def changed(
    kind: str, name: str, old: dict[str, Entry], new: dict[str, Entry]
) -> Iterator[Difference]:
    before, after = old[name], new[name]
    for attribute in sorted({*before, *after} - UNCOMPARED):
        one, other = before.get(attribute), after.get(attribute)
        if settled(one) != settled(other):
            yield Difference(kind, name, attribute, one, other)


def settled(value: Any) -> Any:  # noqa: ANN401  (an attribute of any kind)
    """The value in a form that stays the same when PostgreSQL reads its own text again."""
    if not isinstance(value, str) or "::" not in value:
        return value
    text, previous = TEXT_CAST.sub("", value), ""
    while text != previous:
        text, previous = BRACKETS.sub(r"\1", text), text
    return text


def drop_pairs(gone: dict[str, Entry], come: dict[str, Entry], *, made_up: bool) -> None:
    """Take out what is on both sides, maybe under different names.

    `made_up`: only if one of the names is the database's invention. Those are numbered, so
    that the same name may mean another constraint on the other side.
    """
    for name, entry in list(gone.items()):
        others = [name, *come] if name in come else [*come]
        for other in others:
            candidate = come[other]
            invented = entry.get("auto_named") or candidate.get("auto_named")
            if (invented or not made_up) and content(entry) == content(candidate):
                del gone[name], come[other]
                break


def content(entry: Entry) -> tuple[Any, ...]:
    place = (entry.get("schema"), entry.get("table"))
    kept = {key: settled(value) for key, value in entry.items() if key not in UNCOMPARED}
    return (*place, repr(sorted(kept.items())))


def moved_columns(before: Catalog, after: Catalog) -> Iterator[Difference]:
    """Tables whose common columns stand in another order."""
    places = [column_places(catalog) for catalog in (before, after)]
    for table in sorted(places[0].keys() & places[1].keys()):
        common = places[0][table].keys() & places[1][table].keys()
        old, new = (
            sorted(common, key=lambda name, at=side[table]: at[name])  # type: ignore[misc]
            for side in places
        )
        if old != new:
            yield Difference("table", table, "column_order", old, new)


def column_places(catalog: Catalog) -> dict[str, dict[str, int]]:
    places: dict[str, dict[str, int]] = {}
    for entry in catalog.get("column", {}).values():
        table = ".".join(part for part in (entry["schema"], entry["table"]) if part)
        places.setdefault(table, {})[entry["name"]] = entry["order"]
    return places
