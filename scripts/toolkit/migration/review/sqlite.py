"""Verdicts for SQLite, whose batch mode makes a table anew to change it.

A rebuilt table is judged by what it was before and what it is then. Its rows are copied in the
one transaction that may write, and what has no name or is no part of the table is not copied:
unnamed CHECKs, triggers.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.database.trace.schema import altered
from toolkit.migration.review.findings import Change, Revision, Statement, changes_of, make, verb
from toolkit.migration.review.statements import failed, lost_or_renamed, rows
from toolkit.report.finding import Finding, Verdict

TEMPORARY = "_alembic_tmp_"
ADDED = re.compile(r"ALTER TABLE [`\"\[]?(?P<table>\w+)[`\"\]]? ADD ", re.IGNORECASE)
STORED = re.compile(r"\bAS \(.*\) STORED\b", re.IGNORECASE)
CLOCK = re.compile(r"\bDEFAULT (?:CURRENT_|\()", re.IGNORECASE)
CHECK = re.compile(r"(?:CONSTRAINT\s+[\"\[`]?\w+[\"\]`]?\s+)?CHECK\s*\(", re.IGNORECASE)


def findings_of_revision(revision: Revision) -> list[Finding]:
    found = list(failed(revision, "SQLite"))
    if revision["direction"] == "downgrade":
        return found
    rebuilt = rebuilds(revision)
    added = [change for _, change in changes_of(revision) if change["what"] == "column-added"]
    created: set[str] = set()
    for statement in revision["statements"]:
        for change in statement.get("changes") or []:
            if change["what"] == "table-created":
                created.add(change["table"])
            if change["what"] == "table-dropped":
                found += cascades(revision, statement, change)
            made_anew = change["what"] == "table-dropped" and change["table"] in rebuilt
            if made_anew and copies(revision, change["table"]):
                continue
            found += lost_or_renamed(revision, statement, change, added)
            found += required(revision, statement, change)
        found += rows(revision, statement, created)
        found += refused_with_rows(revision, statement)
        if verb(statement["sql"]) == "VACUUM" and not statement["error"]:
            found.append(
                make(
                    "vacuum", Verdict.BLOCKS,
                    "The whole file is written anew, and nobody else writes meanwhile; within a"
                    " transaction SQLite refuses it. Not in a migration: do it by hand.",
                    revision, statement,
                )
            )  # fmt: skip
    for table, (statement, before, after) in rebuilt.items():
        found += rebuild_findings(revision, statement, table, before, after)
    return found


def findings_of_run(_trace: Mapping[str, Any]) -> list[Finding]:
    return []


Rebuilt = dict[str, tuple[Statement, dict[str, Any], dict[str, Any]]]


def rebuilds(revision: Revision) -> Rebuilt:
    """Tables that were there before and are made anew: the first definition and the last."""
    dropped: dict[str, tuple[Statement, dict[str, Any]]] = {}
    found: Rebuilt = {}
    for statement, change in changes_of(revision):
        table = change["table"]
        if change["what"] == "table-dropped" and change["existed"]:
            dropped.setdefault(table, (statement, change["before"]))
        elif change["what"] == "table-renamed" and change["new"] in dropped:
            first = dropped[change["new"]]
            found[change["new"]] = (*first, change["after"])
    return found


def required(revision: Revision, statement: Statement, change: Change) -> Iterator[Finding]:
    missing = change["what"] == "column-added" and not change["nullable"] and not change["default"]
    if missing and change["existed"]:
        yield not_null(revision, statement, change["table"], change["column"])


def copies(revision: Revision, table: str) -> bool:
    """Are the rows of a table that is made anew taken along?"""
    taken = rf"INSERT INTO .* FROM \W?{re.escape(table)}\b"
    return any(
        re.search(taken, " ".join(statement["sql"].split()), re.IGNORECASE)
        for statement in revision["statements"]
    )


def refused_with_rows(revision: Revision, statement: Statement) -> Iterator[Finding]:
    """What ADD COLUMN takes on an empty table only."""
    sql = " ".join(statement["sql"].split())
    found = ADDED.match(sql)
    if found is None or statement["error"]:
        return
    what = "a stored generated column" if STORED.search(sql) else "a default that is no constant"
    if STORED.search(sql) or CLOCK.search(sql):
        yield make(
            "add-column-refused", Verdict.FAILS,
            f"{found['table']} gets {what}: SQLite refuses it as soon as there is a row. Batch mode"
            " makes the table anew, which it takes.",
            revision, statement, table=found["table"],
        )  # fmt: skip


def not_null(revision: Revision, statement: Statement, table: str, column: str) -> Finding:
    return make(
        "add-not-null-column", Verdict.FAILS,
        f"{table}.{column} is NOT NULL without a default: SQLite refuses it as soon as there is a"
        " row.",
        revision, statement, table=table,
    )  # fmt: skip


def cascades(revision: Revision, statement: Statement, change: Change) -> Iterator[Finding]:
    """DROP TABLE deletes the rows first, and enforced foreign keys act on that."""
    children = ", ".join(change["cascades"])
    if children and change["existed"]:
        yield make(
            "cascade-delete", Verdict.DATA_LOSS,
            f"Foreign keys are enforced while {change['table']} is dropped, if only to make it"
            f" anew: the rows of {children} that refer to it go with it, or lose that. Turn"
            " PRAGMA foreign_keys off before the transaction, in env.py.",
            revision, statement, table=change["table"],
            evidence=["PRAGMA foreign_keys is 1"],
        )  # fmt: skip


def rebuild_findings(
    revision: Revision,
    statement: Statement,
    table: str,
    before: dict[str, Any],
    after: dict[str, Any],
) -> Iterator[Finding]:
    old, new = before["columns"], after["columns"]
    yield make(
        "table-rebuild", Verdict.BLOCKS,
        f"{table} is made anew: all its rows are copied in one transaction, and nobody else writes"
        " to the database meanwhile.",
        revision, statement, table=table,
    )  # fmt: skip
    renamed = renamed_by(revision, table)
    gone = [name for name in old if name not in new]
    come = [name for name in new if name not in old]
    added = [{"table": table, "column": n, **new[n]} for n in come if n not in renamed.values()]
    for name in gone:
        what = "column-renamed" if renamed.get(name) in come else "column-dropped"
        change = {"what": what, "table": table, "column": name, "existed": True, **old[name]}
        if what == "column-renamed":
            change["new"] = renamed[name]
        yield from lost_or_renamed(revision, statement, change, added)
    for name in come:
        if name not in renamed.values() and not new[name]["nullable"] and not new[name]["default"]:
            yield not_null(revision, statement, table, name)
    for name in (name for name in old if name in new):
        for change in altered(table, name, old[name], new[name]):
            yield from lost_or_renamed(revision, statement, {"existed": True, **change}, added)
            if change["what"] == "type-changed" and cast_loses(revision, change):
                yield make(
                    "type-change-loses", Verdict.DATA_LOSS,
                    f"{table}.{name} is copied by CAST, from {change['before']} to"
                    f" {change['after']}: SQLite makes 0 of a text that is no number, 2026 of a"
                    " date and 1 of 1.5 without a word, and a downgrade does not bring them back.",
                    revision, statement, table=table,
                )  # fmt: skip
    yield from not_copied(revision, statement, table, before, after)


def cast_loses(revision: Revision, change: Change) -> bool:
    """Does batch mode make a number of what may be none, or an integer of one with a fraction?"""
    before, after = str(change["before"]).upper(), str(change["after"]).upper()
    whole, number = re.search("INT|BOOL", before), re.search("REAL|FLOA|DOUB|NUM|DEC", before)
    into_text = re.search("CHAR|CLOB|TEXT|BLOB|JSON", after)
    cast = re.compile(rf"CAST\([^()]*\b{re.escape(change['column'])}\W* AS ", re.IGNORECASE)
    if whole or into_text or (number and "INT" not in after):
        return False
    return any(cast.search(one["sql"]) for one in revision["statements"] if TEMPORARY in one["sql"])


def renamed_by(revision: Revision, table: str) -> dict[str, str]:
    return {
        op["column"]: op["modify_name"]
        for op in revision["operations"]
        if op["op"] == "AlterColumn" and op.get("table") == table and op.get("modify_name")
    } | {
        # INSERT INTO _alembic_tmp_t (new) SELECT t.old FROM t
        old: new
        for statement in revision["statements"]
        for old, new in copied_as(statement["sql"], table)
        if old != new
    }


def copied_as(sql: str, table: str) -> Iterator[tuple[str, str]]:
    """The columns of a batch's copy: from and to."""
    begin, _, rest = " ".join(sql.split()).replace('"', "").partition(" (")
    if begin.upper() != f"INSERT INTO {TEMPORARY}{table}".upper():
        return
    found = re.match(r"(?P<to>[^)]*)\) SELECT (?P<from>.*) FROM ", rest, re.IGNORECASE)
    if found is None:
        return
    to = [name.strip() for name in found["to"].split(",")]
    source = re.split(r",(?![^(]*\))", found["from"])
    for target, expression in zip(to, source, strict=False):
        columns = re.findall(rf"\b{re.escape(table)}\.([^,)]+?)(?= AS |[,)]|$)", expression.strip())
        if len(columns) == 1:
            yield columns[0], target


