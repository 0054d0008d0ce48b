"""Indexes that may help a statement: equality first, then one range or the order."""

from collections.abc import Iterable, Iterator, Sequence

from toolkit.database.urls import Kind
from toolkit.queries.plans.model import Candidate, Key, Table
from toolkit.queries.plans.usage import Constant, Term, Use

Trial = tuple[Candidate, ...]
"""Indexes that are of use only together (an OR over two columns); mostly one."""
MOST = 40
MOST_SUMS = 2
COVERED = 4
"""Columns that INCLUDE may add: more make the index a second table."""
WIDE = ("json", "bytea", "blob", "xml", "vector", "[]", "tsvector")


def trials(use: Use, table: Table, kind: Kind) -> list[Trial]:
    """What to try for one use, the most complete first, without what is there already."""
    found: list[Trial] = []
    fixed = {key.text for key in keys_of(use.equal)}
    if any(index.unique and not index.where and fixed >= {*index.keys} for index in table.indexes):
        return []  # at most one row
    for keys in key_lists(use, table, kind):
        add(found, (Candidate(table.place, keys),))
    if kind != "mysql":
        for keys, where in partial(use, table, kind):
            add(found, (Candidate(table.place, keys, where=where),))
    for single in [*patterns(use, table, kind)]:
        add(found, (single,))
    for sides in use.either:
        together = [next(iter(trials(side, table, kind)), ()) for side in sides]
        if all(together):
            add(found, tuple(dict.fromkeys(one for trial in together for one in trial)))
    return [trial for trial in found if not any(is_there(one, table, kind) for one in trial)][:MOST]


def add(found: list[Trial], trial: Trial) -> None:
    if trial not in found and all(one.keys for one in trial):
        found.append(trial)


def key_lists(use: Use, table: Table, kind: Kind) -> Iterator[tuple[Key, ...]]:
    """Keys of full indexes."""
    equal = keys_of(sorted(use.equal, key=lambda term: -distinct(term, table)))
    order, lists, joins = order_keys(use, kind), keys_of(use.many), keys_of(use.joined)
    groups = keys_of(use.groups)
    starts = [equal]
    starts += [unique([*equal, key]) for key in (*joins, *lists)]
    starts += [unique([key, *equal]) for key in joins]
    for start in starts:
        if order:
            yield unique([*start, *order])
        for term in use.ranges:
            yield unique([*start, *keys_of([term])])
        if groups:
            yield unique([*start, *groups])
    yield from starts
    for key in (*equal, *joins, *lists, *keys_of(use.ranges)):
        yield (key,)
        if order and len(equal) > 1:
            yield unique([key, *order])
    if order:
        yield tuple(order)


def partial(use: Use, table: Table, kind: Kind) -> Iterator[tuple[tuple[Key, ...], str]]:
    """Keys and conditions of partial indexes: what the condition fixes is no key."""
    if not use.constants:
        return
    sets: list[Sequence[Constant]] = [use.constants]
    if len(use.constants) > 1:
        sets += [[one] for one in use.constants]
    for constants in sets:
        where = " AND ".join(one.sql for one in constants)
        fixed = frozenset[str]().union(*(one.columns for one in constants))
        rest = Use(
            use.schema,
            use.name,
            equal=without(use.equal, fixed),
            many=without(use.many, fixed),
            joined=without(use.joined, fixed),
            ranges=without(use.ranges, fixed),
            order=[one for one in use.order if not one.term.columns <= fixed],
            groups=without(use.groups, fixed),
        )
        some = list(key_lists(rest, table, kind))
        if not any(some):
            some = [(Key(sorted(fixed)[0]),)]
        for keys in some:
            yield keys, where


