"""Revisions as text: what a form is made of."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.migration.expand_contract.writing import call, execute, in_pieces, quote, short

Change = dict[str, Any]
Facts = dict[str, Any]
"""Of one table, as `trace/postgresql_tables.py` reads them."""


@dataclass(frozen=True)
class Form:
    """Code to paste, or the reason why there is none."""

    text: str = ""
    why_not: str = ""


@dataclass(frozen=True)
class Outside:
    """Statements that are not in the revision's transaction, which is committed before them.

    So the strong locks of the statements above are given back also where Alembic runs all
    pending revisions in one transaction, as it does by default.
    """

    statements: Sequence[str]
    patient: bool = False
    """They wait for older transactions, and nobody waits for them: without a limit on that."""


@dataclass(frozen=True)
class Code:
    """Lines of Python as they stand."""

    text: str


Part = str | Outside | Code
"""A str is a statement in the revision's transaction, which may take a strong lock."""


# Another action of the same ALTER TABLE.
SEVERAL = re.compile(
    r"(?i), ?(?:ADD|DROP|ALTER|RENAME|VALIDATE|SET|RESET|ENABLE|DISABLE|ATTACH|DETACH|OWNER)\b"
)
CASCADE = "CASCADE takes along more than this: drop each thing by its name."
SEVERAL_THINGS = "The statement does several things: give each a statement of its own."


def in_place_of(sql: str, form: Form) -> Form:
    """The form, if it is one for all that the statement does."""
    flat = " ".join(re.sub(r"'(?:[^']|'')*'", "''", sql).split())
    flat = re.sub(r"(?i) ON (?:DELETE|UPDATE) CASCADE\b", "", flat)  # what a foreign key does
    if re.match(r"(?i)(?:DO|SELECT|CALL|WITH)\b", flat):
        return Form(why_not=form.why_not)  # what else its code does is not known
    if re.search(r"(?i)\bCASCADE\b", flat) and not re.match(r"(?i)DROP TABLE\b", flat):
        return Form(why_not=CASCADE)
    while (shorter := re.sub(r"\([^()]*\)", "", flat)) != flat:
        flat = shorter
    lists = re.match(r"(?i)DROP (?:TABLE|INDEX)\b.*,", flat)
    if form.text and (lists or (re.match(r"(?i)ALTER TABLE\b", flat) and SEVERAL.search(flat))):
        return Form(why_not=SEVERAL_THINGS)
    return form


def revision(title: str, up: Sequence[Part], down: Sequence[Part]) -> str:
    """`# title`, `upgrade()` and `downgrade()`."""
    head = "\n".join(f"# {line}" for line in textwrap.wrap(title, 97))
    return f"{head}\n{function('upgrade', up)}\n{function('downgrade', down)}"


def function(name: str, parts: Sequence[Part]) -> str:
    lines: list[str] = []
    limited = False
    for part in parts:
        if isinstance(part, Code):
            lines.append(part.text)
            limited = limited and "autocommit_block" not in part.text
        elif isinstance(part, Outside):
            limited = False
            inside = [*part.statements]
            if part.patient:
                inside = ["SET lock_timeout = 0", *inside, "SET lock_timeout = '4s'"]
            block = "\n".join(textwrap.indent(execute(one), "    ") for one in inside)
            lines.append(f"with op.get_context().autocommit_block():\n{block}")
        else:
            if not limited:  # give up instead of queueing: all queries would wait behind it
                lines.append(execute("SET LOCAL lock_timeout = '4s'"))
                limited = True
            lines.append(execute(part))
    body = textwrap.indent("\n".join(lines or ["pass"]), "    ")
    return f"def {name}() -> None:\n{body}\n"


def several(*revisions: str) -> Form:
    return Form("\n\n".join(revisions))


def sql_name(name: str) -> str:
    return quote(name, "postgresql")


def table_name(relation: str) -> str:
    """`public.users` as `users`, each part quoted where PostgreSQL wants that."""
    schema, _, name = relation.rpartition(".")
    return sql_name(name) if schema in ("", "public") else f"{sql_name(schema)}.{sql_name(name)}"


def bare(relation: str) -> str:
    return relation.rpartition(".")[2]


def beside(relation: str, name: str) -> str:
    """A name in the schema of a relation, such as that of an index."""
    schema = relation.rpartition(".")[0]
    return table_name(f"{schema}.{name}")


def own_name(*words: str) -> str:
    """A name for what the form adds itself."""
    return short("_".join(words))


def braces(sql: str) -> str:
    """For an f-string."""
    return sql.replace("{", "{{").replace("}", "}}")


IDENTITY = {"a": "ALWAYS", "d": "BY DEFAULT"}
"""As the catalog has it, and as SQL says it."""


def serial_sequence(table: str, column: str) -> str:
    """The sequence of a column, as SQL; the names are not quoted yet."""
    return f"pg_get_serial_sequence({text(table_name(table))}, {text(column)})"


def asked(query: str) -> str:
    """A call in the revision that reads."""
    return call("op.get_bind().exec_driver_sql", in_pieces(query.replace("%", "%%")))


def text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"
