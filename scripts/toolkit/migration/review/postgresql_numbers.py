"""Sequences that give numbers again which rows have: inserts of code that still runs fail."""

import re
from collections.abc import Iterator

from toolkit.migration.review.findings import Revision, Statement, make, plain, shown
from toolkit.migration.review.forms import columns
from toolkit.migration.review.forms.writing import IDENTITY
from toolkit.report.finding import Finding, Verdict

SET_TO_NUMBER = re.compile(
    r"\bSETVAL ?\( ?(?:''(?: ?:: ?REGCLASS)?|PG_GET_SERIAL_SEQUENCE ?\( ?'' ?, ?'' ?\)) ?, ?\d"
)
RESTARTED = re.compile(r"^ALTER (?:SEQUENCE|TABLE) .*\bRESTART\b")
BACKWARDS = re.compile(r"^ALTER (?:SEQUENCE|TABLE) .*\bINCREMENT (?:BY )?-")
MAXIMUM = re.compile(r"^ALTER (?:SEQUENCE|TABLE) .*\bMAXVALUE (?P<number>\d+)")
SAYS_NUMBER = re.compile(r"\bSETVAL ?\(|\bRESTART\b|\bSTART (?:WITH )?\d")


def findings_of_numbers(revision: Revision, statement: Statement) -> Iterator[Finding]:
    words = plain(statement["sql"])
    if statement["error"]:
        return
    again = RESTARTED.search(words) or SET_TO_NUMBER.search(words) or BACKWARDS.search(words)
    maximum = MAXIMUM.search(words)
    if maximum and int(maximum["number"]) < 2**31 - 1 and not makes_sequence(revision):
        yield make(
            "sequence-maximum", Verdict.FAILS,
            "A maximum below the number that was given last is refused, and one that is reached"
            " ends the inserts: which it is, an empty database does not tell. Look at last_value.",
            revision, statement,
        )  # fmt: skip
    if again and not makes_sequence(revision):
        yield make(
            "sequence-restarts", Verdict.BREAKS_OLD_CODE,
            "The sequence goes on from a number that rows may have already: inserts fail on the"
            " key. Set it to what the table's rows say: setval(sequence, (SELECT max(id) ...)).",
            revision, statement,
        )  # fmt: skip
    for change in statement.get("changes", ()):
        if change["what"] != "column-identity" or not change["column_existed"]:
            continue
        table, column = change["table"], f"{shown(change['table'])}.{change['column']}"
        go_on = columns.set_to_last(table, change["column"])
        if change["before"] == "" and not says_number(revision, statement):
            yield make(
                "identity-starts-anew", Verdict.BREAKS_OLD_CODE,
                f"The identity of {column} starts at 1, and rows have these numbers: inserts fail"
                f" on the key. Right after it, in the same revision: {go_on}",
                revision, statement, table=table,
            )  # fmt: skip
        elif (change["before"], change["after"]) == ("d", "a"):
            yield make(
                "identity-always", Verdict.BREAKS_OLD_CODE,
                f"{column} becomes GENERATED {IDENTITY['a']}: an insert that gives its number is"
                " refused.",
                revision, statement, table=table,
            )  # fmt: skip


def says_number(revision: Revision, statement: Statement) -> bool:
    """Does it, or one after it, say where to begin?"""
    later = revision["statements"][revision["statements"].index(statement) :]
    return any(SAYS_NUMBER.search(plain(one["sql"])) for one in later)


def makes_sequence(revision: Revision) -> bool:
    return any(
        change["what"] == "relation-created" and change["kind"] == "S"
        for one in revision["statements"]
        for change in one.get("changes", ())
    )