def patterns(use: Use, table: Table, kind: Kind) -> Iterator[Candidate]:
    """Indexes for LIKE."""
    if kind == "postgresql":
        for term in use.wildcard:
            key = Key(term.sql, term.column, opclass="gin_trgm_ops")
            yield Candidate(table.place, (key,), method="gin")
        for term in use.prefix:
            # Another collation than C sorts in ways that LIKE can't use.
            yield Candidate(table.place, (Key(term.sql, term.column, opclass="text_pattern_ops"),))
    else:
        for term in use.prefix:
            yield Candidate(table.place, keys_of([term]))


def covering(candidate: Candidate, use: Use, table: Table) -> Candidate | None:
    """The same with all columns that the statement reads; None where that is too much."""
    if use.needed is None or candidate.method != "btree":
        return None
    keys = {key.sql for key in candidate.keys}
    more = sorted(use.needed - keys)
    types = [table.columns[name].type.lower() for name in more if name in table.columns]
    wide = any(word in kind for kind in types for word in WIDE) or "text" in types
    if not more or len(more) > COVERED or len(types) < len(more) or wide:
        return None
    return Candidate(
        candidate.place, candidate.keys, tuple(more), candidate.where, candidate.method
    )


def covering_sums(use: Use, table: Table, kind: Kind) -> list[Trial]:
    """The same keys as an index that is there, with the one column that an aggregate reads on
    top: then no row has to be fetched from the table.
    """
    if not use.aggregated or not (use.equal or use.many or use.ranges):
        return []
    fixed = {key.text for key in keys_of(use.equal)}
    if any(index.unique and not index.where and fixed >= {*index.keys} for index in table.indexes):
        return []  # at most one row
    found: list[Trial] = []
    for keys in key_lists(use, table, kind):
        narrow = Candidate(table.place, keys)
        wide = covering(narrow, use, table) if keys and is_there(narrow, table, kind) else None
        if wide is None or len(wide.include) > 1:
            continue
        if kind != "postgresql":
            wide = Candidate(table.place, (*keys, *map(Key, wide.include)))
        if not is_there(wide, table, kind):
            add(found, (wide,))
    return found[:MOST_SUMS]


def keys_of(terms: Iterable[Term]) -> tuple[Key, ...]:
    return tuple(Key(term.sql, term.column) for term in terms)


def order_keys(use: Use, kind: Kind) -> list[Key]:
    """The keys of ORDER BY. An index is read backwards as well as forwards, so directions are
    written only where they differ from each other, or NULLs stand elsewhere than they would.
    """
    usual = [one.nulls_first == (one.descending == (kind == "postgresql")) for one in use.order]
    plain = len({one.descending for one in use.order}) < 2 and all(usual)
    keys = []
    for one, is_usual in zip(use.order, usual, strict=True):
        if plain:
            keys.append(Key(one.term.sql, one.term.column))
        else:
            explicit = kind == "postgresql" and not is_usual
            down = one.descending
            keys.append(Key(one.term.sql, one.term.column, down, one.nulls_first, explicit))
    return keys


def unique(keys: Iterable[Key]) -> tuple[Key, ...]:
    """Without a key that comes twice: the first fixes it."""
    found: dict[str, Key] = {}
    for key in keys:
        found.setdefault(key.sql, key)
    return tuple(found.values())


def without(terms: Iterable[Term], fixed: frozenset[str]) -> list[Term]:
    return [term for term in terms if not term.columns <= fixed]


def distinct(term: Term, table: Table) -> float:
    known = [table.columns[name].distinct for name in term.columns if name in table.columns]
    return max((one for one in known if one is not None), default=0.0)


def is_there(candidate: Candidate, table: Table, kind: Kind) -> bool:
    """Does an index that exists begin with these keys?"""
    wanted = [key.text for key in candidate.keys]
    for index in table.indexes:
        if index.method != candidate.method or (index.where and index.where != candidate.where):
            continue
        if candidate.keys[0].opclass and candidate.method == "btree" and kind == "postgresql":
            continue
        have = list(index.keys)
        if index.unique and not index.where and have == wanted[: len(have)]:
            return True  # at most one row matches its keys: more of them tell nothing
        if have[: len(wanted)] == wanted and not candidate.include:
            return True
    return False