def not_copied(
    revision: Revision,
    statement: Statement,
    table: str,
    before: dict[str, Any],
    after: dict[str, Any],
) -> Iterator[Finding]:
    unnamed = sum("CONSTRAINT" not in found.upper() for found in CHECK.findall(before["sql"]))
    kept = sum("CONSTRAINT" not in found.upper() for found in CHECK.findall(after["sql"]))
    if kept < unnamed:
        yield make(
            "check-lost", Verdict.DRIFT,
            f"{unnamed - kept} CHECK of {table} has no name, and batch mode does not copy it: give"
            " it a name, or say it again in table_args of batch_alter_table.",
            revision, statement, table=table, evidence=[f"before: {before['sql']}"],
        )  # fmt: skip
    if "AUTOINCREMENT" in before["sql"].upper() and "AUTOINCREMENT" not in after["sql"].upper():
        yield make(
            "autoincrement-lost", Verdict.BREAKS_OLD_CODE,
            f"{table} is no longer AUTOINCREMENT: the key of a row that was deleted is given once"
            " more, to another one. Say it again (sqlite_autoincrement in table_kwargs of"
            " batch_alter_table), and keep the counter in sqlite_sequence.",
            revision, statement, table=table,
        )  # fmt: skip
    lost = sorted(set(before["triggers"]) - set(after["triggers"]))
    back = " ".join(
        s["sql"].upper() for s in revision["statements"] if "TRIGGER" in s["sql"].upper()
    )
    lost = [name for name in lost if f"{name.upper()} " not in f"{back} "]
    if lost:
        yield make(
            "trigger-lost", Verdict.DRIFT,
            f"The triggers of {table} go with the table that is dropped: {', '.join(lost)}. Create"
            " them again after batch_alter_table.",
            revision, statement, table=table,
        )  # fmt: skip
