"""What to write instead, as code: made for exactly this relationship, class or column."""

import re

from toolkit.queries.capture import cures_keys, cures_loaders, cures_pages
from toolkit.queries.capture.cures_keys import varying_key_of
from toolkit.queries.capture.record import Statement
from toolkit.queries.capture.seen import Group, Seen
from toolkit.queries.capture.shape import verb_of
from toolkit.queries.capture.subject import subject_of
from toolkit.queries.finding import Fix

_KEY = re.compile(r"\bWHERE\b.*?(?:\w+\.)?[\"`]?(\w+)[\"`]? = \?", re.IGNORECASE)

of_lazy_load = cures_loaders.of_lazy_load


def of_n_plus_one(seen: Seen, group: Group) -> Fix:
    first = group.first
    if first.origin == "lazy" and first.loader:
        return cures_loaders.of_relationship(seen, first)
    if first.origin == "deferred" and first.loader:
        return cures_loaders.loader_fix(seen, first, f"undefer({first.loader})")
    if first.origin == "polymorphic":
        return cures_loaders.of_subclass(seen, first)
    if first.origin == "expired":
        return Fix(
            "code",
            "# the objects keep what they had before the commit\n"
            "SessionFactory = async_sessionmaker(engine, expire_on_commit=False)",
        )
    if first.origin == "refresh":
        entity = first.entity
        return Fix(
            "code",
            f"ids = [one.id for one in objects]\n"
            f"query = select({entity}).where({entity}.id.in_(ids))\n"
            "await session.execute(query.execution_options(populate_existing=True))",
        )
    loops = seen.sources.loops(first.frames)
    if loops and loops[0].kind == "while" and not cures_keys.is_aggregate(first.shape):
        return of_parents(group)
    return cures_keys.of_loop(group)


def of_parents(group: Group) -> Fix:
    subject = subject_of(group.first)
    column = subject.column(varying_key_of(group))
    return Fix(
        "code",
        "# the whole chain in one statement\n"
        f"chain = select({subject.name}).where({column} == start).cte(recursive=True)\n"
        f"above = select({subject.name}).join(chain, {column} == chain.c.parent_id)\n"
        f"rows = await {subject.sender}.execute(select(chain.union_all(above)))",
    )


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
    subject = subject_of(first)
    send = f"await {subject.sender}.execute"
    if verb == "UPDATE" and subject.mapped and subject.sender == "session":
        rows = f'rows = [{{"{key_of(first)}": key, ...: value}} for key, value in changes]\n'
        return Fix("code", f"{rows}{send}(update({subject.name}), rows)  # by primary key")
    if verb == "UPDATE":
        # Only the ORM's update finds rows by their primary key alone.
        key = key_of(first)
        return Fix(
            "code",
            f'query = update({subject.name}).where({subject.column(key)} == bindparam("the_key"))\n'
            'rows = [{"the_key": key, ...: value} for key, value in changes]\n'
            f"{send}(query, rows)  # one call",
        )
    if verb == "DELETE":
        column = subject.column(key_of(first))
        return Fix("code", f"{send}(delete({subject.name}).where({column}.in_(keys)))")
    if first.flush:
        return Fix(
            "code",
            f"session.add_all(objects)  # {subject.name}\n"
            "await session.flush()  # once, after the loop",
        )
    return Fix("code", f"{send}(insert({subject.name}), [{{...}} for one in given])  # one call")


def of_unbounded(one: Statement) -> Fix:
    sender = subject_of(one).sender
    return Fix(
        "code",
        f"# a page at a time, from where the last one ended\n{cures_pages.next_page(one, '100')}\n"
        "# or only the number: select(func.count()).select_from(...)\n"
        f"# or row by row: await {sender}.stream(query.execution_options(yield_per=500))",
    )


def of_deep_offset(one: Statement) -> Fix:
    return Fix(
        "code",
        "# from where the last page ended, which an index finds at once\n"
        f"{cures_pages.next_page(one, 'size')}",
    )


def of_literal() -> Fix:
    return Fix(
        "code",
        'await session.execute(text("... WHERE name = :name"), {"name": name})',
    )


def key_of(one: Statement) -> str:
    """The column that is compared: `id` where that is not plain."""
    found = _KEY.search(one.shape)
    return found[1] if found else "id"
