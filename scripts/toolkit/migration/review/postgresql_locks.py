"""Locks: which are strong, and those that a gentler form of the same change would not take."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.migration.review.findings import Revision, Statement, make, plain, shown
from toolkit.migration.review.forms import constraints, indexes
from toolkit.migration.review.forms.rows import facts_of
from toolkit.report.finding import Finding, Verdict

STRONG = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
UNTIL = {
    "ShareLock": "writers wait",
    "ShareRowExclusiveLock": "writers wait",
    "ExclusiveLock": "writers wait",
    "AccessExclusiveLock": "readers and writers wait",
}


def lock_findings(revision: Revision, statement: Statement) -> Iterator[Finding]:
    strong = [k for k in statement["locks"] if k["existed"] and is_strong(k)]
    tables = [k for k in strong if k["kind"] == "table"]
    if not tables:
        return
    seen = [f"{k['mode']} on {shown(k['relation'])}: {UNTIL[k['mode']]}" for k in tables]
    words = plain(statement["sql"])
    scanned = {*statement["scans"]}
    scanned |= {facts_of(statement, table).get("parent") for table in scanned}
    for change in statement.get("changes", ()):
        table = change.get("table", "")
        if change["what"] == "index-dropped" and change["existed"]:
            if is_made_again(revision, change):
                continue  # said with the build, whose form has both
            yield make(
                "drop-index", Verdict.BRIEF_LOCK,
                f"DROP INDEX locks {shown(table)} against reading until COMMIT.",
                revision, statement, table=table, evidence=seen,
                rewrite=indexes.dropped(change, facts_of(statement, table)),
            )  # fmt: skip
        elif change["what"] == "relation-created" and change.get("partition"):
            yield make(
                "create-partition", Verdict.BRIEF_LOCK,
                "PARTITION OF locks the parent against reading; CREATE TABLE (LIKE ...) and ATTACH"
                " PARTITION does not.",
                revision, statement, table=tables[0]["relation"], evidence=seen,
            )  # fmt: skip
        elif (
            change["what"] == "constraint-added"
            and change["type"] == "f"
            and change["valid"]
            and change["existed"]
            and change["table"] not in scanned
            and change["referred_existed"]
        ):
            yield make(
                "foreign-key-lock", Verdict.BRIEF_LOCK,
                f"REFERENCES locks {shown(change['refers_to'])} against writing until COMMIT.",
                revision, statement, table=table, evidence=seen,
                rewrite=constraints.foreign_key(change, statement, revision),
            )  # fmt: skip
        elif change["what"] == "trigger-switched" and change["enabled"]:
            yield make(
                "enable-trigger", Verdict.STYLE,
                f"Rows that {shown(table)} got while {change['name']} was off stay as they are.",
                revision, statement, table=table, evidence=seen,
            )  # fmt: skip
    if re.match(r"LOCK\b", words):
        yield make(
            "explicit-lock", Verdict.BRIEF_LOCK,
            f"LOCK TABLE holds {shown(tables[0]['relation'])} until COMMIT.",
            revision, statement, table=tables[0]["relation"], evidence=seen,
        )  # fmt: skip


def is_made_again(revision: Revision, dropped: Mapping[str, Any]) -> bool:
    """Is another index built under the same name?"""
    return any(
        change["what"] == "index-created" and change["relation"] == dropped["relation"]
        for statement in revision["statements"]
        for change in statement.get("changes", ())
    )


def several_locks(revision: Revision) -> Iterator[Finding]:
    """Strong locks on several tables, taken one after the other in one transaction."""
    segments: dict[int, dict[str, Statement]] = {}
    for statement in revision["statements"]:
        tables = {
            lock["relation"]
            for lock in statement["locks"]
            if lock["existed"] and lock["kind"] == "table" and lock["mode"] == STRONG[-1]
        }
        known = segments.setdefault(statement["segment"], {})
        for table in sorted(tables - set(known))[:1]:
            known[table] = statement
    for known in segments.values():
        if len(known) > 1:
            *_, (last, statement) = known.items()
            yield make(
                "several-locks", Verdict.BRIEF_LOCK,
                f"One transaction locks {', '.join(map(shown, known))} one after the other: each is"
                " held until the last is had, and code that takes them in another order deadlocks."
                " A revision for each, or transaction_per_migration.",
                revision, statement, table=last,
                evidence=[f"AccessExclusiveLock on {shown(table)}" for table in known],
            )  # fmt: skip


def is_strong(lock: Mapping[str, Any]) -> bool:
    return lock["mode"] in STRONG


def strongest(modes: set[str]) -> str | None:
    return next((mode for mode in reversed(STRONG) if mode in modes), None)
