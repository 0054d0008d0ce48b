"""What the schema lost or got, whoever did it: an operation, raw SQL, CASCADE or a function."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.migration.review.findings import (
    Change,
    Revision,
    Statement,
    changes_of,
    make,
    plain,
    shown,
)
from toolkit.migration.review.forms import partitions, renames
from toolkit.migration.review.forms.rows import facts_of
from toolkit.migration.review.postgresql_columns import column_findings
from toolkit.migration.review.postgresql_triggers import findings_of_trigger
from toolkit.report.finding import Finding, Verdict


def schema_findings(revision: Revision, statement: Statement, later: set[str]) -> Iterator[Finding]:
    for change in statement.get("changes", ()):
        kind = change["what"].partition("-")[0]
        if not change.get("existed", True):
            continue
        if kind == "relation":
            yield from relation_findings(revision, statement, change, later)
        elif kind in {"partition", "constraint", "index"}:
            yield from part_findings(revision, statement, change)
        elif kind == "column":
            yield from column_findings(revision, statement, change)
        elif change["what"] in {"trigger-created", "trigger-dropped"}:
            yield from findings_of_trigger(revision, statement, change)
        else:
            yield from object_findings(revision, statement, change, later)


def relation_findings(
    revision: Revision, statement: Statement, change: Change, later: set[str]
) -> Iterator[Finding]:
    """Tables, views and sequences that are dropped or renamed."""
    table = change["table"]
    if change["what"] == "relation-dropped":
        yield from dropped_relation(revision, statement, change, later)
    elif change["what"] == "relation-renamed" and change["kind"] in "rpvm":
        whole_schema = any(c["what"] == "schema-renamed" for c in statement["changes"])
        if change["relation"] in later and takes_name(revision, change):
            yield swapped(revision, statement, change)
        elif change["relation"] in later and change["kind"] in "rp":
            yield from view_in_its_place(revision, statement, change)
        elif change["relation"] not in later and not whole_schema:
            yield make(
                "rename-table", Verdict.BREAKS_OLD_CODE,
                f"{shown(change['relation'])} becomes {shown(change['to'])}: code that still runs"
                " asks for the old name.",
                revision, statement, table=table,
                rewrite=renames.table(
                    change, facts_of(statement, table), statement["limits"]["server_version"]
                ),
            )  # fmt: skip


def part_findings(revision: Revision, statement: Statement, change: Change) -> Iterator[Finding]:
    """Partitions, constraints and indexes that a table has no longer."""
    what, table = change["what"], change["table"]
    if what == "partition-detached":
        gently = "CONCURRENTLY" in plain(statement["sql"])
        yield make(
            "detach-partition", Verdict.BREAKS_OLD_CODE,
            f"The rows of {shown(change['relation'])} are no longer found in its parent"
            + ("." if gently else ", which is locked against reading until COMMIT."),
            revision, statement, table=table,
            rewrite="" if gently else partitions.detached(change, statement),
        )  # fmt: skip
    elif what == "constraint-renamed" and change["type"] in "pux":
        if keeps_name(revision, change):
            return
        yield make(
            "rename-constraint", Verdict.BREAKS_OLD_CODE,
            f"{change['name']} of {shown(table)} becomes {change['to']}: ON CONFLICT ON CONSTRAINT"
            f" {change['name']}, which code that still runs may say, is refused.",
            revision, statement, table=table,
        )  # fmt: skip
    elif what in {"constraint-added", "index-created"}:
        yield from of_one_value(revision, statement, change)
    elif what == "constraint-dropped" and change["type"] in "pu":
        yield from lost_uniqueness(revision, statement, change, change["name"])
    elif what == "index-dropped":
        name = change["relation"].rpartition(".")[2]
        known = facts_of(statement, table).get("indexes") or {}
        if known.get(name, {}).get("unique"):
            yield from lost_uniqueness(revision, statement, change, name)


def object_findings(
    revision: Revision, statement: Statement, change: Change, later: set[str]
) -> Iterator[Finding]:
    """Enum values, types, functions, schemas, triggers."""
    what = change["what"]
    kind = what.partition("-")[0]
    gone = {c["what"] for c in statement["changes"]} & {"relation-dropped", "column-dropped"}
    with_extension = any(c["what"] == "extension-dropped" for c in statement["changes"])
    if what == "label-renamed":
        yield make(
            "rename-enum-value", Verdict.BREAKS_OLD_CODE,
            f"The value {change['name']} of {change['type']} becomes {change['to']}: code that"
            " still runs reads and writes the old one.",
            revision, statement,
        )  # fmt: skip
    elif what == "extension-dropped" and not is_own(revision, change, kind):
        yield make(
            "drop-extension", Verdict.BREAKS_OLD_CODE,
            f"The extension {change['name']} is gone with its types, functions and operators; code"
            " that still runs may use them.",
            revision, statement,
        )  # fmt: skip
    elif with_extension:
        return
    elif what in {"type-dropped", "function-dropped", "schema-dropped"} and not gone:
        if change["name"] not in later and not is_own(revision, change, kind):
            yield make(
                f"drop-{kind}", Verdict.BREAKS_OLD_CODE,
                f"The {kind} {shown(change['name'])} is gone; code that still runs may use it.",
                revision, statement,
            )  # fmt: skip
    elif (
        what in {"type-renamed", "schema-renamed", "function-renamed"}
        and change["name"] not in later
    ):
        yield make(
            f"rename-{kind}", Verdict.BREAKS_OLD_CODE,
            f"The {kind} {shown(change['name'])} becomes {shown(change['to'])}.",
            revision, statement,
        )  # fmt: skip
    elif what == "trigger-switched" and not change["enabled"]:
        yield make(
            "disable-trigger", Verdict.BREAKS_OLD_CODE,
            f"Trigger {change['name']} of {shown(change['table'])} is off: what it keeps right is"
            " not kept right, foreign keys included.",
            revision, statement, table=change["table"],
        )  # fmt: skip


def lost_uniqueness(
    revision: Revision, statement: Statement, change: Change, name: str
) -> Iterator[Finding]:
    """What ON CONFLICT names has to be unique; so has what a foreign key refers to."""
    table = change["table"]
    facts = facts_of(statement, table)
    known = {**(facts.get("constraints") or {}), **(facts.get("indexes") or {})}.get(name)
    columns = sorted((known or {}).get("uses") or ())
    for other, made in changes_of(revision):
        if made.get("table") != table:
            continue
        again = made["what"] == "constraint-added" or (
            made["what"] == "index-created" and not of_constraint(other, made)
        )
        if again and serves_as(str(made.get("definition")), columns, known or {}):
            return
        if made["what"] == "column-dropped" and made["column"] in columns:
            return  # said with the column
        if made["what"] == "relation-dropped":
            return
    yield make(
        "drop-unique", Verdict.BREAKS_OLD_CODE,
        f"{name} keeps {', '.join(columns) or 'its columns'} of {shown(table)} unique no longer:"
        " ON CONFLICT on them fails in code that still runs, and duplicates come in.",
        revision, statement, table=table,
    )  # fmt: skip


def keeps_name(revision: Revision, renamed: Change) -> bool:
    """Does it take the place of one that is gone, or another one its name?"""
    gone, come = set(), set()
    for _, change in changes_of(revision):
        if change["what"] in {"constraint-dropped", "constraint-renamed"}:
            gone.add(change["name"])
        if change["what"] in {"constraint-added", "constraint-renamed"}:
            come.add(change.get("to", change["name"]))
    return renamed["to"] in gone or renamed["name"] in come


def of_one_value(revision: Revision, statement: Statement, change: Change) -> Iterator[Finding]:
    """UNIQUE on new columns, which a constant default has filled alike."""
    table, definition = change["table"], str(change["definition"])
    filled = {
        made["column"]
        for _, made in changes_of(revision)
        if made["what"] == "column-added" and made["table"] == table
        if not re.search(r"\(|^NULL\b|^$", made.get("expression", ""))
    }
    columns = set(columns_in(definition) or ())
    whole = " WHERE " not in definition and not (
        change["what"] == "index-created" and of_constraint(statement, change)
    )
    updated = any(plain(other["sql"]).startswith("UPDATE ") for other in revision["statements"])
    if whole and columns and columns <= filled and not updated:
        yield make(
            "add-unique-constant", Verdict.FAILS,
            f"{', '.join(sorted(columns))} of {shown(table)} is new, has one value in all rows and"
            " is to be unique: refused as soon as there are two. Add it without a default, fill it,"
            " and make it unique then.",
            revision, statement, table=table,
        )  # fmt: skip


def of_constraint(statement: Statement, index: Change) -> bool:
    """Is it what a constraint of the same statement is made of? Then that tells more."""
    name = index["relation"].rpartition(".")[2]
    return any(
        change["what"] == "constraint-added" and change["name"] == name
        for change in statement["changes"]
    )


def serves_as(definition: str, columns: list[str], gone: Mapping[str, Any]) -> bool:
    """ON CONFLICT takes no deferrable constraint, and a partial index only by its condition."""
    before = str(gone.get("definition"))
    part, old_part = (one.partition(" WHERE ")[2] for one in (definition, before))
    late = " DEFERRABLE" in definition and " DEFERRABLE" not in before
    return columns_in(definition) == columns and part in ("", old_part) and not late


def columns_in(definition: str) -> list[str] | None:
    """Of a unique constraint or index; None for another."""
    found = re.search(r"(?:UNIQUE|PRIMARY KEY).*?\(([^()]*)\)", definition)
    return sorted(one.strip(' "') for one in found[1].split(",")) if found else None


def takes_name(revision: Revision, renamed: Change) -> bool:
    """Does another table, not a view, come under the old name?"""
    for _, change in changes_of(revision):
        if change.get("kind") not in ("r", "p"):
            continue
        if change["what"] == "relation-created" and change["relation"] == renamed["relation"]:
            return True
        if change["what"] == "relation-renamed" and change["to"] == renamed["relation"]:
            return True
    return False


def swapped(revision: Revision, statement: Statement, change: Change) -> Finding:
    name = shown(change["relation"])
    return make(
        "swap-table", Verdict.DATA_LOSS,
        f"Another table takes the name {name}: what is written to the old one until then is not in"
        " it, and rights, foreign keys, views and triggers stay with the old one.",
        revision, statement, table=change["table"],
    )  # fmt: skip


def view_in_its_place(
    revision: Revision, statement: Statement, renamed: Change
) -> Iterator[Finding]:
    """A view under the old name serves old code if it has all columns and takes writes."""
    names = set(facts_of(statement, renamed["table"]).get("columns") or ())
    own = any("INSTEAD OF" in plain(one["sql"]) for one in revision["statements"])
    for other, made in changes_of(revision):
        if made["what"] != "relation-created" or made["relation"] != renamed["relation"]:
            continue
        lacks = sorted(names - set(made["columns"] or ()))
        if lacks or not (made.get("writable", True) or own):
            name = shown(renamed["relation"])
            yield make(
                "view-in-its-place", Verdict.BREAKS_OLD_CODE,
                f"The view {name} has no {', '.join(lacks)}: code that still runs asks for it."
                if lacks
                else f"The view {name} can't be written to, which code that still runs may do:"
                " PostgreSQL lets a view of one table through that only picks columns.",
                revision, other, table=renamed["table"],
            )  # fmt: skip


def dropped_relation(
    revision: Revision, statement: Statement, change: Change, later: set[str]
) -> Iterator[Finding]:
    name, kind = shown(change["relation"]), change["kind"]
    if kind in "rp":
        yield make(
            "drop-table", Verdict.DATA_LOSS,
            f"{name} is dropped with all its rows; a downgrade brings back the table only.",
            revision, statement, table=change["table"],
            rewrite=renames.dropped(
                change["relation"], facts_of(statement, change["relation"]), statement["sql"]
            ),
        )  # fmt: skip
    elif (
        kind == "m"
        and change["relation"] in later
        and no_longer_unique(revision, statement, change)
    ):
        yield make(
            "view-loses-index", Verdict.BREAKS_OLD_CODE,
            f"{name} is made again without a unique index: REFRESH MATERIALIZED VIEW CONCURRENTLY,"
            " which code that still runs may do, is refused.",
            revision, statement, table=change["table"],
        )  # fmt: skip
    elif kind in "vm" and change["relation"] in later:
        gone = columns_gone(revision, change)
        yield make(
            "view-loses-column" if gone else "view-made-again",
            Verdict.BREAKS_OLD_CODE if gone else Verdict.STYLE,
            f"{name} has no {', '.join(gone)} any more; code that still runs may read it." if gone
            else f"{name} is dropped and made again: what people were granted on it is gone, which"
            " CREATE OR REPLACE VIEW, where columns are added at the end only, leaves as it is.",
            revision, statement, table=change["table"],
        )  # fmt: skip
    elif change["relation"] not in later and (kind != "S" or not owner_is_gone(statement, change)):
        words = {"v": "view", "m": "view", "S": "sequence", "f": "table"}[kind]
        yield make(
            f"drop-{words}", Verdict.BREAKS_OLD_CODE,
            f"{name} is dropped; code that still runs may use it.",
            revision, statement, table=change["table"],
        )  # fmt: skip


def no_longer_unique(revision: Revision, statement: Statement, dropped: Change) -> bool:
    """Had the materialized view a unique index over all of it, and has it none now?"""

    def whole(index: Mapping[str, Any]) -> bool:
        definition = str(index["definition"])
        return columns_in(definition) is not None and " WHERE " not in definition

    changes = [one for _, one in changes_of(revision)]
    renamed = {one["relation"] for one in changes if one.get("to") == dropped["relation"]}
    before = (facts_of(statement, dropped["relation"]).get("indexes") or {}).values()
    return any(map(whole, before)) and not any(
        whole(one) and one["table"] in {dropped["relation"], *renamed}
        for one in changes
        if one["what"] == "index-created"
    )


def columns_gone(revision: Revision, dropped: Change) -> list[str]:
    """Columns of a view that what comes under its name does not have."""
    for _, change in changes_of(revision):
        if change["what"] == "relation-created" and change["relation"] == dropped["relation"]:
            now = change["columns"]
            return [one for one in dropped["columns"] if now and one not in now]
    return []


def owner_is_gone(statement: Statement, sequence: Change) -> bool:
    """A sequence that went with its column, or with an identity or default that is gone."""
    return any(
        c["what"] in {"relation-dropped", "column-dropped", "column-identity", "column-default"}
        and c is not sequence
        and c.get("kind") != "S"
        for c in statement["changes"]
    )


def is_own(revision: Revision, change: Change, kind: str) -> bool:
    """Was it made by this revision, or had it no user left but what the revision dropped?"""
    for statement in revision["statements"]:
        for other in statement.get("changes", ()):
            if other["what"] == f"{kind}-created" and other["name"] == change["name"]:
                return True
            if other["what"] == f"{kind}-renamed" and other["to"] == change["name"]:
                return True
            if other["what"] in {"relation-dropped", "column-dropped", "column-type"}:
                return True
            # In the same statement it is CASCADE: what the trigger did is simply gone.
            if kind == "function" and other["what"] == "trigger-dropped":
                return not any(c is change for c in statement["changes"])
    return False
