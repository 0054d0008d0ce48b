"""Indexes: built, dropped and built anew beside readers and writers."""

import re

from toolkit.migration.expand_contract.writing import sql_text, string
from toolkit.migration.review.forms.writing import (
    Change,
    Code,
    Facts,
    Form,
    Outside,
    Part,
    asked,
    bare,
    beside,
    braces,
    own_name,
    revision,
    sql_name,
    table_name,
    text,
)


def create(*made: tuple[Change, Facts]) -> Form:
    """One revision for all that a revision builds, each index with its table's facts."""
    up: list[Part] = []
    down: list[Part] = []
    hints: list[str] = []
    for change, facts in made:
        if facts.get("kind") == "p":
            if facts.get("nested"):
                return Form(why_not=NESTED)
            up += create_on_partitions(change)
            down.insert(0, f"DROP INDEX IF EXISTS {table_name(change['relation'])}")
            continue
        index = table_name(change["relation"])
        built = concurrent(str(change["definition"]))
        known = (facts.get("indexes") or {}).get(bare(change["relation"]))
        if known:  # which the revision drops: it serves until the new one is there
            up.append(in_its_place(change["relation"], str(change["definition"])))
            down.insert(0, in_its_place(change["relation"], str(known["definition"])))
        else:
            up.append(Outside([drop(index), built], patient=True))
            down.insert(0, Outside([drop(index)], patient=True))
        if built.startswith("CREATE UNIQUE"):
            hints.append(duplicates(change["table"], change["keys"], change["predicate"]))
    title = "A revision of its own. What an attempt that failed left is dropped first."
    if hints:
        title += " It fails on duplicates; these are found by: " + "; ".join(hints)
    return Form(revision(title, up, down))


def in_its_place(relation: str, definition: str) -> Outside:
    """Another index under the name of one that is there."""
    index, new = bare(relation), own_name(bare(relation), "new")
    return Outside(
        [
            drop(beside(relation, new)),
            concurrent(renamed_index(definition, new)),
            drop(table_name(relation)),
            f"ALTER INDEX {beside(relation, new)} RENAME TO {sql_name(index)}",
        ],
        patient=True,
    )


def renamed_index(definition: str, name: str) -> str:
    """`CREATE INDEX old ON ...` under another name; both names may be quoted."""
    return re.sub(
        r'^(CREATE (?:UNIQUE )?INDEX )(?:"(?:[^"]|"")+"|\S+)',
        lambda found: f"{found[1]}{sql_name(name)}",
        definition,
    )


def create_on_partitions(change: Change) -> list[Part]:
    """The parent's index first, not valid; it becomes so with the last partition's."""
    index, parent = table_name(change["relation"]), table_name(change["table"])
    on_parent = str(change["definition"])
    if " ON ONLY " not in on_parent:
        on_parent = on_parent.replace(" ON ", " ON ONLY ", 1)
    head, _, rest = on_parent.partition(" ON ONLY ")
    unique = "UNIQUE " if "UNIQUE" in head else ""
    how = rest[rest.index(" USING ") :]
    return [
        f"DROP INDEX IF EXISTS {index}",
        on_parent,
        each_partition(
            parent,
            f"{words_of(change['keys'])}_idx",
            f"CREATE {unique}INDEX CONCURRENTLY <index> ON <partition>{how}",
            f"ALTER INDEX {index} ATTACH PARTITION <schema>.<index>",
        ),
    ]


NESTED = (
    "A partition has partitions of its own: build the index on each of those concurrently, then"
    " attach it to its parent's."
)


def each_partition(parent: str, words: str, build: str, *then: str, first: str = "") -> Code:
    """Lines that build an index on each partition, called as the server itself would, and
    `then` do more."""
    query = (
        "SELECT quote_ident(nspname) AS schema, quote_ident(left(relname || "
        f"{text('_' + words)}, 63)) AS index, c.oid::regclass::text AS partition"
        " FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
        " JOIN pg_namespace n ON n.oid = relnamespace"
        f" WHERE inhparent = {text(parent)}::regclass ORDER BY c.oid"
    )
    return Code(
        f"partitions = {asked(query)}\n"
        "for schema, index, partition in partitions.all():\n"
        + (f"    {filled_in(first)}\n" if first else "")
        + "    with op.get_context().autocommit_block():\n"
        '        op.execute("SET lock_timeout = 0")\n'
        '        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema}.{index}")\n'
        f"        {filled_in(build)}\n"
        "        op.execute(\"SET lock_timeout = '4s'\")\n"
        # Each by itself: who locks a partition and then its parent meets writers head-on.
         + "\n".join(f"        {filled_in(one)}" for one in then)
    )


