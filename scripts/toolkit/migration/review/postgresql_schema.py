"""What the schema lost or got, whoever did it: an operation, raw SQL, CASCADE or a function."""

import re
from collections.abc import Iterator
from typing import Any

from toolkit.migration.review.findings import Revision, Statement, make, shown
from toolkit.migration.review.forms import columns, renames
from toolkit.migration.review.forms.rows import facts_of
from toolkit.report.finding import Finding, Verdict

Change = dict[str, Any]


def schema_findings(revision: Revision, statement: Statement, later: set[str]) -> Iterator[Finding]:
    changes = statement.get("changes", ())
    for change in changes:
        what, table = change["what"], change.get("table")
        if not change.get("existed", True):
            continue
        if what == "relation-dropped":
            yield from dropped_relation(revision, statement, change, later)
        elif what == "column-dropped" and change["column_existed"]:
            yield dropped_column(revision, statement, change)
        elif what == "relation-renamed" and change["kind"] in "rpvm":
            whole_schema = any(c["what"] == "schema-renamed" for c in changes)
            if change["relation"] not in later and not whole_schema:
                yield make(
                    "rename-table", Verdict.BREAKS_OLD_CODE,
                    f"{shown(change['relation'])} becomes {shown(change['to'])}: code that still"
                    " runs asks for the old name.",
                    revision, statement, table=table, rewrite=renames.table(
                        change, facts_of(statement, table), statement["limits"]["server_version"]
                    ),
                )  # fmt: skip
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
        elif what == "column-type" and zones(change) and not statement["rewrites"]:
            yield make(
                "type-change-depends-on-timezone", Verdict.STYLE,
                f"{shown(table)}.{change['column']} is not written anew because TimeZone is"
                f" {statement['limits']['TimeZone']} here; where it is not UTC, all of it is.",
                revision, statement, table=table,
                rewrite="op.execute(\"SET LOCAL TimeZone = 'UTC'\")\n",
            )  # fmt: skip
        else:
            yield from object_findings(revision, statement, change, later)


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


def zones(change: Change) -> bool:
    """A timestamp that gets or loses its time zone."""
    return {"timestamp with", "timestamp without"} == {
        " ".join(re.sub(r"\(\d\)", "", change[key]).split()[:2]) for key in ("before", "after")
    }


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
    elif change["relation"] not in later and (kind != "S" or not owner_is_gone(statement, change)):
        words = {"v": "view", "m": "view", "S": "sequence", "f": "table"}[kind]
        yield make(
            f"drop-{words}", Verdict.BREAKS_OLD_CODE,
            f"{name} is dropped; code that still runs may use it.",
            revision, statement, table=change["table"],
        )  # fmt: skip


def owner_is_gone(statement: Statement, sequence: Change) -> bool:
    """A sequence that went with its column, or with an identity or default that is gone."""
    return any(
        c["what"] in {"relation-dropped", "column-dropped", "column-identity", "column-default"}
        and c is not sequence
        and c.get("kind") != "S"
        for c in statement["changes"]
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
