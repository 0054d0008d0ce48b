"""What to write instead, as code: made for exactly this relationship, class or column."""

import re
from collections.abc import Sequence
from typing import Any

from toolkit.queries.capture.record import Statement, Unit
from toolkit.queries.capture.seen import Group, Seen, is_own
from toolkit.queries.capture.shape import table_of, verb_of
from toolkit.queries.finding import Fix, Loader

_KEY = re.compile(r"\bWHERE\b.*?(?:\w+\.)?[\"`]?(\w+)[\"`]? = \?", re.IGNORECASE)
_COMPARED = re.compile(r"(?:\w+\.)?[\"`]?(\w+)[\"`]? = \?", re.IGNORECASE)
_AGGREGATE = re.compile(r"^SELECT (count|sum|min|max|avg)\(", re.IGNORECASE)
DEEPEST = 3
"""Relationships of one option."""


def of_n_plus_one(seen: Seen, group: Group) -> Fix:
    first = group.first
    if first.origin == "lazy" and first.loader:
        return loader_fix(seen, first, option_for(first.loader, first.to_many))
    if first.origin == "deferred" and first.loader:
        return loader_fix(seen, first, f"undefer({first.loader})")
    if first.origin == "expired":
        return Fix(
            "code",
            "# the objects keep what they had before the commit\n"
            "SessionFactory = async_sessionmaker(engine, expire_on_commit=False)",
        )
    entity = first.entity or class_of(first)
    key = varying_key_of(group)
    if first.origin == "refresh":
        return Fix(
            "code",
            f"ids = [one.id for one in objects]\n"
            f"query = select({entity}).where({entity}.id.in_(ids))\n"
            "await session.execute(query.execution_options(populate_existing=True))",
        )
    if _AGGREGATE.match(first.shape):
        inner = first.shape[len("SELECT ") :].split(" FROM ")[0]
        return Fix(
            "code",
            f"# before the loop, all at once; {inner.split(' AS ')[0]} as it is now\n"
            f"query = select({entity}.{key}, func.count()).where({entity}.{key}.in_(keys))\n"
            f"numbers = dict((await session.execute(query.group_by({entity}.{key}))).all())\n"
            "# in the loop: numbers.get(key, 0)",
        )
    loops = seen.sources.loops(first.frames)
    if loops and loops[0].kind == "while":
        return Fix(
            "code",
            "# the whole chain in one statement\n"
            f"chain = select({entity}).where({entity}.{key} == start).cte(recursive=True)\n"
            f"above = select({entity}).join(chain, {entity}.{key} == chain.c.parent_id)\n"
            "rows = await session.execute(select(chain.union_all(above)))",
        )
    return by_keys(entity, key, group)


def by_keys(entity: str, key: str, group: Group) -> Fix:
    """One statement for all turns of a loop: a row, some rows, or the first rows of each."""
    query = f"query = select({entity}).where({entity}.{key}.in_(keys))\n"
    if " LIMIT " in group.first.shape.upper() and any(
        (one.rows or 0) > 1 for one in group.statements
    ):
        place = f"func.row_number().over(partition_by={entity}.{key}, order_by=...)"
        query = (
            f"place = {place}\n"
            f"ranked = select({entity}, place.label('place')).where({entity}.{key}.in_(keys))"
            ".subquery()\n"
            "query = select(ranked).where(ranked.c.place <= limit)  # the first of each\n"
        )
        return Fix("code", f"# before the loop, all at once\n{query}")
    if all((one.rows or 0) <= 1 for one in group.statements):
        found = f"found = {{one.{key}: one for one in await session.scalars(query)}}\n"
    else:
        found = (
            "found = defaultdict(list)\n"
            f"for one in await session.scalars(query):\n    found[one.{key}].append(one)\n"
        )
    return Fix("code", f"# before the loop, all at once\n{query}{found}# in the loop: found[key]")


def varying_key_of(group: Group) -> str:
    """The column whose value differs from turn to turn."""
    first = group.first
    values = [
        list(one.parameters.values()) if isinstance(one.parameters, dict) else one.parameters
        for one in group.statements
    ]
    names = [
        (found[1], first.shape.count("?", 0, found.end() - 1))
        for found in _COMPARED.finditer(first.shape)
    ]
    for name, position in names:
        try:
            if len({str(one[position]) for one in values}) > 1:
                return name
        except (IndexError, TypeError):
            break
    return names[0][0] if names else "id"


