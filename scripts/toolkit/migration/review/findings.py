"""Small things that every dialect's rules use."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolkit.migration.review.forms.writing import Form, in_place_of
from toolkit.report.finding import Finding, Verdict

Revision = Mapping[str, Any]
"""One entry of a trace's `revisions`."""
Statement = Mapping[str, Any]
Change = dict[str, Any]
"""One entry of a statement's `changes`."""

COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
STRINGS = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", re.DOTALL)
TO_NULL = re.compile(r"\bSET\b.*[^<>!]= ?NULL\b")
"""Of an UPDATE's plain words: values are taken away, and none is put in their place."""
LONGEST = 160


def changes_of(revision: Revision) -> Iterator[tuple[Statement, Change]]:
    """What each statement did, in order."""
    for statement in revision["statements"]:
        for change in statement.get("changes", ()):
            yield statement, change


def make(
    rule: str,
    verdict: Verdict,
    message: str,
    revision: Revision,
    statement: Statement | None = None,
    *,
    table: str | None = None,
    evidence: Sequence[str] = (),
    rewrite: str | Form = "",
    line: int | None = None,
    source: str = "trace",
) -> Finding:
    """A finding about one statement of a revision; the statement itself is evidence."""
    seen = list(evidence)
    if isinstance(rewrite, Form):
        form = in_place_of(statement["sql"], rewrite) if statement is not None else rewrite
        message = f"{message} {form.why_not}".strip()
        rewrite = form.text
    if statement is not None:
        seen.append(f"statement: {one_line(statement['sql'])}")
        line = statement["line"] or line
    return Finding(
        rule=rule,
        verdict=verdict,
        message=message,
        evidence=tuple(seen),
        table=shown(table) if table else None,
        revision=revision["revision"],
        file=revision["file"],
        line=line,
        rewrite=rewrite,
        source=source,
    )


def shown(name: str) -> str:
    """A table as people write it: without the schema that is everybody's."""
    return name.removeprefix("public.")


def one_line(sql: str) -> str:
    words = " ".join(sql.split())
    return words if len(words) <= LONGEST else words[: LONGEST - 3] + "..."


def plain(sql: str) -> str:
    """SQL in upper case without comments and the insides of strings, for reading words."""
    return " ".join(STRINGS.sub("''", COMMENTS.sub(" ", sql)).split()).upper()


def verb(sql: str) -> str:
    return re.split(r"[\s;(]", plain(sql) + " ", maxsplit=1)[0]


def unique(findings: Sequence[Finding]) -> list[Finding]:
    """Each finding once, in the order of the statements; the same loop line counts once."""
    seen: dict[tuple[str, str | None, str | None, int | None, str], Finding] = {}
    for one in findings:
        seen.setdefault((one.rule, one.table, one.revision, one.line, one.message), one)
    return list(seen.values())
