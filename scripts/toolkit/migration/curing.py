"""Run a draft up, down and up; what Alembic could not write into it is added, if that is known.

Where only a person knows, the refusal names the flag; where the models are not at fault, it says
what is missing (#13).
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from toolkit.database.alembic_process import AlembicResult
from toolkit.database.catalog import Catalog, Entry, differences
from toolkit.database.scratch import execute
from toolkit.migration.alter_calls import (
    default_aside,
    defaults_aside,
    identity_told,
    type_changes,
    with_using,
)
from toolkit.migration.bench import Bench
from toolkit.migration.examine import Examination
from toolkit.migration.fault import Need, need_of
from toolkit.migration.missed.constraints import create_foreign_key, drop_constraint
from toolkit.migration.missed.insert import add_imports, add_to, find_function
from toolkit.migration.missed.postgresql_text import quote
from toolkit.migration.missed.source import execute as execute_lines
from toolkit.migration.refusal import Refusal
from toolkit.report.exits import Exit
from toolkit.report.quoting import word

CAST = re.compile(
    r"(?P<default>default for )?column \"(?P<column>[^\"]+)\" cannot be cast automatically to type"
    r" (?P<type>[^\n\[]+(?:\[\])*)"
)
TABLE = re.compile(r"ALTER TABLE (?P<table>(?:\"[^\"]+\"|[\w$.])+) ALTER COLUMN")
# What the server says, and the edit of the step that cures it.
EDITS = (
    (re.compile(r"cannot drop type .* because other objects depend on it"), defaults_aside),
    (re.compile(r"is (already )?an identity column"), identity_told),
)
NEEDED_BY_KEY = re.compile(r"Cannot drop index '[^']+': needed in a foreign key constraint")
FUNCTIONS = {"upgrade": "using", "downgrade": "back"}


@dataclass
class Cure:
    """The text as Alembic wrote it, and what was found to be needed since."""

    text: str
    apply: bool
    needs: list[Need] = field(default_factory=list)

    def improved(self, bench: Bench, step: str, result: AlembicResult) -> str | None:
        """The text to try next; None if nothing is known. Raises Refusal with the next step."""
        message = result.message
        if step in FUNCTIONS and NEEDED_BY_KEY.search(message):
            changed = keys_aside(self.text, step, bench.schema())
            if changed == self.text:
                return None
            self.text = changed
            return self.whole()
        if step not in FUNCTIONS or bench.scratch.kind != "postgresql":
            return None
        if found := CAST.search(message):
            place = place_of(found["column"], message)
            if not found["default"]:
                raise unanswered(bench, step, place, found["column"], found["type"].strip())
            changed = default_aside(self.text, step, place)
            if changed == self.text:
                return None
            self.text = changed
            return self.whole()
        for pattern, edit in EDITS:
            if pattern.search(message) and (changed := edit(self.text, step)) != self.text:
                self.text = changed
                return self.whole()
        need = need_of(message) if step == "upgrade" else None
        if need is None or need in self.needs:
            return None
        if not self.apply:
            raise needed(need, message)
        self.needs.append(need)
        return self.whole()

    def whole(self) -> str:
        up = [line for one in self.needs for line in execute_lines(one.up)]
        down = [
            line for one in reversed(self.needs) if one.down for line in execute_lines(one.down)
        ]
        text = add_to(self.text, "upgrade", up, [])
        return add_imports(add_to(text, "downgrade", [], down))


def keys_aside(source: str, function: str, there: Catalog) -> str:
    """MySQL gives up its own index of a foreign key for one that is made, and drops none that a key
    leans on: the key is dropped before, and made again with an index of its own (#13).
    """
    names = {
        node.value
        for node in ast.walk(find_function(ast.parse(source), function))
        if isinstance(node, ast.Constant)
    }
    gone = [one for one in there["index"].values() if one["name"] in names]
    keys = [
        key
        for key in there.get("foreign_key", {}).values()
        if key["name"] not in names and any(leans_on(key, index) for index in gone)
    ]
    anew = [{**key, "name": None} if key["auto_named"] else key for key in keys]
    return add_to(
        source,
        function,
        [line for key in keys for line in drop_constraint("foreign_key", key, None)],
        [line for key in anew for line in create_foreign_key(key, None)],
    )


def leans_on(key: Entry, index: Entry) -> bool:
    columns = key["parts"]["columns"]
    found = index["parts"]["columns"][: len(columns)]
    return bool(index["table"] == key["table"] and found == columns)


def place_of(column: str, message: str) -> str:
    found = TABLE.search(message)
    table = found["table"].replace('"', "") if found else "TABLE"
    return f"{table}.{column}"


def needed(need: Need, message: str) -> Refusal:
    return Refusal(
        "needed-before",
        Exit.PROOF_FAILED,
        f"No revision makes {need.what}, which the models need: {message.splitlines()[0]}",
        f"Run it again with --apply: the revision then begins with {need.line}",
    )


def unanswered(bench: Bench, step: str, place: str, column: str, kind: str) -> Refusal:
    option = FUNCTIONS[step]
    table = ".".join(quote(part) for part in place.split(".")[:-1])
    how = f"{{}}::{kind}"
    try:
        cast = f"SELECT CAST({quote(column)} AS {kind}) FROM {table} LIMIT 0"  # noqa: S608  (quoted)
        execute(bench.scratch.url, cast)
    except SQLAlchemyError as error:  # not even when it is asked to
        made_here = "does not exist" in str(error)  # the type, which the revision itself makes
        how = f"{{}}::text::{kind}" if made_here else "..."
    way = "" if option == "using" else " on the way back"
    return Refusal(
        "unanswered",
        Exit.UNANSWERED,
        f"PostgreSQL converts {place} to {kind}{way} only when it is told how.",
        "Run it again with this; {} is the value that the column has"
        + (", ... what you write." if how == "..." else "."),
        [f"--{option} {word(f'{place}={how}')}"],
    )


def answered(bench: Bench, text: str, using: Mapping[str, str], back: Mapping[str, str]) -> str:
    """The draft with --using and --back. Raises Refusal for an answer that no change asks for."""
    for function, answers in (("upgrade", using), ("downgrade", back)):
        for place, expression in answers.items():
            if bench.scratch.kind != "postgresql" or not type_changes(text, function, place):
                raise Refusal(
                    "options",
                    Exit.USAGE,
                    f"No change of a type on PostgreSQL asks for --{FUNCTIONS[function]} {place}.",
                    "Write table.column=SQL, or leave it out.",
                )
            column = quote(place.rpartition(".")[2])
            text = with_using(text, function, place, expression.replace("{}", column))
    return text


def unharmed(bench: Bench, seen: Examination) -> bool:
    """Did the step that failed leave the schema as it was?"""
    return not differences(seen.before, bench.schema())
