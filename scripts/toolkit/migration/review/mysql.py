"""Verdicts for MySQL and MariaDB, from the ALGORITHM and LOCK that the server accepted.

INSTANT, NOCOPY and INPLACE with LOCK=NONE let readers and writers go on. COPY writes the table
anew while writers wait; INPLACE with LOCK=SHARED makes them wait for as long. All of them need
the table for a moment at their end: without a lock_wait_timeout they wait a day for it, and
everybody waits behind them.

A change of the schema is committed by itself. A revision of several that stops at one leaves
the others behind, and cannot be run again: said once for each, as style.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.migration.expand_contract.writing import execute, quote
from toolkit.migration.review.findings import (
    Change,
    Revision,
    Statement,
    changes_of,
    make,
    plain,
    verb,
)
from toolkit.migration.review.statements import failed, lost_or_renamed, rows
from toolkit.report.finding import Finding, Verdict

GENTLE = {"INSTANT", "NOCOPY", "INPLACE"}
PATIENT = 60  # seconds; the server's own default is a day
DEBRIS = " MySQL keeps what was done before: repair that by hand before it is run again."


def findings_of_revision(revision: Revision) -> list[Finding]:
    several = sum(bool(statement.get("changes")) for statement in revision["statements"])
    found = list(failed(revision, "MySQL", DEBRIS if several else ""))
    if revision["direction"] == "downgrade":
        return found
    added = [change for _, change in changes_of(revision) if change["what"] == "column-added"]
    created: set[str] = set()
    views = {word for s in revision["statements"] for word in view_of(s)}
    for statement in revision["statements"]:
        changes: list[Change] = statement.get("changes") or []
        created |= {c["table"] for c in changes if c["what"] == "table-created"}
        for change in changes:
            if change["what"] == "table-renamed" and change["table"].upper() in views:
                continue  # a view has the old name
            if verb(statement["sql"]) != "TRUNCATE":
                found += lost_or_renamed(revision, statement, change, added)
            found += required(revision, statement, change)
            found += of_one_value(revision, statement, change, added)
        found += kept_waiting(revision, statement, changes)
        found += rows(revision, statement, created)
        found += later(revision, statement)
    if several > 1:
        found.append(half_way(revision, several))
    return found


def findings_of_run(trace: Mapping[str, Any]) -> list[Finding]:
    """One note for all revisions: changes that would wait for a table for a day."""
    for revision in trace["revisions"]:
        for statement in revision["statements"]:
            limit = int(statement.get("limits", {}).get("lock_wait_timeout", 0))
            old = any(change["existed"] for change in statement.get("changes", ()))
            if limit > PATIENT and old and revision["direction"] == "upgrade":
                return [
                    make(
                        "no-lock-timeout", Verdict.STYLE,
                        "No lock_wait_timeout: behind one open transaction the change waits for its"
                        " table, and all other queries wait behind it. In env.py: SET"
                        " SESSION lock_wait_timeout = 4.",
                        revision, statement,
                        evidence=[f"lock_wait_timeout = {limit}"],
                    )
                ]  # fmt: skip
    return []


def view_of(statement: Statement) -> Iterator[str]:
    words = plain(statement["sql"]).replace("`", "").split()
    if words[:1] == ["CREATE"] and "VIEW" in words[:6]:
        yield words[words.index("VIEW") + 1]


def of_one_value(
    revision: Revision, statement: Statement, change: Change, added: list[Change]
) -> Iterator[Finding]:
    """UNIQUE on new columns that have one value in all rows."""
    if change["what"] != "key-added" or change["kind"] == "FOREIGN KEY" or not change["existed"]:
        return
    table = change["table"]
    alike = {one["column"] for one in added if one["table"] == table and one["one_value"]}
    updated = any(verb(other["sql"]) == "UPDATE" for other in revision["statements"])
    if set(change["columns"]) <= alike and not updated:
        yield make(
            "add-unique-constant", Verdict.FAILS,
            f"{', '.join(change['columns'])} of {table} is new, has one value in all rows and is to"
            " be unique: refused as soon as there are two. Add it as NULL, fill it, and make it"
            " unique then.",
            revision, statement, table=table,
        )  # fmt: skip


def later(revision: Revision, statement: Statement) -> Iterator[Finding]:
    """What an event does when its time comes."""
    words = plain(statement["sql"])
    if re.match(r"CREATE .*\bEVENT\b.* DO .*\b(?:DELETE|TRUNCATE|DROP)\b", words):
        yield make(
            "event-deletes", Verdict.DATA_LOSS,
            "An event takes rows away when its time comes; a downgrade does not bring them back.",
            revision, statement,
        )  # fmt: skip


def required(revision: Revision, statement: Statement, change: Change) -> Iterator[Finding]:
    missing = change["what"] == "column-added" and not change["nullable"] and not change["default"]
    if missing and change["existed"]:
        yield make(
            "add-not-null-column", Verdict.BREAKS_OLD_CODE,
            f"{change['table']}.{change['column']} is NOT NULL without a default: code that still"
            " runs cannot insert any more, and the rows that are there get a value nobody chose.",
            revision, statement, table=change["table"],
        )  # fmt: skip


def kept_waiting(
    revision: Revision, statement: Statement, changes: list[Change]
) -> Iterator[Finding]:
    """COPY, or a lock against writers, on a table that was there before."""
    if verb(statement["sql"]) == "LOCK" and "WRITE" in plain(statement["sql"]):
        yield make(
            "explicit-lock", Verdict.BRIEF_LOCK,
            "LOCK TABLES: readers and writers wait until UNLOCK TABLES.",
            revision, statement,
        )  # fmt: skip
        return
    algorithm, lock = statement["algorithm"], statement["lock"]
    if algorithm is None and lock is None:
        return
    if changes and not any(change["existed"] for change in changes):
        return
    table = table_of(statement)
    if table in made_here(revision, statement):
        return
    locking = lock in ("SHARED", "EXCLUSIVE")
    if (algorithm in GENTLE or algorithm is None) and not locking:
        return
    if algorithm == "COPY" and lock == "NONE":
        return  # MariaDB 11.2: the copy is made beside readers and writers
    rule, words, safe = reason(statement, changes, table)
    who = "readers and writers wait" if lock == "EXCLUSIVE" else "writers wait"
    how = "copied to a new one" if algorithm == "COPY" else "read"
    yield make(
        rule, Verdict.BLOCKS, f"{words}: {table} is {how} while {who}.",
        revision, statement, table=table, rewrite=safe,
        evidence=[f"the gentlest form that the server accepts: ALGORITHM={algorithm}"
                  f"{f', LOCK={lock}' if lock else ''}"],
    )  # fmt: skip


def table_of(statement: Statement) -> str:
    words = " ".join(statement["sql"].split()).replace("`", "").split(" ")
    upper = [word.upper() for word in words]
    after = "ON" if "INDEX" in upper[:4] and "ON" in upper and upper[0] != "ALTER" else "TABLE"
    place = upper.index(after) + 1 if after in upper else 0
    return words[place].split("(")[0] if place < len(words) else ""


def made_here(revision: Revision, until: Statement) -> set[str]:
    made: set[str] = set()
    for statement in revision["statements"]:
        made |= {c["table"] for c in statement.get("changes", ()) if c["what"] == "table-created"}
        if statement is until:
            break
    return made


def reason(statement: Statement, changes: list[Change], table: str) -> tuple[str, str, str]:
    """Rule, words and a safe form."""
    keys = {change.get("kind"): change for change in changes if change["what"] == "key-added"}
    what = {change["what"] for change in changes}
    if "FOREIGN KEY" in keys:
        safe = unchecked_key(statement, keys["FOREIGN KEY"]) if len(changes) == 1 else ""
        return "foreign-key-scan", "Adding the foreign key", safe
    if "CHECK" in keys:
        return "check-scan", "Adding the CHECK", ""
    if "type-changed" in what:
        return "type-change-rewrite", "Changing the type", ""
    if "PRIMARY KEY" in keys:
        return "primary-key-scan", "Changing the primary key", ""
    if "column-added" in what:
        return "add-column-rewrite", "Adding the column", ""
    if " INDEX" in plain(statement["sql"]) or " KEY" in plain(statement["sql"]):
        return "index-not-concurrent", "Building the index", ""
    return "table-copy", "This change", ""


def unchecked_key(statement: Statement, key: Change) -> str:
    """In place; what the old rows refer to is then for a SELECT to see."""
    table, name = (quote(key[one], "mysql") for one in ("table", "name"))
    added = " ".join(statement["sql"].split()).rstrip("; ") + ", ALGORITHM=INPLACE, LOCK=NONE"
    checks = 'op.execute("SET SESSION foreign_key_checks = {}")\n'
    up = checks.format(0) + execute(added) + "\n" + checks.format(1)
    down = execute(f"ALTER TABLE {table} DROP FOREIGN KEY {name}")
    return (
        "# A revision of its own, in place: old rows are not read, so look before for those\n"
        "# without a parent.\n"
        f"def upgrade() -> None:\n{textwrap.indent(up, '    ')}\n\n"
        f"def downgrade() -> None:\n{textwrap.indent(down, '    ')}\n"
    )


def half_way(revision: Revision, several: int) -> Finding:
    return make(
        "half-way", Verdict.STYLE,
        f"{several} changes of the schema in one revision: each is committed by itself, and when"
        " one fails those before it stay. One change a revision can always be run again.",
        revision,
    )  # fmt: skip