def option_for(attribute: str, to_many: bool | None) -> str:
    """A collection in a statement of its own, a single object in the same one."""
    return f"{'selectinload' if to_many else 'joinedload'}({attribute})"


def loader_fix(seen: Seen, statement: Statement, option: str) -> Fix:
    """The option on the very select that loaded the owners, where that was seen."""
    owner = (statement.loader or "").partition(".")[0]
    root = owners_of(seen.by_unit[statement.unit], statement, owner)
    for _ in range(DEEPEST):
        if root is None or not root.loader or root.origin not in ("lazy", "eager"):
            break
        # They came by a relationship themselves: the option goes below that one's.
        name, _, arguments = option.partition("(")
        option = f"{option_for(root.loader, root.to_many)}.{name}({arguments}"
        owner = root.loader.partition(".")[0]
        root = owners_of(seen.by_unit[statement.unit], root, owner)
    return option_fix(root, owner, option)


def option_fix(root: Statement | None, owner: str, option: str) -> Fix:
    if root is None or not is_own(root.frames):
        return Fix("code", f"select({owner}).options({option})")
    place = root.frames[0]
    text = f"# {place.file}:{place.line}\nselect({owner}).options({option})"
    if root.entity != owner or verb_of(root.shape) != "SELECT":
        return Fix("code", text)
    return Fix("code", text, loader=Loader(place.file, place.line, owner, option))


def owners_of(statements: Sequence[Statement], before: Statement, owner: str) -> Statement | None:
    """The last statement before that loaded objects of the class `owner`."""
    found = [
        one
        for one in statements
        if one.number < before.number
        and one.entity == owner
        and one.rows
        and one.origin in ("", "lazy", "eager")
    ]
    return found[-1] if found else None


def of_repeated(group: Group) -> Fix:
    frame = group.frame
    name = frame.function.rpartition(".")[2]
    return Fix(
        "code",
        f"# once in the request; hand the result on instead of asking {name} again\n"
        "value = await ...",
    )


def of_write_in_loop(group: Group) -> Fix:
    first = group.first
    verb = verb_of(first.shape)
    entity = first.entity or class_of(first)
    if verb == "UPDATE":
        key = key_of(first)
        return Fix(
            "code",
            f'rows = [{{"{key}": key, ...: value}} for key, value in changes]\n'
            f"await session.execute(update({entity}), rows)  # by primary key, one round trip",
        )
    if verb == "DELETE":
        key = key_of(first)
        return Fix(
            "code",
            f"await session.execute(delete({entity}).where({entity}.{key}.in_(keys)))",
        )
    if first.flush:
        return Fix(
            "code",
            f"session.add_all(objects)  # {entity}\nawait session.flush()  # once, after the loop",
        )
    return Fix(
        "code",
        f"await session.execute(insert({entity}), [{{...}} for one in given])  # one statement",
    )


def of_unbounded(one: Statement) -> Fix:
    entity = one.entity or class_of(one)
    return Fix(
        "code",
        f"# a page at a time, from where the last one ended\n"
        f"select({entity}).where({entity}.id > after).order_by({entity}.id).limit(100)\n"
        "# or only the number: select(func.count()).select_from(...)\n"
        "# or row by row: await session.stream(query.execution_options(yield_per=500))",
    )


def of_deep_offset(one: Statement) -> Fix:
    entity = one.entity or class_of(one)
    return Fix(
        "code",
        f"# from where the last page ended, which an index finds at once\n"
        f"select({entity}).where({entity}.id > after).order_by({entity}.id).limit(size)",
    )


def of_literal() -> Fix:
    return Fix(
        "code",
        'await session.execute(text("... WHERE name = :name"), {"name": name})',
    )


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
    owners = [
        one
        for one in seen.by_unit.get(unit.number, ())
        if one.entity == owner and one.rows and one.origin == "" and is_own(one.frames)
    ]
    return option_fix(owners[-1] if owners else None, owner, option)


def key_of(one: Statement) -> str:
    """The column that is compared: `id` where that is not plain."""
    found = _KEY.search(one.shape)
    return found[1] if found else "id"


def class_of(one: Statement) -> str:
    """A class by the name of a table, where the statement names columns only: `Post`."""
    name = (table_of(one.shape) or "Model").rpartition(".")[2]
    name = name.removesuffix("s") if not name.endswith("ss") else name
    return "".join(part.capitalize() for part in name.split("_")) or "Model"
