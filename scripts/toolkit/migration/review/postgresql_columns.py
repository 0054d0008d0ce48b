"""Columns: what old code reads or leaves out, and what a new type means."""

import re
from collections.abc import Iterator
from typing import Any

from toolkit.migration.review.findings import Revision, Statement, make, plain, shown
from toolkit.migration.review.forms import columns, renames
from toolkit.migration.review.forms.rows import facts_of
from toolkit.migration.review.postgresql_work import parent_of
from toolkit.report.finding import Finding, Verdict

Change = dict[str, Any]


def column_findings(revision: Revision, statement: Statement, change: Change) -> Iterator[Finding]:
    what, table = change["what"], change["table"]
    if parent_of(statement, table) != table:
        return  # said of the parent
    if what == "column-dropped" and change["column_existed"]:
        yield dropped_column(revision, statement, change)
    elif what == "column-name" and change["column_existed"]:
        yield make(
            "rename-column", Verdict.BREAKS_OLD_CODE,
            f"{shown(table)}.{change['before']} becomes {change['after']}: code that still runs"
            " asks for the old name.",
            revision, statement, table=table,
            rewrite=renames.column(
                table, change["before"], change["after"], facts_of(statement, table),
                statement["limits"]["server_version"],
            ),
        )  # fmt: skip
    elif what == "column-added":
        yield from added_column(revision, statement, change)
    elif what == "column-default" and change["not_null"] and change["before"]:
        if not gets_default_again(revision, statement, change):
            yield lost_default(revision, statement, change)
    elif what == "column-type":
        yield from another_type(revision, statement, change)


def another_type(revision: Revision, statement: Statement, change: Change) -> Iterator[Finding]:
    """What a new type means for the values, and for code that sends and reads the old one."""
    table, column = change["table"], f"{shown(change['table'])}.{change['column']}"
    old, new = (
        "enum" if change[f"{when}_enum"] else family(change[key])
        for when, key in (("was", "before"), ("is", "after"))
    )
    if change["column_existed"] and loses(change, statement["sql"]):
        yield make(
            "type-change-loses", Verdict.DATA_LOSS,
            f"{column} becomes {change['after']}, which takes less of a value than"
            f" {change['before']}: the rest is cut off, and a downgrade does not bring it back.",
            revision, statement, table=table,
        )  # fmt: skip
    if change["column_existed"] and change["labels_gone"]:
        gone = ", ".join(map(repr, change["labels_gone"]))
        yield make(
            "enum-value-removed", Verdict.BREAKS_OLD_CODE,
            f"{column} does not take {gone} any more: rows that have it stop the change, and code"
            " that still runs may write it. Deploy code that does not, change the rows, then this.",
            revision, statement, table=table,
        )  # fmt: skip
    elif change["column_existed"] and old and new and old != new:
        yield make(
            "type-of-another-kind", Verdict.BREAKS_OLD_CODE,
            f"{column} holds {change['after']} instead of {change['before']}: code that still runs"
            " sends and compares the old kind, which PostgreSQL refuses, and reads another one.",
            revision, statement, table=table,
        )  # fmt: skip
    if zones(change) and not says_zone(revision, statement):
        yield make(
            "type-change-depends-on-timezone", Verdict.BLOCKS,
            f"{column}: what the values mean is decided by TimeZone, which"
            f" is {statement['limits']['TimeZone']} here. Where it is not UTC, all rows are written"
            " anew while nobody can read the table. Say the zone before:"
            " SET LOCAL TimeZone = 'UTC'.",
            revision, statement, table=table,
        )  # fmt: skip


FAMILIES = {
    "text": ("text", "character", "citext", "name"),
    "number": ("smallint", "integer", "bigint", "numeric", "real", "double"),
    "boolean": ("boolean",),
    "uuid": ("uuid",),
    "bytes": ("bytea",),
    "JSON": ("json", "jsonb"),
    "time": ("date", "timestamp", "time", "interval"),
}


def family(kind: str) -> str:
    """Of types whose values a driver sends alike; empty for all others, and for arrays."""
    word = re.split(r"[\s(]", kind)[0]
    found = (name for name, words in FAMILIES.items() if word in words)
    return next(found, "") if not kind.endswith("[]") else f"{family(kind[:-2])}[]"


WHOLE = ("smallint", "integer", "bigint")
CUTS = re.compile(r"\b(?:LEFT|SUBSTR|SUBSTRING|TRUNC|ROUND|FLOOR|CEIL|DATE_TRUNC|RPAD) ?\(")
CAST_TO_LENGTH = re.compile(r":: ?(?:VARCHAR|CHAR(?:ACTER)?(?: VARYING)?) ?\(|\bCAST ?\(")


def loses(change: Change, sql: str) -> bool:
    """Is a value that fits cut off, where one that does not stops the change?"""
    before, after = change["before"], change["after"]
    old, new = re.split(r"[\s(]", before)[0], re.split(r"[\s(]", after)[0]
    if before.endswith("[]") or after.endswith("[]"):
        return False
    if family(before) == family(after) == "number":
        if old in ("numeric", "real", "double") and new in WHOLE:
            return scale(before) != 0
        if new == "real":
            return old in ("numeric", "double")
        less, more = scale(after), scale(before)
        if new != "numeric" or old in WHOLE or less is None:
            return False
        return more is None or more > less
    if family(before) == family(after) == "time":
        return (old == "timestamp" and new in ("date", "time")) or digits(after) < digits(before)
    if family(before) == family(after) == "text" and "(" in after:
        using = plain(sql).rpartition(" USING ")[2]
        return bool(CUTS.search(using) or CAST_TO_LENGTH.search(using)) and using != plain(sql)
    return False


