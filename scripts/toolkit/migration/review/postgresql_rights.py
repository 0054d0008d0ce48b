"""Who may see and do what: rights that are taken away, rows that are hidden."""

import re
from collections.abc import Iterator

from toolkit.migration.review.findings import Revision, Statement, make, plain
from toolkit.migration.review.forms.rows import facts_of
from toolkit.report.finding import Finding, Verdict

ENABLES = re.compile(r"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?\S+ .*ENABLE ROW LEVEL SECURITY")


def findings_of_rights(revision: Revision, statement: Statement) -> Iterator[Finding]:
    words = plain(statement["sql"])
    if statement["error"]:
        return
    if words.startswith("REVOKE "):
        yield make(
            "revoke", Verdict.BREAKS_OLD_CODE,
            "A right is taken away: code that still runs may use it, and the scratch database does"
            " not know who does.",
            revision, statement,
        )  # fmt: skip
    elif ENABLES.match(words):
        tables = [
            lock["relation"] for lock in statement["locks"]
            if lock["existed"] and lock["kind"] == "table"
        ]  # fmt: skip
        for table in tables or [None]:
            if table is not None and not has_policy(revision, statement, table):
                yield make(
                    "row-security-without-policy", Verdict.BREAKS_OLD_CODE,
                    "Row level security without a policy: all but the owner see no row, and can"
                    " write none.",
                    revision, statement, table=table,
                )  # fmt: skip


def has_policy(revision: Revision, statement: Statement, table: str) -> bool:
    """Is one there, or made by the same revision?"""
    if facts_of(statement, table).get("policies"):
        return True
    name = re.escape(table.rpartition(".")[2])
    made = re.compile(rf'(?is)CREATE POLICY .* ON (?:"?\w+"?\.)?"?{name}"?\b')
    return any(made.search(one["sql"]) for one in revision["statements"])
