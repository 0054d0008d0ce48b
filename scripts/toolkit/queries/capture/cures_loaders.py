"""The option that loads a relationship, on the very select that loaded the owners."""

import re
from collections.abc import Sequence
from typing import Any

from toolkit.queries.capture.cures_keys import is_aggregate
from toolkit.queries.capture.record import Statement, Unit
from toolkit.queries.capture.seen import Seen, is_own
from toolkit.queries.capture.shape import verb_of
from toolkit.queries.finding import Fix, Loader

DEEPEST = 3
"""Relationships of one option."""


def option_for(attribute: str, to_many: bool | None) -> str:
    """A collection in a statement of its own, a single object in the same one."""
    return f"{'selectinload' if to_many else 'joinedload'}({attribute})"


def of_relationship(seen: Seen, statement: Statement) -> Fix:
    attribute = statement.loader or ""
    if is_chain(seen, statement):
        return loader_fix(seen, statement, f"selectinload({attribute}, recursion_depth=-1)")
    return loader_fix(seen, statement, option_for(attribute, statement.to_many))


def of_subclass(seen: Seen, statement: Statement) -> Fix:
    """All subclasses whose columns this unit has loaded one by one."""
    base = statement.entity or ""
    classes = {
        (one.loader or "").partition(".")[0]
        for one in seen.by_unit[statement.unit]
        if one.origin == "polymorphic" and one.entity == base
    }
    return loader_fix(
        seen, statement, f"selectin_polymorphic({base}, [{', '.join(sorted(classes))}])", base
    )


def is_chain(seen: Seen, statement: Statement) -> bool:
    """Does a relationship to the same class go on from what it has loaded itself?

    There were more loads than objects that came in another way.
    """
    owner = (statement.loader or "").partition(".")[0]
    if statement.entity != owner:
        return False
    unit = seen.by_unit[statement.unit]
    loads = [one for one in unit if one.loader == statement.loader and one.origin == "lazy"]
    others = [one for one in unit if one.entity == owner and one.loader != statement.loader]
    return len(loads) > sum(one.rows or 0 for one in others)


def loader_fix(seen: Seen, statement: Statement, option: str, owner: str = "") -> Fix:
    """The option on the very select that loaded the owners, where that was seen."""
    owner = owner or (statement.loader or "").partition(".")[0]
    unit = [one for one in seen.by_unit[statement.unit] if one.number < statement.number]
    if "recursion_depth" in option:
        unit = [one for one in unit if one.loader != statement.loader]
    root = owners_of(unit, statement, owner)
    for _ in range(DEEPEST):
        if root is None or not root.loader or root.origin not in ("lazy", "eager"):
            break
        # They came by a relationship themselves: the option goes below that one's.
        option = f"{option_for(root.loader, root.to_many)}.{below(option)}"
        owner = root.loader.partition(".")[0]
        root = owners_of(unit, root, owner)
    return option_fix(seen, root, owner, option)


def below(option: str) -> str:
    """As a method of another option, which knows the base class."""
    return re.sub(r"^selectin_polymorphic\(\w+, ", "selectin_polymorphic(", option)


def option_fix(seen: Seen, root: Statement | None, owner: str, option: str) -> Fix:
    if root is None or not is_own(root.frames):
        return Fix("code", f"select({owner}).options({option})")
    place = root.frames[0]
    if is_shared(seen, root, owner):
        caller = root.frames[1] if len(root.frames) > 1 else None
        calls = f", as {caller.file}:{caller.line} that calls it here" if caller else ""
        return Fix(
            "code",
            f"# {place.file}:{place.line} loads other classes too: give it a parameter `options`\n"
            f"# and pass them from who wants {owner}{calls}\noptions=[{option}]",
        )
    get = f"session.get({owner}, key, options=[{option}])"
    if owner in seen.sources.first_arguments(place, "get", "get_one"):
        return Fix("code", f"# {place.file}:{place.line}\n{get}")
    text = f"# {place.file}:{place.line}\nselect({owner}).options({option})"
    known = all(seen.sources.has_name(place, name) for name in re.findall(r"\b[A-Z]\w*", option))
    if root.entity != owner or verb_of(root.shape) != "SELECT" or not known:
        return Fix("code", text)
    return Fix("code", text, loader=Loader(place.file, place.line, owner, option))


def is_shared(seen: Seen, root: Statement, owner: str) -> bool:
    """Does the line load objects of other classes too, in this run or by what is written there?"""
    place = root.frames[0]
    loaded = {
        one.entity
        for one in seen.capture.statements
        if one.entity and not one.origin and one.frames[:1] == (place,)
    }
    written = seen.sources.first_arguments(place, "get", "get_one", "select")
    return len(loaded) > 1 or bool(written and owner not in written)


def owners_of(statements: Sequence[Statement], before: Statement, owner: str) -> Statement | None:
    """The last statement before that loaded objects of the class `owner`."""
    found = [
        one
        for one in statements
        if one.number < before.number
        and one.entity == owner
        and one.rows
        and one.origin in ("", "lazy", "eager")
        and not is_aggregate(one.shape)
    ]
    return found[-1] if found else None


def of_lazy_load(seen: Seen, unit: Unit, data: dict[str, Any]) -> Fix:
    attribute = data["attribute"]
    if attribute is None:
        return Fix("code", "await session.execute(...)  # or await session.run_sync(function)")
    owner = attribute.partition(".")[0]
    if data["expired"]:
        return Fix(
            "code",
            "SessionFactory = async_sessionmaker(engine, expire_on_commit=False)",
        )
    option = (
        option_for(attribute, data["to_many"]) if data["relationship"] else f"undefer({attribute})"
    )
    if data["base"]:
        owner, option = data["base"], f"selectin_polymorphic({data['base']}, [{owner}])"
    owners = [
        one
        for one in seen.by_unit.get(unit.number, ())
        if one.entity == owner and one.rows and one.origin == "" and is_own(one.frames)
    ]
    return option_fix(seen, owners[-1] if owners else None, owner, option)
