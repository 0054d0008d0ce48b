"""Partitions: taken in and let go beside readers and writers."""

from collections.abc import Mapping
from typing import Any

from toolkit.migration.expand_contract.writing import string
from toolkit.migration.review.forms.constraints import drop_constraint, validated, version_of
from toolkit.migration.review.forms.rows import facts_of
from toolkit.migration.review.forms.writing import (
    Change,
    Code,
    Form,
    Outside,
    asked,
    bare,
    braces,
    own_name,
    revision,
    sql_name,
    table_name,
    text,
)

DEFAULT_PARTITION = "With a default partition PostgreSQL has no gentler way."


def attached(change: Change, statement: Mapping[str, Any]) -> Form:
    """A valid CHECK proves that all rows belong there."""
    condition, parent, bound = (change.get(key) for key in ("condition", "parent", "bound"))
    if not (condition and parent and bound):
        return Form()
    table = table_name(change["table"])
    check = sql_name(own_name(bare(change["table"]), "bound_check"))
    return Form(
        revision(
            "A revision of its own: a CHECK reads the rows while others write, ATTACH believes it",
            [
                drop_constraint(table, check),
                f"ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({condition}) NOT VALID",
                validated(table, check),
                f"ALTER TABLE {table_name(parent)} ATTACH PARTITION {table} {bound}",
                f"ALTER TABLE {table} DROP CONSTRAINT {check}",
            ],
            [f"ALTER TABLE {table_name(parent)} DETACH PARTITION {table}"],
        )
    )


def detached(change: Change, statement: Mapping[str, Any]) -> Form:
    facts = facts_of(statement, change["relation"])
    parent = facts.get("parent")
    if not parent:
        return Form()
    if facts_of(statement, parent).get("default_partition"):
        return Form(why_not=DEFAULT_PARTITION)
    if version_of(statement["limits"]["server_version"]) < 14:
        return Form()
    table = table_name(change["relation"])
    head = f"ALTER TABLE {table_name(parent)}"
    checks = asked(
        f"SELECT conname FROM pg_constraint WHERE conrelid = {text(table)}::regclass"
        " AND contype = 'c'"
    )
    dropped = string(f'ALTER TABLE {braces(table)} DROP CONSTRAINT "<left>"')
    return Form(
        revision(
            "A revision of its own; the CHECK that PostgreSQL leaves behind is dropped",
            [
                Code(f"before = set({checks}.scalars())"),
                Outside([f"{head} DETACH PARTITION {table} CONCURRENTLY"], patient=True),
                Code(
                    f"for left in set({checks}.scalars()) - before:\n"
                    f"    op.execute(f{dropped.replace('<left>', '{left}')})"
                ),
            ],
            [f"{head} ATTACH PARTITION {table} {facts['bound']}"],
        )
    )
