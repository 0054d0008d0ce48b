"""Rules that MySQL and SQLite share: what a schema lost, what a statement did to rows.

The columns before and after each statement are in the trace, so it does not matter whether
Alembic's operations were used or SQL. Nothing is a hazard for a table that the same revision
has created.
"""

import re
from collections.abc import Iterator

from toolkit.migration.review.findings import (
    COMMENTS,
    TO_NULL,
    Change,
    Revision,
    Statement,
    changes_of,
    make,
    plain,
    verb,
)
from toolkit.report.finding import Finding, Verdict
from toolkit.report.quoting import word

TARGET = re.compile(
    r'^(?:UPDATE|DELETE(?:\s+[`"]?\w+[`"]?)?\s+FROM|TRUNCATE(?:\s+TABLE)?)\s+[`"]?(?P<name>\w+)',
    re.IGNORECASE,
)
ALWAYS = re.compile(r"\bWHERE (?:TRUE|1 ?= ?1|1)\s*;?$")
# By what names are like: which columns are a key, the trace does not have.
ONE_ROW = re.compile(
    r"\bWHERE [\w.`\"]*(?:ID|KEY|CODE|NAME|EMAIL|SLUG)[`\"]? ?="
    r" ?(?:''|\d+|%S|%\(\w+\)S|\?|:\w+) ?;?$"
)
PARTITION_GOES = re.compile(r"^ALTER TABLE (?P<table>\S+) (?:DROP|TRUNCATE) PARTITION\b")
BATCHED = re.compile(r"\bLIMIT\b|\bBETWEEN\b|\bROWID\b|[<>]|\bIN ?\(")
# A rebuild's own line: the counter of the old table takes this one's place (#13).
COUNTER_MOVES = re.compile(
    r"DELETE FROM sqlite_sequence WHERE name = '(?P<table>.*)' AND EXISTS "
    r"\(SELECT 1 FROM sqlite_sequence WHERE name = '(?P=table) kept'\)"
)


def failed(revision: Revision, database: str, debris: str = "") -> Iterator[Finding]:
    """The statement, or the Python, that stopped the revision."""
    error = revision["error"]
    if error is None:
        return
    last = revision["statements"][-1] if revision["statements"] else None
    statement = last if last is not None and last["error"] else None
    words = statement["error"] if statement else f"{error['type']}: {error['message']}"
    down = revision["direction"] == "downgrade"
    yield make(
        "downgrade-fails" if down else "does-not-run",
        Verdict.IRREVERSIBLE if down else Verdict.FAILS,
        ("The way back is closed." if down else "It stops on an empty database already.") + debris,
        revision, statement,
        evidence=[f"{database if statement else 'Python'}: {words}"], line=error["line"],
    )  # fmt: skip


def lost_or_renamed(
    revision: Revision, statement: Statement, change: Change, added: list[Change]
) -> Iterator[Finding]:
    """`added`: the columns that the same revision adds, to know a rename by drop and add."""
    if not change["existed"]:
        return
    table, column = change["table"], change.get("column")
    what = change["what"]
    if what == "table-dropped":
        yield make(
            "drop-table", Verdict.DATA_LOSS,
            f"{table} is dropped with all its rows; a downgrade brings back the table only.",
            revision, statement, table=table,
        )  # fmt: skip
    elif what == "column-dropped":
        yield dropped(revision, statement, change, added)
    elif what == "table-renamed" and takes_name(revision, table):
        yield make(
            "swap-table", Verdict.DATA_LOSS,
            f"Another table takes the name {table}: what is written to the old one until then is"
            " not in it, and foreign keys and triggers stay with the old one.",
            revision, statement, table=table,
        )  # fmt: skip
    elif what == "table-renamed":
        yield make(
            "rename-table", Verdict.BREAKS_OLD_CODE,
            f"{table} becomes {change['new']}: code that still runs asks for the old name.",
            revision, statement, table=table,
        )  # fmt: skip
    elif what == "default-dropped" and not (change["nullable"] and change["was_nullable"]):
        words = (
            "loses its default and NOT NULL: inserts that leave it out store NULL, which code that"
            " still runs has never read. MODIFY and CHANGE keep only what they name."
            if change["nullable"]
            else "is NOT NULL and loses its default: inserts that leave it out fail."
        )
        yield make(
            "drop-default", Verdict.BREAKS_OLD_CODE, f"{table}.{column} {words}",
            revision, statement, table=table,
        )  # fmt: skip
    elif what == "column-renamed":
        yield make(
            "rename-column", Verdict.BREAKS_OLD_CODE,
            f"{table}.{column} becomes {change['new']}: code that still runs asks for the old name."
            " Two columns that a trigger keeps equal live through the deploy: --expand-contract"
            " writes them.",
            revision, statement, table=table,
        )  # fmt: skip
    elif what == "view-dropped":
        yield make(
            "drop-view", Verdict.BREAKS_OLD_CODE,
            f"The view {table} is dropped: code that still runs may read it.",
            revision, statement, table=table,
        )  # fmt: skip
    elif what == "view-column-dropped":
        yield make(
            "view-loses-column", Verdict.BREAKS_OLD_CODE,
            f"The view {table} has no {column} any more; code that still runs may read it.",
            revision, statement, table=table,
        )  # fmt: skip


