"""Who may see and do what: rights that are taken away, rows that are hidden."""

import re
from collections.abc import Iterable, Iterator

from toolkit.migration.review.findings import COMMENTS, Revision, Statement, make, plain, shown
from toolkit.migration.review.forms.rows import facts_of
from toolkit.report.finding import Finding, Verdict

INSTEAD = re.compile(r"CREATE (?:OR REPLACE )?RULE .* ON (?:INSERT|UPDATE|DELETE) .*DO INSTEAD\b")
ENABLES = re.compile(r"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?\S+ .*ENABLE ROW LEVEL SECURITY")
OWNER = re.compile(r"ALTER (?:TABLE|(?:MATERIALIZED )?VIEW|SEQUENCE) .*\bOWNER TO\b")
NAMED = re.compile(
    r"(?i)(?:ALTER TABLE (?:IF EXISTS )?(?:ONLY )?|(?:CREATE|ALTER|DROP) POLICY .*? ON )"
    r'(?P<name>(?:"[^"]+"|\w+)(?:\.(?:"[^"]+"|\w+))?)'
)
COMMANDS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})


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
    elif OWNER.match(words) and (held := named_table(statement) or old_views(statement)):
        yield make(
            "owner-changed", Verdict.BREAKS_OLD_CODE,
            f"{shown(held[0])} gets another owner: if code that still runs is the one that it has,"
            " it may not read it any more. GRANT it what it needs before.",
            revision, statement, table=held[0],
        )  # fmt: skip
    elif INSTEAD.match(words) and (table := next(iter(old_tables(statement)), None)):
        yield make(
            "rule-instead", Verdict.BREAKS_OLD_CODE,
            f"A rule puts something else in the place of what code writes to {shown(table)}: the"
            " statement succeeds, and its rows are not there.",
            revision, statement, table=table,
        )  # fmt: skip
    else:
        yield from findings_of_policies(revision, statement, words)


def findings_of_policies(revision: Revision, statement: Statement, words: str) -> Iterator[Finding]:
    """Rows that running code does not see, or may not write, any more."""
    for table in named_table(statement):
        facts = facts_of(statement, table)
        made = policies(revision, table)
        if ENABLES.match(words) and not facts.get("policies"):
            if not made:
                yield make(
                    "row-security-without-policy", Verdict.BREAKS_OLD_CODE,
                    "Row level security without a policy: all but the owner see no row, and can"
                    " write none.",
                    revision, statement, table=table,
                )  # fmt: skip
                continue
            hides = not let_through(made)
        else:
            hides = bool(facts.get("row_security")) and (
                (words.startswith("CREATE POLICY ") and not let_through([words], of="RESTRICTIVE"))
                or (words.startswith("ALTER POLICY ") and bool(conditions(words) - {"TRUE"}))
                or (words.startswith("DROP POLICY ") and not let_through(made))
            )
        if hides:
            yield make(
                "row-security", Verdict.BREAKS_OLD_CODE,
                "Row level security: code that does not yet say what the policies ask for sees no"
                " row, or can write none. A policy USING (true), for all commands, lets it through"
                " until all running code does.",
                revision, statement, table=table,
            )  # fmt: skip


def conditions(policy: str) -> set[str]:
    """What stands in USING (...) and WITH CHECK (...)."""
    return set(re.findall(r"\b(?:USING|CHECK) ?\( ?(TRUE(?= ?\))|.)", policy))


def let_through(made: Iterable[str], of: str = "") -> bool:
    """Do they let code through that says nothing: a permissive one for each command, and no
    restrictive one? With `of`: are there none of that kind that ask for something?"""
    free: set[str] = set()
    for policy in made:
        open_to_all = conditions(policy) == {"TRUE"}
        if "AS RESTRICTIVE" in policy:
            if not open_to_all:
                return False
        elif open_to_all:
            found = re.search(r" FOR (SELECT|INSERT|UPDATE|DELETE)\b", policy)
            free |= {found[1]} if found else COMMANDS
    return bool(of) or free >= COMMANDS


def named_table(statement: Statement) -> list[str]:
    """The table that the statement names, if it was there before the revision. Not by its lock,
    which an earlier statement may have taken."""
    found = NAMED.match(" ".join(COMMENTS.sub(" ", statement["sql"]).split()))
    name = found["name"].replace('"', "") if found else ""
    known = sorted(statement["tables"], key=lambda one: not one.startswith("public."))
    return [one for one in known if name in (one, one.rpartition(".")[2])][:1]


def old_views(statement: Statement) -> list[str]:
    kinds = {"view", "sequence"}
    return [k["relation"] for k in statement["locks"] if k["existed"] and k["kind"] in kinds]


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
