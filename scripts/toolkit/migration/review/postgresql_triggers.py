"""Triggers that a revision makes or takes away: what they do to the writes of code that runs."""

import re
from collections.abc import Iterator
from typing import Any

from toolkit.migration.review.findings import COMMENTS, Revision, Statement, make, shown
from toolkit.report.finding import Finding, Verdict

Change = dict[str, Any]

MADE = re.compile(
    r"(?is)CREATE (?:OR REPLACE )?(?:CONSTRAINT )?TRIGGER .*?(?P<when>BEFORE|AFTER|INSTEAD OF)"
    r" (?P<events>.*?) ON .*?(?P<condition>WHEN \(.*\) )?EXECUTE (?:FUNCTION|PROCEDURE)"
    r" (?P<function>[\w.\"]+)"
)
FUNCTION = re.compile(
    r"(?is)CREATE (?:OR REPLACE )?FUNCTION (?P<name>[\w.\"]+) ?\(.*RETURNS TRIGGER\b"
)
BODY = re.compile(r"(?s)\$(?P<tag>\w*)\$(?P<body>.*)\$(?P=tag)\$")
CHOICE = re.compile(
    r"(?is)\bIF\b(?P<condition>(?:(?!\bIF\b).)*?)\bTHEN\b(?:(?!\bIF\b).)*?\bEND IF\b"
)
HANDLER = re.compile(r"(?is)\bEXCEPTION WHEN\b.*?\bEND\b")
RAISES = re.compile(r"(?i)\bRAISE\b(?! (?:DEBUG|LOG|INFO|NOTICE|WARNING)\b)")
SWALLOWS = re.compile(r"(?i)\bRETURN NULL\b")


def findings_of_trigger(
    revision: Revision, statement: Statement, change: Change
) -> Iterator[Finding]:
    """Of one that is made, or dropped, on a table that was there before."""
    table, name = change["table"], change["name"]
    if change["internal"]:
        return
    if change["what"] == "trigger-created":
        found = MADE.search(flat(statement["sql"]))
        if found is None or found["condition"]:
            return
        body = body_of(revision, found["function"])
        per_row = "FOR EACH ROW" in flat(statement["sql"]).upper() and found["when"] != "AFTER"
        if words := what_it_refuses(body, columns_added(revision, table), per_row=per_row):
            yield refuses(
                revision, statement, f"The trigger {name} of {shown(table)}", words, table
            )
    elif change["what"] == "trigger-dropped" and not told_otherwise(revision, statement, change):
        yield make(
            "drop-trigger", Verdict.BREAKS_OLD_CODE,
            f"The trigger {name} of {shown(table)} is gone: what it did for code that still runs is"
            " not done.",
            revision, statement, table=table,
        )  # fmt: skip


def findings_of_function(revision: Revision, statement: Statement) -> Iterator[Finding]:
    """A trigger's function that gets another body, which raises."""
    found = FUNCTION.match(flat(statement["sql"]))
    made = any(
        change["what"] == "function-created"
        for one in revision["statements"]
        for change in one.get("changes", ())
        if one is statement or body_is_of(one, found["name"] if found else "")
    )
    if found is None or made or statement["error"]:
        return
    if words := what_it_refuses(flat(statement["sql"]), set(), per_row=False):
        yield refuses(revision, statement, f"The trigger function {found['name']}", words, None)


def refuses(
    revision: Revision, statement: Statement, who: str, words: str, table: str | None
) -> Finding:
    return make(
        "trigger-refuses", Verdict.BREAKS_OLD_CODE,
        f"{who} {words}. Deploy the code that does without before.",
        revision, statement, table=table,
    )  # fmt: skip


def flat(sql: str) -> str:
    return " ".join(COMMENTS.sub(" ", sql).split())


def body_is_of(statement: Statement, name: str) -> bool:
    found = FUNCTION.match(flat(statement["sql"]))
    return found is not None and bare(found["name"]) == bare(name)


def bare(name: str) -> str:
    return name.rpartition(".")[2].strip('"').lower()


def body_of(revision: Revision, function: str) -> str:
    """What the revision says of it last; empty where it was there before."""
    bodies = [one["sql"] for one in revision["statements"] if body_is_of(one, function)]
    return flat(bodies[-1]) if bodies else ""


def columns_added(revision: Revision, table: str) -> set[str]:
    """Those that old code does not know."""
    return {
        change["column"].lower()
        for statement in revision["statements"]
        for change in statement.get("changes", ())
        if change["what"] == "column-added" and change["table"] == table
    }


def what_it_refuses(function: str, added: set[str], *, per_row: bool) -> str:
    """In words; empty where it does so only for some rows, as a CHECK would. A choice that old
    code always fails (a new column is NULL) or that asks for its kind of statement is none."""
    found = BODY.search(function)
    text, taken = HANDLER.sub(" END ", found["body"] if found else ""), ""
    while choice := CHOICE.search(text):
        condition = choice["condition"]
        new = re.search(r"(?i)\bNEW\.\"?(\w+)\"? IS NULL\b", condition)
        asks = re.search(r"(?i)\bTG_OP\b[^']*'(?:INSERT|UPDATE)'", condition)
        alone = not re.search(r"(?i)\b(?:AND|NOT)\b", condition)
        if alone and ((new and new[1].lower() in added) or asks):
            taken += choice[0]
        text = text[: choice.start()] + " " + text[choice.end() :]
    if RAISES.search(text + taken):
        return "raises: what code that still runs writes is refused"
    if per_row and SWALLOWS.search(text + taken):
        return "returns NULL: what code that still runs writes is left out, and nobody is told"
    return ""


def told_otherwise(revision: Revision, statement: Statement, dropped: Change) -> bool:
    """Does another come in its place, is what it kept gone as well, or its function, which is a
    finding of its own? Or is it the revision's own?"""
    if any(change["what"] == "function-dropped" for change in statement["changes"]):
        return True
    for other in revision["statements"]:
        for change in other.get("changes", ()):
            if change["what"] == "trigger-created" and change["table"] == dropped["table"]:
                return True
            gone = change["what"] in {"column-dropped", "column-name", "relation-renamed"}
            # It filled the column for old code, of which there can be none now.
            gone = gone or (change["what"] == "column-not-null" and change["after"])
            if gone and change["table"] == dropped["table"]:
                return True
    return False