def each_table(parent: str, *statements: str, outside: str) -> Code:
    """Lines that do the same on each partition; `outside` of the transaction at last."""
    query = (
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        f" WHERE inhparent = {text(parent)}::regclass ORDER BY inhrelid"
    )
    return Code(
        f"partitions = {asked(query)}\n"
        "for partition in partitions.scalars().all():\n"
        "    op.execute(\"SET LOCAL lock_timeout = '4s'\")\n"
        + "".join(f"    {filled_in(one)}\n" for one in statements)
        + "    with op.get_context().autocommit_block():\n"
        f"        {filled_in(outside)}"
    )


def filled_in(sql: str) -> str:
    """`<index>` and its like are variables of the loop."""
    made = re.sub(r"<(schema|index|partition)>", r"{\1}", string(braces(sql_text(sql))))
    return f"op.execute(f{made})"


def words_of(keys: list[str]) -> str:
    """What PostgreSQL puts into the name of an index."""
    return "_".join(key.strip('"') if re.fullmatch(r'\w+|"[^"]+"', key) else "expr" for key in keys)


def dropped(change: Change, facts: Facts) -> Form:
    known = facts.get("indexes") or {}
    name = bare(change["relation"])
    if name not in known:
        return Form()
    if facts.get("kind") == "p" or facts.get("parent"):
        return Form(
            why_not="PostgreSQL drops a partitioned table's index in no gentler way; it takes a"
            " moment."
        )
    index = table_name(change["relation"])
    again = concurrent(str(known[name]["definition"]))
    return Form(
        revision(
            "A revision of its own",
            [Outside([drop(index)], patient=True)],
            [Outside([drop(index), again], patient=True)],
        )
    )


def drop(index: str) -> str:
    return f"DROP INDEX CONCURRENTLY IF EXISTS {index}"


def concurrent(definition: str) -> str:
    return re.sub(r"^CREATE (UNIQUE )?INDEX ", r"CREATE \1INDEX CONCURRENTLY ", definition)


def duplicates(table: str, keys: list[str], predicate: str | None = None) -> str:
    """A query for what a unique index refuses."""
    listed = ", ".join(keys)
    filled = [f"{key} IS NOT NULL" for key in keys]
    where = " AND ".join([*filled, *([f"({predicate})"] if predicate else [])])
    return (
        f"SELECT {listed}, count(*) FROM {table_name(table)} WHERE {where}"
        f" GROUP BY {listed} HAVING count(*) > 1"
    )


def rebuilt(sql: str, facts: Facts | None = None) -> Form:
    """REINDEX, and REFRESH MATERIALIZED VIEW, beside readers and writers."""
    flat = " ".join(sql.split()).rstrip("; ")
    word = "VIEW" if re.match(r"(?i)REFRESH\b", flat) else "TABLE|INDEX|SCHEMA|DATABASE"
    if word == "VIEW" and facts is not None and not has_plain_unique_index(facts):
        return Form(
            why_not="CONCURRENTLY needs a unique index on the view, on columns and without WHERE:"
            " create one first."
        )
    if re.search(r"(?i)\bWITH NO DATA\b", flat):
        return Form()
    safe = re.sub(rf"(?i)\b({word})\b", r"\1 CONCURRENTLY", flat, count=1)
    return Form(revision("A revision of its own", [Outside([safe], patient=True)], []))


def has_plain_unique_index(facts: Facts) -> bool:
    return any(
        one["unique"] and not one["partial"] and "((" not in one["definition"]
        for one in (facts.get("indexes") or {}).values()
    )


def outside(sql: str) -> Form:
    """What runs outside of a transaction only."""
    flat = " ".join(sql.split()).rstrip("; ")
    made = re.match(
        r'(?i)CREATE (?:UNIQUE )?INDEX CONCURRENTLY (?:IF NOT EXISTS )?(?P<name>[\w".]+) ON '
        r'(?:ONLY )?(?:(?P<schema>\w+|"[^"]+")\.)?', flat
    )  # fmt: skip
    if made is None:
        return Form(revision("A revision of its own", [Outside([flat], patient=True)], []))
    index = f"{made['schema']}.{made['name']}" if made["schema"] else made["name"]
    built = re.sub(r"(?i) IF NOT EXISTS", "", flat, count=1)
    return Form(
        revision(
            "A revision of its own. What an attempt that failed left is dropped first.",
            [Outside([drop(index), built], patient=True)],
            [Outside([drop(index)], patient=True)],
        )
    )
