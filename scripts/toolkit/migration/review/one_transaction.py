"""What several revisions do to each other where Alembic runs all pending ones in one transaction.

That is its default, without `transaction_per_migration`. Then "in a revision of its own" is no
way out: the locks and the new values of the revisions before are still those of the same
transaction (#15).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolkit.migration.review.findings import Revision, make, shown
from toolkit.report.finding import Finding, Verdict

ADD_VALUE = re.compile(r"(?i)ALTER TYPE (\S+) ADD VALUE (?:IF NOT EXISTS )?'((?:[^']|'')+)'")
STAYS_LOCKED = "NOT VALID"
"""In the statements of earlier revisions of which more than their text is asked."""
SAY = (
    "Alembic runs all pending revisions in one transaction here: give env.py's context.configure"
    " transaction_per_migration=True, or do it in an autocommit_block."
)


def findings_of_set(trace: Mapping[str, Any], before: Sequence[Revision]) -> Iterator[Finding]:
    """`before`: the revisions that come before those of the trace, which are judged."""
    if not trace.get("one_transaction"):
        return
    judged = {revision["revision"] for revision in trace["revisions"]}
    doubted: dict[tuple[str, str], str] = {}
    values: dict[str, tuple[str, str]] = {}
    for revision in [*before, *trace["revisions"]]:
        own, segment = revision["revision"], 0
        if revision["direction"] != "upgrade":
            continue
        for statement in revision["statements"]:
            if not statement["in_transaction"] or statement["segment"] != segment:
                doubted.clear()  # whatever was before is committed
                values.clear()
                segment = statement["segment"]
            if own in judged:
                yield from still_locked(revision, statement, doubted)
                yield from not_yet_there(revision, statement, values)
            note(own, statement, doubted, values)


def note(
    revision: str,
    statement: Mapping[str, Any],
    doubted: dict[tuple[str, str], str],
    values: dict[str, tuple[str, str]],
) -> None:
    for change in statement.get("changes", ()):
        if change["what"] == "constraint-added" and not change["valid"] and change["existed"]:
            doubted[change["table"], change["name"]] = revision
    if found := ADD_VALUE.search(" ".join(statement["sql"].split())):
        values[found[2]] = (found[1], revision)


def still_locked(
    revision: Revision, statement: Mapping[str, Any], doubted: Mapping[tuple[str, str], str]
) -> Iterator[Finding]:
    for change in statement.get("changes", ()):
        added_in = doubted.get((change.get("table", ""), change.get("name", "")))
        if change["what"] == "constraint-validated" and added_in not in (
            None, revision["revision"],
        ):  # fmt: skip
            yield make(
                "validate-with-lock", Verdict.BLOCKS,
                f"{change['name']} is validated in the transaction in which {added_in} added it,"
                f" and which still locks {shown(change['table'])}: all rows are read under that"
                f" lock. {SAY}",
                revision, statement, table=change["table"],
            )  # fmt: skip


def not_yet_there(
    revision: Revision, statement: Mapping[str, Any], values: Mapping[str, tuple[str, str]]
) -> Iterator[Finding]:
    for value, (kind, added_in) in values.items():
        if (
            added_in != revision["revision"]
            and f"'{value}'" in statement["sql"]
            and is_about(kind, revision, statement)
        ):
            yield make(
                "enum-value-in-transaction", Verdict.FAILS,
                f"'{value}' of {kind} is used in the transaction in which {added_in} adds it, which"
                f" PostgreSQL refuses. {SAY}",
                revision, statement,
            )  # fmt: skip


def is_about(kind: str, revision: Revision, statement: Mapping[str, Any]) -> bool:
    """May the statement mean this type? Others have values of the same name, and texts (#12)."""
    name = kind.replace('"', "").rpartition(".")[2]
    columns = [
        column["type"]
        for table in statement.get("tables", {}).values()
        for column in (table["columns"] or {}).values()
    ]
    # The tables are those before the revision: a column that it adds is in its own words.
    words = [*columns, *(one["sql"] for one in revision["statements"])]
    return any(name in one for one in words)