def scale(kind: str) -> int | None:
    """Digits after the point; None where there is no limit."""
    found = re.search(r"\(\d+(?:,(-?\d+))?\)", kind)
    return int(found[1] or 0) if found else None


def digits(kind: str) -> int:
    """Of a second's fraction."""
    found = re.match(r"(?:timestamp|time|interval[^(]*)\((\d)\)", kind)
    return int(found[1]) if found else 6


def zones(change: Change) -> bool:
    """A timestamp that gets or loses its time zone."""
    return {"timestamp with", "timestamp without"} == {
        " ".join(re.sub(r"\(\d\)", "", change[key]).split()[:2]) for key in ("before", "after")
    }


def says_zone(revision: Revision, statement: Statement) -> bool:
    """Does the statement, or one before it, say which time zone is meant?"""
    before = revision["statements"][: revision["statements"].index(statement)]
    return "AT TIME ZONE" in plain(statement["sql"]) or any(
        re.match(r"SET (?:LOCAL |SESSION )?TIME ?ZONE\b", plain(one["sql"])) for one in before
    )


def dropped_column(revision: Revision, statement: Statement, change: Change) -> Finding:
    table, column = change["table"], change["column"]
    if change["generated"]:
        return make(
            "drop-generated-column", Verdict.BREAKS_OLD_CODE,
            f"{shown(table)}.{column} is dropped; it can be computed again, but code that still"
            " runs reads it.",
            revision, statement, table=table,
        )  # fmt: skip
    for other in revision["statements"]:
        for added in other.get("changes", ()):
            if (
                added["what"] == "column-added"
                and (added["table"], added["type"]) == (table, change["type"])
                and added["column"] != column
            ):
                return make(
                    "rename-as-drop-and-add", Verdict.DATA_LOSS,
                    f"{shown(table)}.{column} is dropped and {added['column']} of the same type is"
                    " added: if this is a rename, all values are lost.",
                    revision, statement, table=table,
                    rewrite=renames.column(
                        table, column, added["column"], facts_of(statement, table),
                        statement["limits"]["server_version"],
                    ),
                )  # fmt: skip
    return make(
        "drop-column", Verdict.DATA_LOSS,
        f"{shown(table)}.{column} is dropped with all its values, and code that still runs selects"
        " it; a downgrade brings back the column only.",
        revision, statement, table=table,
        rewrite=columns.dropped(table, column, facts_of(statement, table)),
    )  # fmt: skip


def added_column(revision: Revision, statement: Statement, change: Change) -> Iterator[Finding]:
    table, column = change["table"], change["column"]
    fills = change["default"] or change["identity"] or change["generated"]
    if change["not_null"] and not fills:
        yield make(
            "add-not-null-column", Verdict.FAILS,
            f"{shown(table)}.{column} is NOT NULL without a default: refused as soon as the table"
            " has a row, and inserts of code that still runs fail.",
            revision, statement, table=table, rewrite=columns.added_not_null(table, change),
        )  # fmt: skip
    if change["type"] == "json":
        yield make(
            "json-column", Verdict.STYLE,
            f"{shown(table)}.{column} is json, which has no equality: SELECT DISTINCT on the table"
            " fails. Use jsonb.",
            revision, statement, table=table,
        )  # fmt: skip


def lost_default(revision: Revision, statement: Statement, change: Change) -> Finding:
    table, column = change["table"], change["column"]
    new = not change["column_existed"]
    # An identity, or a default that goes with its sequence: nobody writes such a column.
    numbered = any(
        (c["what"] == "column-identity" and c["table"] == table and c["column"] == column)
        or (c["what"] == "relation-dropped" and c["kind"] == "S")
        for c in statement["changes"]
    )
    rule = "drop-default"
    if new or numbered:
        rule = "drop-default-of-new-column" if new else "drop-identity"
    return make(
        rule,
        Verdict.BREAKS_OLD_CODE,
        f"{shown(table)}.{column} is NOT NULL and loses its default: inserts that leave it out"
        + (", as all code that still runs does, fail." if new else ", fail."),
        revision, statement, table=table,
        rewrite=columns.without_default(
            change, facts_of(statement, table), default_of_new(revision, change)
        ),
    )  # fmt: skip


def gets_default_again(revision: Revision, statement: Statement, change: Change) -> bool:
    """Does a later statement give the column another default, or an identity?"""
    later = revision["statements"][revision["statements"].index(statement) + 1 :]
    return any(
        c["what"] == "column-default"
        and c["after"]
        and (c["table"], c["column"]) == (change["table"], change["column"])
        for other in later
        for c in other.get("changes", ())
    )


def default_of_new(revision: Revision, change: Change) -> str:
    """The default that the same revision added the column with."""
    return next(
        (
            str(c.get("expression") or "")
            for statement in revision["statements"]
            for c in statement.get("changes", ())
            if c["what"] == "column-added"
            and (c["table"], c["column"]) == (change["table"], change["column"])
        ),
        "",
    )