def takes_name(revision: Revision, table: str) -> bool:
    """Does another table, not a view, come under the name that this one gives up?"""
    return any(
        table == (change["new"] if change["what"] == "table-renamed" else change["table"])
        for _, change in changes_of(revision)
        if change["what"] in {"table-renamed", "table-created"}
    )


def dropped(
    revision: Revision, statement: Statement, change: Change, added: list[Change]
) -> Finding:
    table, column = change["table"], change["column"]
    twin = next(
        (a["column"] for a in added if a["table"] == table and a["type"] == change["type"]), None
    )
    copied = twin and any(
        re.search(rf"\bUPDATE\b.*\b{re.escape(twin)}\b.*=.*\b{re.escape(column)}\b", s["sql"],
                  re.IGNORECASE | re.DOTALL)
        for s in revision["statements"]
    )  # fmt: skip
    if twin and not copied:
        flag = word(f"{table}.{column}:{twin}")
        return make(
            "rename-as-drop-and-add", Verdict.DATA_LOSS,
            f"{table}.{column} is dropped and {twin}, of the same type, is added: if that is a"
            f" rename, say so with --rename {flag}, or its values are gone.",
            revision, statement, table=table,
        )  # fmt: skip
    return make(
        "drop-column", Verdict.DATA_LOSS,
        f"{table}.{column} is dropped with all its values, and code that still runs selects it.",
        revision, statement, table=table,
    )  # fmt: skip


TRIGGER = re.compile(
    r"(?is)CREATE (?:TEMP(?:ORARY)? |OR REPLACE |DEFINER ?= ?\S+ )*TRIGGER"
    r" (?:IF NOT EXISTS )?\S+ .*?\b(?:INSERT|UPDATE|DELETE)\b.*?"
    r" ON [`\"]?(?P<table>\w+)[`\"]?(?P<rest>.*)"
)
FOR_SOME = re.compile(
    r"(?is)\bIF\b(?:(?!\bIF\b).)*?\bEND IF\b|\bCASE\b.*?\bEND\b"
    r"|\bSELECT\b[^;]*\bWHERE\b[^;]*;"
)


def refusing_trigger(
    revision: Revision, statement: Statement, created: set[str]
) -> Iterator[Finding]:
    """One that raises, whatever is written; or leaves it out (SQLite's RAISE(IGNORE))."""
    found = TRIGGER.match(" ".join(COMMENTS.sub(" ", statement["sql"]).split()))
    if statement["error"] or found is None or found["table"] in created:
        return
    body = found["rest"]
    if re.match(r"(?i)(?: FOR EACH ROW)? WHEN\b", body):
        return
    while (shorter := FOR_SOME.sub(" ", body)) != body:
        body = shorter
    if re.search(r"(?i)\bSIGNAL SQLSTATE\b|\bRAISE ?\(", body):
        yield make(
            "trigger-refuses", Verdict.BREAKS_OLD_CODE,
            f"A trigger of {found['table']} raises: what code that still runs writes is refused, or"
            " left out. Deploy the code that does without before.",
            revision, statement, table=found["table"],
        )  # fmt: skip


