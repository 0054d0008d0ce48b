"""Columns: added, dropped, without their default."""

from toolkit.migration.review.forms.constraints import not_null_parts
from toolkit.migration.review.forms.rows import NO_KEY, batches
from toolkit.migration.review.forms.writing import (
    IDENTITY,
    Change,
    Facts,
    Form,
    Part,
    bare,
    own_name,
    revision,
    serial_sequence,
    several,
    sql_name,
    table_name,
    text,
)

GENERATED = (
    "PostgreSQL computes a stored column for all rows at once, whatever the form: a plain column"
    " that new code or a trigger fills, and a backfill, is the way around."
)
DOMAIN = (
    "For a domain with a constraint PostgreSQL writes the table anew, whatever the form: take its"
    " base type and a CHECK that is added NOT VALID."
)


def added_with_value(table: str, change: Change, facts: Facts) -> Form:
    """A column with another value in each row: a default for new rows, batches for old ones."""
    name, column = table_name(table), sql_name(change["column"])
    if change["generated"]:
        return Form(why_not=GENERATED)
    if change.get("domain"):
        return Form(why_not=DOMAIN)
    sequence = own_name(bare(table), change["column"], "seq")
    default = change.get("expression") or ""
    up: list[Part] = [f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {column} {change['type']}"]
    if change["identity"] or default.startswith("nextval("):
        owned = table_name(f"{table.rpartition('.')[0]}.{sequence}")
        kind = f" AS {change['type']}" if change["type"] in ("smallint", "integer") else ""
        up.append(f"CREATE SEQUENCE IF NOT EXISTS {owned}{kind} OWNED BY {name}.{column}")
        default = f"nextval({text(owned)})"
    if not default:
        return Form()
    up.append(f"ALTER TABLE {name} ALTER COLUMN {column} SET DEFAULT {default}")
    lines = batches(table, facts, f"{column} = DEFAULT", f"{column} IS NULL")
    if lines is None:
        return Form(why_not=NO_KEY)
    up.append(lines)
    if change["not_null"]:
        up += not_null_parts(table, change["column"])
    if change["identity"]:
        up += identity_from_sequence(table, change["column"], change["identity"])
    return Form(
        revision(
            "A revision of its own: the default is for new rows, old ones are filled in batches",
            up,
            [f"ALTER TABLE {name} DROP COLUMN {column}"],
        )
    )


def identity_from_sequence(table: str, column: str, kind: str) -> list[Part]:
    """The identity goes on where the sequence was; nobody can write in between."""
    name, own = table_name(table), sql_name(column)
    sequence = table_name(f"{table.rpartition('.')[0]}.{own_name(bare(table), column, 'seq')}")
    old = table_name(f"{table.rpartition('.')[0]}.{own_name(bare(table), column, 'old_seq')}")
    return [
        f"ALTER TABLE {name} ALTER COLUMN {own} DROP DEFAULT",
        f"ALTER SEQUENCE {sequence} OWNED BY NONE",
        f"ALTER SEQUENCE {sequence} RENAME TO {old.rpartition('.')[2]}",
        f"ALTER TABLE {name} ALTER COLUMN {own} ADD GENERATED {IDENTITY[kind]} AS IDENTITY",
        f"SELECT setval({serial_sequence(table, column)}, last_value, is_called) FROM {old}",
        f"DROP SEQUENCE {old}",
    ]


def added_not_null(table: str, change: Change) -> Form:
    name, column = table_name(table), sql_name(change["column"])
    added = f"ALTER TABLE {name} ADD COLUMN {column} {change['type']}"
    unfilled = f"SELECT count(*) FROM {name} WHERE {column} IS NULL"
    return several(
        revision(
            "Revision 1 (before the deploy): old code may leave it out",
            [added],
            [f"ALTER TABLE {name} DROP COLUMN {column}"],
        ),
        revision(
            "Revision 2, when all running code writes the column and old rows are filled:"
            f" {unfilled}",
            not_null_parts(table, change["column"]),
            [f"ALTER TABLE {name} ALTER COLUMN {column} DROP NOT NULL"],
        ),
    )


def dropped(table: str, column: str, facts: Facts) -> Form:
    """First a column that inserts may leave out, where they could not."""
    name, own = table_name(table), sql_name(column)
    known = (facts.get("columns") or {}).get(column)
    if known is None or facts.get("parent"):
        return Form()
    default = f" DEFAULT {known['default']}" if known["default"] else ""
    required = known["not_null"] and not default and not known["identity"]
    inherent = f" GENERATED {IDENTITY[known['identity']]} AS IDENTITY" if known["identity"] else ""
    filled = " NOT NULL" if known["not_null"] and (default or inherent) else ""
    number = "Revision 2" if required else "A revision of its own"
    last = revision(
        f"{number}, when no old code runs and its values are saved or not wanted",
        [f"ALTER TABLE {name} DROP COLUMN {own}"],
        [f"ALTER TABLE {name} ADD COLUMN {own} {known['type']}{default}{inherent}{filled}"],
    )
    if not required:
        return Form(last)
    first = revision(
        "Revision 1, with the code that no longer names the column: inserts may leave it out. On"
        " the way back it stays so: rows without a value may be there.",
        [f"ALTER TABLE {name} ALTER COLUMN {own} DROP NOT NULL"],
        [],
    )
    return several(first, last)


def without_default(change: Change, facts: Facts, of_new: str) -> Form:
    """The default goes when nobody leaves the column out any more. `of_new`: what a column that
    the same revision adds began with."""
    name, own = table_name(change["table"]), sql_name(change["column"])
    known = (facts.get("columns") or {}).get(change["column"])
    alter = f"ALTER TABLE {name} ALTER COLUMN {own}"
    down: list[Part]
    if known is None:
        if not of_new:
            return Form()
        up, down = f"{alter} DROP DEFAULT", [f"{alter} SET DEFAULT {of_new}"]
    elif known["identity"]:
        get = serial_sequence(change["table"], change["column"])
        up = f"{alter} DROP IDENTITY"
        down = [
            f"{alter} ADD GENERATED {IDENTITY[known['identity']]} AS IDENTITY",
            f"SELECT setval({get}, greatest(max({own}), 1)) FROM {name}",
        ]
    elif known["default"]:
        up, down = f"{alter} DROP DEFAULT", [f"{alter} SET DEFAULT {known['default']}"]
    else:
        return Form()
    return Form(revision("A later revision, when all running code writes the column", [up], down))


def set_to_last(table: str, column: str) -> str:
    """A statement: the column's sequence goes on after the rows' numbers."""
    last = f"(SELECT coalesce(max({sql_name(column)}), 0) + 1 FROM {table_name(table)})"
    return f"SELECT setval({serial_sequence(table, column)}, {last}, false)"
