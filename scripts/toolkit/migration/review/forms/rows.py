"""Work on many rows, in batches along the primary key.

A batch walks the key and does not search for what is left, so it ends whatever the new
value is: now(), a random one, NULL (#15).
"""

import re
from collections.abc import Mapping

from toolkit.migration.expand_contract.writing import in_pieces, sql_text
from toolkit.migration.review.forms.writing import (
    Code,
    Facts,
    Form,
    braces,
    revision,
    sql_name,
    table_name,
)

UPDATE = re.compile(
    r'(?is)UPDATE (?:ONLY )?(?P<table>\S+) SET (?P<column>"[^"]+"|\w+)'
    r" ?= ?(?P<value>.+?)(?: WHERE (?P<condition>.+?))?(?P<rest> RETURNING\b.*)?"
)
BOUND = re.compile(r"%\(|%s|\$\d|\?|(?<!:):\w")
SAME_AGAIN = r"(?i)(?:lower|upper|trim|btrim|ltrim|rtrim|initcap)\({0}\)|coalesce\({0},.*\)"
NO_KEY = "It has no primary key to walk along in batches, so there is no form to print."


def batches(table: str, facts: Facts, assignment: str, condition: str) -> Code | None:
    """Lines that change all rows, 5,000 in a transaction; None for a table without a key."""
    if not facts.get("key"):
        return None
    key = [sql_name(name) for name in facts["key"]]
    listed = ", ".join(key)
    row = f"({listed})" if len(key) > 1 else listed
    parameters = ", ".join(f":key{number}" for number in range(len(key)))
    after = f"WHERE {row} > ({parameters})" if len(key) > 1 else f"WHERE {row} > {parameters}"
    name = table_name(table)
    last = ", ".join(f"{one} AS key{number}" for number, one in enumerate(key))
    where = f" AND ({condition})" if condition else ""
    update = f"UPDATE {name} SET {assignment} WHERE {row} IN (SELECT {listed} FROM batch){where}"
    down_the_key = ", ".join(f"{one} DESC" for one in key)
    return Code(
        f'''\
with op.get_context().autocommit_block():
    after, key = "", {{}}
    while key is not None:
        batch = sa.text(f"""
            WITH batch AS MATERIALIZED (
                SELECT {listed} FROM {name} {{after}}
                ORDER BY {listed} LIMIT 5000 FOR NO KEY UPDATE
            ), done AS (
                {braces(sql_text(update))}
            )
            SELECT {last} FROM batch ORDER BY {down_the_key} LIMIT 1""")
        row = op.get_bind().execute(batch, key).mappings().first()
        after, key = {in_pieces(after)}, row and dict(row)'''
    )


def backfill(table: str, facts: Facts, sql: str) -> Form:
    """The batched form of an UPDATE of one column."""
    flat = " ".join(sql.split()).rstrip("; ")
    found = UPDATE.fullmatch(flat)
    if found is None or found["rest"] or re.search(r"(?i)\b(?:FROM|SELECT)\b", flat):
        return Form()
    if BOUND.search(re.sub(r"'(?:[^']|'')*'|::", " ", flat)):
        return Form()
    column, value, condition = found["column"], found["value"], found["condition"] or ""
    if has_comma(value):
        return Form()  # several columns
    if not same_twice(column, value, condition):
        return Form(
            why_not="Done twice, it is not the same, so there is no form in batches that could be"
            " started again: add a column that says which rows are done."
        )
    lines = batches(table, facts, f"{column} = {value}", condition)
    if lines is None:
        return Form(why_not=NO_KEY)
    return Form(revision("A revision of its own: each batch is a transaction", [lines], []))


def has_comma(value: str) -> bool:
    while (shorter := re.sub(r"\([^()]*\)|'[^']*'|\[[^\[\]]*\]", "", value)) != value:
        value = shorter
    return "," in value


def same_twice(column: str, value: str, condition: str) -> bool:
    """May a row be done again, when a run that was killed begins anew?"""
    name = re.escape(column)
    if not re.search(rf"(?<![\w'\"]){name}(?![\w'\"])", value):
        return True
    if re.fullmatch(rf"(?i){name} IS NULL", condition.strip(" ()")):
        return True  # a row that is done is no longer meant, or stays NULL
    return bool(re.fullmatch(SAME_AGAIN.format(name), value))


def facts_of(statement: Mapping[str, Facts], table: str) -> Facts:
    found: Facts = statement.get("tables", {}).get(table, {})
    return found
