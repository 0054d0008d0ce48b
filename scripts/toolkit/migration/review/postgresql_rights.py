"""Who may see and do what: rights that are taken away, rows that are hidden."""

import re
from collections.abc import Iterator

from toolkit.migration.review.findings import Revision, Statement, make, plain, shown
from toolkit.migration.review.forms.rows import facts_of
from toolkit.report.finding import Finding, Verdict

INSTEAD = re.compile(r"CREATE (?:OR REPLACE )?RULE .* ON (?:INSERT|UPDATE|DELETE) .*DO INSTEAD\b")
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
    elif INSTEAD.match(words) and (table := next(iter(old_tables(statement)), None)):
        yield make(
            "rule-instead", Verdict.BREAKS_OLD_CODE,
            f"A rule puts something else in the place of what code writes to {shown(table)}: the"
            " statement succeeds, and its rows are not there.",
            revision, statement, table=table,
        )  # fmt: skip
    elif ENABLES.match(words):
        for table in old_tables(statement):
            if facts_of(statement, table).get("policies"):
                continue
            made = policies(revision, table)
            if made and not any("USING (TRUE)" in one for one in made):
                yield make(
                    "row-security", Verdict.BREAKS_OLD_CODE,
                    "Row level security: code that does not yet say what the policy asks for sees"
                    " no row, and can write none. A policy USING (true) lets it through until all"
                    " running code does.",
                    revision, statement, table=table,
                )  # fmt: skip
            elif not made:
                yield make(
                    "row-security-without-policy", Verdict.BREAKS_OLD_CODE,
                    "Row level security without a policy: all but the owner see no row, and can"
                    " write none.",
                    revision, statement, table=table,
                )  # fmt: skip


def old_tables(statement: Statement) -> list[str]:
    """Those that it locks and that were there before."""
    return [
        lock["relation"] for lock in statement["locks"]
        if lock["existed"] and lock["kind"] == "table"
    ]  # fmt: skip


def policies(revision: Revision, table: str) -> list[str]:
    """The words of those that the same revision makes for the table."""
    name = re.escape(table.rpartition(".")[2])
    made = re.compile(rf'(?is)CREATE POLICY .* ON (?:"?\w+"?\.)?"?{name}"?\b')
    return [plain(one["sql"]) for one in revision["statements"] if made.search(one["sql"])]
