"""Verdicts on statements that change rows.

The scratch is empty, so how many rows they would touch is not measured. What is: that the
table was there before, and which locks the transaction held. The rest is read from the
statement's words, and only as far as they leave no doubt: no WHERE at all, or one that
names its rows neither by value nor by a part of the table with two ends.
"""

import re
from collections.abc import Iterator

from toolkit.migration.review.findings import (
    COMMENTS,
    TO_NULL,
    Revision,
    Statement,
    make,
    plain,
    shown,
    verb,
)
from toolkit.migration.review.forms.rows import backfill, facts_of
from toolkit.migration.review.forms.writing import Form
from toolkit.report.finding import Finding, Verdict

TARGET = re.compile(
    r"\b(?:UPDATE(?: ONLY)?|DELETE FROM(?: ONLY)?|MERGE INTO|INSERT INTO) +"
    r'(?P<name>"?\w+"?(?:\."?\w+"?)?)',
    re.IGNORECASE,
)
BATCHED = re.compile(r"\b(?:LIMIT|BETWEEN|CTID|FETCH|TABLESAMPLE)\b|% ?\d+ ?=|\bMOD ?\(")
LOWER = re.compile(r"(?<![<>=-])>=?")
UPPER = re.compile(r"<(?![>@])=?")
A_VALUE = r"(?:''|-?\d|\$\d|%\(|%S|:\w|\?|TRUE\b|FALSE\b|ARRAY\b|CAST ?\()"
NAMED = re.compile(
    rf"(?<![<>!])= ?(?:ANY ?\( ?)?{A_VALUE}|(?<!NOT )\bIN ?\( ?{A_VALUE}", re.IGNORECASE
)
FUNCTION = re.compile(
    r"CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE) (?P<name>[\w.\"]+)", re.IGNORECASE
)
HELD = re.compile(r"\bFOR (?:NO KEY )?UPDATE\b|\bFOR SHARE\b")
ALWAYS = re.compile(r"\bWHERE (?:TRUE|1 ?= ?1)\s*;?$")
STRONG = {"ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock", "ShareLock"}


def findings_of_rows(
    revision: Revision, statement: Statement, before: dict[str, set[str]], held: dict[str, set[str]]
) -> Iterator[Finding]:
    """`before`: locks that were held when the statement began; `held`: with its own."""
    word = verb(statement["sql"])
    if word not in {"UPDATE", "DELETE", "WITH", "MERGE", "INSERT", "DO", "SELECT"}:
        return
    if statement["error"]:
        return
    for part in parts(revision, statement):
        yield from one_statement(revision, statement, part, before, held)


def parts(revision: Revision, statement: Statement) -> list[str]:
    """The statements in a statement: of a DO block, and of the revision's own functions that
    it calls. SQL that a block puts together (`EXECUTE format(...)`) is read as it stands."""
    bodies = [inner(statement["sql"])]
    if verb(statement["sql"]) in {"SELECT", "CALL", "DO"}:
        for earlier in revision["statements"]:
            if earlier is statement:
                break
            made = FUNCTION.match(" ".join(COMMENTS.sub(" ", earlier["sql"]).split()))
            if made and re.search(rf"{re.escape(made['name'])}\s*\(", bodies[0]):
                bodies.append(body(earlier["sql"]))
    found = [part for text in bodies for part in text.split(";")]
    written = [k["relation"] for k in statement["locks"] if k["mode"] == "RowExclusiveLock"]
    table = written[0] if written else ""
    dynamic = [
        re.sub(r"'|\|\|", " ", re.sub(r"%(?:\d+\$)?[Is]", table, part))
        for part in found
        if re.search(r"(?i)\bEXECUTE\b", part)
    ]
    return found + dynamic


def one_statement(
    revision: Revision,
    statement: Statement,
    sql: str,
    before: dict[str, set[str]],
    held: dict[str, set[str]],
) -> Iterator[Finding]:
    words = plain(sql)
    found = re.search(r"\b(?<!FOR )(?<!NO KEY )(UPDATE|DELETE|MERGE|INSERT)\b", words)
    target = TARGET.search(" ".join(sql.split()))
    table = target_table(target["name"] if target else "", statement, held)
    locked = sorted(t for t, modes in before.items() if modes & STRONG)
    if found is None and HELD.search(words):
        yield from held_rows(revision, statement, words)
        return
    if found is None or table is None:
        read = [t for t in locked if t in statement["scans"]]
        if read and "LIMIT" not in words:
            yield under_lock(revision, statement, read[0], read, Form())
        return
    kind = found[1]
    adds = kind == "MERGE" and not re.search(r"\bTHEN (?:DELETE|UPDATE)\b", words)
    if kind == "INSERT" or adds:
        read = [t for t in locked if t in statement["scans"]]
        if read:
            yield under_lock(revision, statement, read[0], read, Form())
        return
    yield from changed_rows(revision, statement, table, kind, sql, locked=locked)


def held_rows(revision: Revision, statement: Statement, words: str) -> Iterator[Finding]:
    """SELECT ... FOR UPDATE: nothing changes, and writers wait all the same."""
    tables = [
        lock["relation"] for lock in statement["locks"]
        if lock["existed"] and lock["kind"] == "table" and lock["mode"] == "RowShareLock"
    ]  # fmt: skip
    condition = HELD.sub("", words)
    if tables and not (is_one_row(condition) or names_rows(condition) or is_batch(condition)):
        yield make(
            "rows-held", Verdict.BLOCKS,
            f"Rows of {', '.join(map(shown, tables))} are locked until COMMIT: who writes to one of"
            " them waits. Lock few at a time, along the key, each batch a transaction.",
            revision, statement, table=tables[0],
        )  # fmt: skip