def held_rows(
    revision: Revision, statement: Statement, words: str, created: set[str]
) -> Iterator[Finding]:
    """SELECT ... FOR UPDATE: nothing changes, and writers wait all the same."""
    found = re.match(r"(?i)SELECT .*? FROM [`\"]?(\w+)", " ".join(statement["sql"].split()))
    holds = re.search(r"\bFOR UPDATE\b|\bFOR SHARE\b|\bLOCK IN SHARE MODE\b", words)
    if found is None or holds is None or found[1] in created:
        return
    condition = words[: holds.start()].strip()
    if not (ONE_ROW.search(condition) or BATCHED.search(condition)):
        yield make(
            "rows-held", Verdict.BLOCKS,
            f"Rows of {found[1]} are locked until COMMIT: who writes to one of them waits. Lock few"
            " at a time, along the key, each batch a transaction.",
            revision, statement, table=found[1],
        )  # fmt: skip


def rows(revision: Revision, statement: Statement, created: set[str]) -> Iterator[Finding]:
    """UPDATE, DELETE and TRUNCATE, as far as their words leave no doubt."""
    words = plain(statement["sql"])
    yield from refusing_trigger(revision, statement, created)
    yield from held_rows(revision, statement, words, created)
    replaced = statement.get("replaced") or {}
    if replaced.get("left") and replaced["table"] not in created and not statement["error"]:
        yield make(
            "replace-row", Verdict.DATA_LOSS,
            f"A row of {replaced['table']} that has the key is deleted and made anew: what it has"
            f" in {', '.join(replaced['left'])} is gone, and what refers to it by CASCADE. An"
            " upsert (ON CONFLICT DO UPDATE, ON DUPLICATE KEY UPDATE) leaves the rest.",
            revision, statement, table=replaced["table"],
        )  # fmt: skip
    if not statement["error"] and PARTITION_GOES.match(words):
        yield make(
            "drop-partition", Verdict.DATA_LOSS,
            "A partition is dropped or emptied with all its rows; a downgrade does not bring them"
            " back.",
            revision, statement,
        )  # fmt: skip
    found = TARGET.match(" ".join(statement["sql"].split()))
    if statement["error"] or found is None or found["name"] in created:
        return
    table, kind = found["name"], verb(statement["sql"])
    if COUNTER_MOVES.fullmatch(" ".join(statement["sql"].split())):
        return
    everything = " WHERE " not in f"{words} " or bool(ALWAYS.search(words))
    limited = " LIMIT " in f"{words} "
    if kind == "TRUNCATE":
        yield make(
            "truncate", Verdict.DATA_LOSS, f"{table} is emptied.", revision, statement, table=table
        )
    elif kind == "DELETE" and everything and not limited:
        yield make(
            "delete-all-rows", Verdict.DATA_LOSS, f"All rows of {table} are deleted.",
            revision, statement, table=table,
        )  # fmt: skip
    elif kind == "DELETE" and not ONE_ROW.search(words):
        yield make(
            "delete-rows", Verdict.DATA_LOSS,
            f"Rows of {table} are deleted; a downgrade does not bring them back.",
            revision, statement, table=table,
        )  # fmt: skip
    elif kind == "UPDATE" and everything and TO_NULL.search(words):
        yield make(
            "values-removed", Verdict.DATA_LOSS,
            f"Values of all rows of {table} are set to NULL; a downgrade does not bring them back.",
            revision, statement, table=table,
        )  # fmt: skip
    elif kind == "UPDATE" and everything and not limited:
        yield make(
            "update-all-rows", Verdict.BLOCKS,
            f"All rows of {table} are changed in one transaction: writers wait until COMMIT.",
            revision, statement, table=table,
        )  # fmt: skip
    elif (
        kind == "UPDATE"
        and re.search(r"\bWHERE\b.*\bIS NULL\b", words)
        and not BATCHED.search(words.partition(" WHERE ")[2])
    ):
        yield make(
            "backfill-not-batched", Verdict.BLOCKS,
            f"All rows of {table} that have no value yet are changed in one transaction: writers"
            " wait until COMMIT.",
            revision, statement, table=table,
        )  # fmt: skip
