"""Verdicts for PostgreSQL, from what was seen and not from how the SQL is written.

The order of proof: a change of the schema says what a statement did, the locks say whom it
kept waiting, `relfilenode` and the counters of scans say for how much work.

A strong lock alone is no finding. ADD COLUMN, DROP CONSTRAINT, SET DEFAULT and their like
take one, for as long as the catalog is written; there is no gentler form, and lock_timeout
is the cure for all of them (one note a run says so when it is not set). `brief-lock` is for
locks that another form of the same change would not take (DROP INDEX CONCURRENTLY), that
last until COMMIT for no work at all (LOCK TABLE), or that come in pairs.

Nothing is a hazard for a table that the same revision has created.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.migration.review.findings import Revision, make, shown
from toolkit.migration.review.forms import indexes
from toolkit.migration.review.forms.writing import Form
from toolkit.migration.review.postgresql_locks import is_strong, lock_findings, several_locks
from toolkit.migration.review.postgresql_numbers import findings_of_numbers
from toolkit.migration.review.postgresql_rights import findings_of_rights
from toolkit.migration.review.postgresql_rows import findings_of_rows
from toolkit.migration.review.postgresql_schema import schema_findings
from toolkit.migration.review.postgresql_triggers import findings_of_function
from toolkit.migration.review.postgresql_work import indexes_together, work_findings
from toolkit.report.finding import Finding, Verdict

REFUSED = (
    (r"cannot run inside a transaction block", "concurrently-in-transaction",
     "PostgreSQL runs this outside of a transaction only: put it into"
     " `with op.get_context().autocommit_block():`."),
    (r"unsafe use of new value", "enum-value-in-transaction",
     "A new enum value can be used after the COMMIT only: add it in a revision of its own, or in"
     " an autocommit_block before."),
    (r'type "[^"]*" already exists', "type-made-again",
     "A revision before made this type, and it is there still: say create_type=False"
     " (sqlalchemy.dialects.postgresql.ENUM) where another table takes it."),
    (r"cannot insert multiple commands", "several-statements",
     "The driver sends one statement at a time: write one op.execute for each."),
)  # fmt: skip


def findings_of_revision(revision: Revision) -> list[Finding]:
    if revision["direction"] == "downgrade":
        return list(failed(revision))
    found: list[Finding] = list(failed(revision))
    later = names_at_the_end(revision)
    segment, held = None, dict[str, set[str]]()
    for statement in revision["statements"]:
        if statement["segment"] != segment:
            segment, held = statement["segment"], {}
        before = {table: set(modes) for table, modes in held.items()}
        for lock in statement["locks"]:
            if lock["existed"] and lock["kind"] == "table":
                held.setdefault(lock["relation"], set()).add(lock["mode"])
        found += schema_findings(revision, statement, later)
        found += findings_of_rights(revision, statement)
        found += findings_of_function(revision, statement)
        found += findings_of_numbers(revision, statement)
        found += work_findings(revision, statement, held)
        found += lock_findings(revision, statement)
        found += findings_of_rows(revision, statement, before, held)
    refused = {place_of(one) for one in found if one.rule == "add-unique-constant"}
    # Its form would be refused, too.
    found = [one for one in found if one.rule != "unique-scan" or place_of(one) not in refused]
    found = indexes_together(revision, found)
    if not any(one.verdict.rank < Verdict.BRIEF_LOCK.rank for one in found):
        found += several_locks(revision)
    return found


def place_of(finding: Finding) -> tuple[str | None, int | None]:
    return finding.table, finding.line


def findings_of_run(trace: Mapping[str, Any]) -> list[Finding]:
    """One note for all revisions: strong locks without a time limit."""
    for revision in trace["revisions"]:
        for statement in revision["statements"]:
            limit = statement.get("limits", {}).get("lock_timeout")
            strong = [lock for lock in statement["locks"] if lock["existed"] and is_strong(lock)]
            if limit == "0" and strong and revision["direction"] == "upgrade":
                return [
                    make(
                        "no-lock-timeout", Verdict.STYLE,
                        "No lock_timeout: behind one long query a strong lock waits, and all other"
                        " queries wait behind it. SET lock_timeout = '4s' in env.py, and retry.",
                        revision, statement, table=strong[0]["relation"],
                        evidence=[f"{strong[0]['mode']} on {shown(strong[0]['relation'])} with"
                                  " lock_timeout = 0"],
                    )
                ]  # fmt: skip
    return []


def failed(revision: Revision) -> Iterator[Finding]:
    error = revision["error"]
    if error is None:
        return
    last = revision["statements"][-1] if revision["statements"] else None
    statement = last if last is not None and last["error"] else None
    words = str(statement["error"] if statement else f"{error['type']}: {error['message']}")
    rule, advice = "does-not-run", "It stops on an empty database already."
    for pattern, name, text in REFUSED:
        if re.search(pattern, words):
            rule, advice = name, text
    verdict = Verdict.FAILS
    if revision["direction"] == "downgrade":
        rule, verdict, advice = "downgrade-fails", Verdict.IRREVERSIBLE, "The way back is closed."
    who = "PostgreSQL or its driver" if statement else "Python"
    safe = Form()
    if statement is not None and rule == "concurrently-in-transaction":
        safe = indexes.outside(statement["sql"])
    yield make(
        rule, verdict, advice, revision, statement,
        evidence=[f"{who} says: {words}"], rewrite=safe, line=error["line"],
    )  # fmt: skip


def names_at_the_end(revision: Revision) -> set[str]:
    """What is created, or gets this name, in the revision: old code still finds it."""
    names: set[str] = set()
    for statement in revision["statements"]:
        for change in statement.get("changes", ()):
            what = change["what"]
            if what.endswith("-created"):
                names.add(change.get("relation") or change["name"])
            elif what.endswith("-renamed") and "to" in change:
                names.add(change["to"])
    return names