def changed_rows(
    revision: Revision, statement: Statement, table: str, kind: str, sql: str, *, locked: list[str]
) -> Iterator[Finding]:
    """Of UPDATE, DELETE, and of a MERGE that does one of them."""
    words = plain(sql)
    everything = " WHERE " not in f"{words} " or bool(ALWAYS.search(words))
    if kind == "DELETE" and everything:
        yield make(
            "delete-all-rows", Verdict.DATA_LOSS, f"All rows of {shown(table)} are deleted.",
            revision, statement, table=table,
        )  # fmt: skip
        return
    if is_one_row(words) or (kind == "MERGE" and names_rows(words)):
        return
    if kind == "DELETE" or "THEN DELETE" in words:
        yield make(
            "delete-rows", Verdict.DATA_LOSS,
            f"Rows of {shown(table)} are deleted; a downgrade does not bring them back.",
            revision, statement, table=table,
        )  # fmt: skip
    safe = (
        backfill(table, facts_of(statement, table), sql)
        if verb(statement["sql"]) == kind == "UPDATE"
        else Form()
    )
    if locked:
        yield under_lock(revision, statement, table, locked, safe)
    elif everything and TO_NULL.search(words):
        yield make(
            "values-removed", Verdict.DATA_LOSS,
            f"Values of all rows of {shown(table)} are set to NULL; a downgrade does not bring them"
            " back.",
            revision, statement, table=table,
        )  # fmt: skip
    elif everything and "THEN DELETE" not in words:
        yield make(
            "update-all-rows", Verdict.BLOCKS,
            f"All rows of {shown(table)} are changed in one transaction: each stays locked until"
            " COMMIT, and the table doubles in size.",
            revision, statement, table=table, rewrite=safe,
        )  # fmt: skip
    elif not everything and not names_rows(words) and not is_batch(words):
        yield make(
            "backfill-not-batched", Verdict.BLOCKS,
            f"The WHERE names no rows of {shown(table)}, so all that fit are"
            f" {'deleted' if kind == 'DELETE' else 'changed'} in one transaction: each stays locked"
            " until COMMIT.",
            revision, statement, table=table, rewrite=safe,
        )  # fmt: skip


def under_lock(
    revision: Revision, statement: Statement, table: str, locked: list[str], safe: Form
) -> Finding:
    names = ", ".join(map(shown, locked))
    return make(
        "backfill-with-lock", Verdict.BLOCKS,
        f"Rows of {shown(table)} are worked on in the transaction that already locks {names}: the"
        " lock lasts until they are done.",
        revision, statement, table=table,
        evidence=[f"a strong lock on {shown(name)} was held before" for name in locked],
        rewrite=safe,
    )  # fmt: skip


def inner(sql: str) -> str:
    """The body of a DO block; else the SQL itself."""
    return body(sql) if verb(sql) == "DO" else sql


def body(sql: str) -> str:
    """What stands between the first dollar quotes, or else the first quotes."""
    found = re.search(r"\$(\w*)\$(.*)\$\1\$|'((?:[^']|'')*)'", sql, re.DOTALL)
    return (found[2] or found[3] or "") if found else sql


def target_table(name: str, statement: Statement, held: dict[str, set[str]]) -> str | None:
    """The table's full name if it was there before the revision and is written to."""
    written = name.replace('"', "")
    writing = {t for t, modes in held.items() if "RowExclusiveLock" in modes}
    for table in sorted(writing):
        if table == written or table.rpartition(".")[2] == written:
            return table
    if statement["in_transaction"] and name:
        return None
    return written or None


def names_rows(words: str) -> bool:
    """Is a column compared with a value, so that the rows are some? What has no value yet,
    what another table says, and all but a value (`<>`, NOT IN) grow with the table."""
    # Of a WITH, also what it chooses, but not what is set.
    asked = re.sub(r"\bSET\b.*?(?= FROM | WHERE |$)", " ", words)
    condition = asked.partition(" WHERE ")[2]
    if re.search(r"\b(?:FROM|USING) ?\( ?VALUES\b", words):
        return True
    while (
        shorter := re.sub(r"\( ?SELECT\b[^()]*\)|\bEXISTS ?\([^()]*\)", "(ROWS)", condition)
    ) != condition:
        condition = shorter
    return bool(NAMED.search(condition)) and not re.search(r"\bIS NULL\b", condition)


def is_batch(words: str) -> bool:
    """Is there a limit, or a part of the table with a lower and an upper end?"""
    condition = words.partition(" WHERE ")[2]
    if BATCHED.search(words):
        return True
    return bool(LOWER.search(condition) and UPPER.search(condition.replace("<>", "")))


def is_one_row(words: str) -> bool:
    """`WHERE key = value` and nothing that widens it: a row, or some, by name."""
    found = re.search(r"\bWHERE (.*?)(?:\bRETURNING\b.*)?;?$", words)
    if not found or re.search(r"\bOR\b|\bIS NULL\b|\bSELECT\b|<|>|\bLIKE\b|\bNOT\b", found[1]):
        return False
    return bool(re.search(r"(?:=|\bIN ?\() ?(?:''|\d+|\$\d+|%\(?\w*\)?S?|:\w+|\?)", found[1]))
