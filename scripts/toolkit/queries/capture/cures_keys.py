"""One statement for all turns of a loop: the rows, or the aggregate, of each key."""

import re

from toolkit.queries.capture.seen import Group
from toolkit.queries.capture.shape import clauses_of, items_of
from toolkit.queries.capture.subject import Subject, subject_of
from toolkit.queries.finding import Fix

_COMPARED = re.compile(r"(?:\w+\.)?[\"`]?(\w+)[\"`]? = \?", re.IGNORECASE)
_CONDITION = re.compile(r"(?:(\w+)\.)?(\w+) = \?")
_AGGREGATE = re.compile(
    r"\b(count|sum|min|max|avg|total|stddev\w*|var\w*|every|bool_\w+|bit_\w+|group_concat"
    r"|string_agg|array_agg|jsonb?_\w*agg)\(",
    re.IGNORECASE,
)
_LABEL = re.compile(r" AS [\w\"`]+$", re.IGNORECASE)
_PLAIN = re.compile(
    r"(count|sum|min|max|avg)\((distinct )?(?:(\*)|(?:(\w+)\.)?(\w+))\)", re.IGNORECASE
)
_COALESCE = re.compile(r"coalesce\((.+), \?\)", re.IGNORECASE)


def is_aggregate(shape: str) -> bool:
    """One row for all that the statement finds."""
    clauses = clauses_of(shape)
    selected = clauses.get("SELECT", "")
    return (
        bool(_AGGREGATE.search(selected))
        and "(SELECT " not in selected.upper()
        and " OVER " not in selected.upper()
        and "GROUP BY" not in clauses
    )


def of_loop(group: Group) -> Fix:
    """What to run before the loop, and what to read from it in the loop."""
    shape, key = group.first.shape, varying_key_of(group)
    if not is_aggregate(shape):
        return by_keys(subject_of(group.first), key, group)
    return Fix("code", aggregated(subject_of(group.first), key, shape) or as_text(group, key))


def aggregated(subject: Subject, key: str, shape: str) -> str | None:
    """The aggregate of each key as SQLAlchemy; None where a part of the statement is not plain."""
    clauses = clauses_of(shape)
    aggregate = _LABEL.sub("", clauses["SELECT"])
    written = written_aggregate(subject, aggregate)
    others = other_conditions(subject, key, clauses.get("WHERE", ""))
    is_plain = set(clauses) == {"SELECT", "FROM", "WHERE"} and clauses["FROM"] == subject.table
    if written is None or others is None or not is_plain:
        return None
    column = subject.column(key)
    return (
        "# before the loop, all at once; keys without rows are not in it\n"
        f"query = select({column}, {written}).where({column}.in_(keys){others})\n"
        f"numbers = dict((await {subject.sender}.execute(query.group_by({column}))).all())\n"
        f"# in the loop: {in_the_loop(aggregate)}"
    )


def written_aggregate(subject: Subject, text: str) -> str | None:
    """`func.sum(Item.quantity)` for `sum(items.quantity)`."""
    if found := _COALESCE.fullmatch(text):
        inner = written_aggregate(subject, found[1])
        return inner and f"func.coalesce({inner}, default)"
    found = _PLAIN.fullmatch(text)
    if found is None or found[4] not in (None, subject.table):
        return None
    column = "" if found[3] else subject.column(found[5])
    return f"func.{found[1].lower()}({column}{'.distinct()' if found[2] else ''})"


def in_the_loop(aggregate: str) -> str:
    if _COALESCE.fullmatch(aggregate):
        return "numbers.get(key, default)  # the default that coalesce has now"
    return "numbers.get(key, 0)" if aggregate.lower().startswith("count(") else "numbers.get(key)"


def other_conditions(subject: Subject, key: str, where: str) -> str | None:
    """What follows the condition of the key; None where one is more than `column = value`."""
    found = [_CONDITION.fullmatch(one) for one in where.split(" AND ")]
    others = ""
    for one in found:
        if one is None or one[1] not in (None, subject.table):
            return None
        if one[2] != key:
            others += f", {subject.column(one[2])} == {one[2]}"
    return others if len(found) == len({one[2] for one in found if one}) else None


def as_text(group: Group, key: str) -> str:
    """The statement's own SQL for all keys."""
    shape, sender = group.first.shape, subject_of(group.first).sender
    clauses = clauses_of(shape)
    compared = re.search(rf"((?:\w+\.)?[\"`]?{key}[\"`]?) = \?", clauses.get("WHERE", ""))
    if compared is None or set(clauses) != {"SELECT", "FROM", "WHERE"}:
        return (
            "# once before the loop: this statement, with IN for all keys, the key among what it\n"
            f"# selects, and GROUP BY the key\n# {shape}"
        )
    where = clauses["WHERE"]
    where = f"{where[: compared.start()]}{compared[1]} IN :keys{where[compared.end() :]}"
    aggregates = ", ".join(_LABEL.sub("", one) for one in items_of(clauses["SELECT"]))
    sql = f"SELECT {compared[1]}, {aggregates} FROM {clauses['FROM']} WHERE {where}"  # noqa: S608  (shown, not run)
    sql = re.sub(r"\(\?, \.\.\.\)", ":values", sql)
    numbered = iter(range(1, 100))
    sql = re.sub(r"\?", lambda _: f":value_{next(numbered)}", sql)
    several = len(items_of(clauses["SELECT"])) > 1
    value = "row[1:]" if several else "row[1]"
    return (
        "# before the loop, all at once, with the aggregate of now; keys without rows are not in"
        f" it\nquery = text({f'{sql} GROUP BY {compared[1]}'!r})\n"
        'query = query.bindparams(bindparam("keys", keys, expanding=True))\n'
        f"numbers = {{row[0]: {value} for row in await {sender}.execute(query)}}\n"
        "# in the loop: numbers.get(key)"
    )


def by_keys(subject: Subject, key: str, group: Group) -> Fix:
    """A row, some rows, or the first rows of each key."""
    column = subject.column(key)
    clauses = clauses_of(group.first.shape)
    others = other_conditions(subject, key, clauses.get("WHERE", ""))
    # What cannot be written here must at least not be forgotten.
    more = "  # and its other conditions" if others is None else ""
    query = f"query = select({subject.name}).where({column}.in_(keys){others or ''}){more}\n"
    if "LIMIT" in clauses and any((one.rows or 0) > 1 for one in group.statements):
        order = clauses.get("ORDER BY", "...")
        place = f"func.row_number().over(partition_by={column}, order_by=...)"
        query = (
            f"place = {place}  # its order: {order}\n"
            f"ranked = select({subject.name}, place.label('place'))"
            f".where({column}.in_(keys){others or ''}).subquery(){more}\n"
            "query = select(ranked).where(ranked.c.place <= limit)  # the first of each\n"
        )
        return Fix("code", f"# before the loop, all at once\n{query}")
    rows = subject.rows("query")
    if all((one.rows or 0) <= 1 for one in group.statements):
        found = f"found = {{one.{key}: one for one in {rows}}}\n"
    else:
        found = f"found = defaultdict(list)\nfor one in {rows}:\n    found[one.{key}].append(one)\n"
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
