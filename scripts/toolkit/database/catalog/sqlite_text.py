"""CREATE TABLE and CREATE INDEX of SQLite, taken apart."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .model import Entry

TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)
  | (?P<string>[xX]?'(?:[^']|'')*')
  | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
  | (?P<word>[\w$]+(?:\.\d+)?)
  | (?P<sign><>|<=|>=|==|!=|\|\||<<|>>|->>|->|.)
    """,
    re.VERBOSE | re.DOTALL,
)
CONSTRAINT_WORDS = frozenset({"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"})
COLUMN_WORDS = CONSTRAINT_WORDS - {"FOREIGN"} | {
    "NOT", "NULL", "DEFAULT", "COLLATE", "REFERENCES", "GENERATED", "AS",
}  # fmt: skip


OPERATORS = frozenset(
    {"AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "GLOB", "IS", "CASE", "WHEN", "THEN", "ELSE"}
)


@dataclass(frozen=True)
class Token:
    kind: str
    text: str

    @property
    def word(self) -> str:
        """The keyword that this may be; a quoted name is none."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def name(self) -> str:
        """The identifier without its quotes."""
        if self.kind != "quoted":
            return self.text
        return self.text[1:-1].replace('""', '"').replace("``", "`")

    def __str__(self) -> str:
        """As it is compared: case and the quotes of a plain name say nothing."""
        if self.kind == "word" or (self.kind == "quoted" and re.fullmatch(r"\w+", self.name)):
            return self.name.lower()
        return self.text


@dataclass
class Table:
    """What a CREATE TABLE says."""

    columns: list[Entry] = field(default_factory=list)
    constraints: list[tuple[str, Entry]] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    """STRICT, WITHOUT ROWID."""


def tokens(text: str) -> list[Token]:
    found = (Token(str(match.lastgroup), match[0]) for match in TOKEN.finditer(text))
    return [token for token in found if token.kind != "space"]


def joined(parts: list[Token]) -> str:
    return " ".join(map(str, parts))


def normal(text: str) -> str:
    """The text without what makes no difference: space, case, quotes, comments."""
    return joined(tokens(text))


def written(parts: list[Token]) -> str:
    """As SQL again, case and quotes kept."""
    text = ""
    for before, token in zip([None, *parts], parts, strict=False):
        joins = (
            before is None
            or before.text in {"(", "."}
            or token.text in {")", ",", "."}
            or (token.text == "(" and before.word not in {"", *OPERATORS})
        )
        text += token.text if joins else f" {token.text}"
    return text


def inside(parts: list[Token], start: int) -> tuple[list[Token], int]:
    """What the bracket at `start` encloses, and the place behind its partner."""
    depth = 0
    for place in range(start, len(parts)):
        depth += {"(": 1, ")": -1}.get(parts[place].text, 0)
        if depth == 0:
            return parts[start + 1 : place], place + 1
    return parts[start + 1 :], len(parts)


def stripped(parts: list[Token]) -> list[Token]:
    """Without brackets around the whole: DEFAULT (1) is DEFAULT 1."""
    while parts and parts[0].text == "(" and inside(parts, 0)[1] == len(parts):
        parts = parts[1:-1]
    return parts


def items(parts: list[Token]) -> Iterator[list[Token]]:
    """Divide at the commas that are in no bracket."""
    item: list[Token] = []
    depth = 0
    for token in parts:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.text == "," and depth == 0:
            yield item
            item = []
        else:
            item.append(token)
    if item:
        yield item


def parse_table(text: str) -> Table:
    parts = tokens(text)
    found = Table()
    start = next((n for n, token in enumerate(parts) if token.text == "("), None)
    if start is None or any(token.word == "VIRTUAL" for token in parts[:start]):
        found.options = [joined(parts)]  # CREATE VIRTUAL TABLE: compared as a whole
        return found
    body, end = inside(parts, start)
    found.options = sorted(joined(item) for item in items(parts[end:]))
    for item in items(body):
        if item[0].word in CONSTRAINT_WORDS:
            add_constraint(found, item)
        else:
            add_column(found, item)
    return found


def add_constraint(found: Table, item: list[Token], column: Token | None = None) -> None:
    """A constraint of the table, or of one column: both mean the same."""
    name = None
    if item[0].word == "CONSTRAINT":
        name, item = item[1].name, item[2:]
    if not item:
        return
    kind = item[0].word
    entry: Entry = {"name": name}
    if kind == "CHECK":
        condition, _ = inside(item, 1)
        entry |= {"definition": f"check ( {joined(stripped(condition))} )"}
        entry["parts"] = {"columns": [], "condition": written(stripped(condition))}
        found.constraints.append(("check", entry))
        return
    start = next((n for n, token in enumerate(item) if token.text == "("), None)
    if column is not None and kind != "FOREIGN":
        columns, rest = [column], item[1 + (kind == "PRIMARY") :]
    else:
        assert start is not None
        columns, end = inside(item, start)
        rest = item[end:]
    names = [part[0].name for part in items(columns)]
    entry["parts"] = {"columns": names}
    listed = " , ".join(joined(part) for part in items(columns))
    if kind == "FOREIGN":
        add_reference(found, entry, names, rest)
        return
    entry["definition"] = f"( {listed} )"
    if words := [token.word for token in rest if token.word not in {"", "ASC"}]:
        entry["definition"] += " " + " ".join(words).lower()
    if kind == "PRIMARY":
        entry["parts"]["name"] = name
    found.constraints.append(("primary_key" if kind == "PRIMARY" else "unique", entry))


def add_reference(found: Table, entry: Entry, columns: list[str], rest: list[Token]) -> None:
    """`rest` begins with REFERENCES."""
    referred, place = rest[1].name, 2
    theirs: list[str] = []
    if len(rest) > place and rest[place].text == "(":
        listed, place = inside(rest, place)
        theirs = [part[0].name for part in items(listed)]
    tail = joined(rest[place:]).upper()
    actions = dict(re.findall(r"ON (UPDATE|DELETE) (SET \w+|NO ACTION|\w+)", tail))
    others = re.sub(r"ON (UPDATE|DELETE) (SET \w+|NO ACTION|\w+)", "", tail).split()
    entry["parts"] = {
        "columns": columns,
        "referred_schema": None,
        "referred_table": referred,
        "referred_columns": theirs,
        "on_update": action(actions.get("UPDATE")),
        "on_delete": action(actions.get("DELETE")),
        "deferrable": "DEFERRABLE" in others and "NOT" not in others,
        "deferred": "DEFERRED" in others,
    }
    definition = f"( {' , '.join(columns)} ) references {referred} ( {' , '.join(theirs)} )".lower()
    for event in ("update", "delete"):
        if chosen := entry["parts"][f"on_{event}"]:
            definition += f" on {event} {chosen.lower()}"
    entry["definition"] = " ".join([definition, *others]).lower()
    found.constraints.append(("foreign_key", entry))


def action(rule: str | None) -> str | None:
    return None if rule in {None, "NO ACTION"} else rule


def add_column(found: Table, item: list[Token]) -> None:
    column, rest = item[0], item[1:]
    end = next((n for n, token in enumerate(rest) if token.word in COLUMN_WORDS), len(rest))
    entry: Entry = {
        "name": column.name,
        "type": written(rest[:end]).upper(),
        "nullable": True,
        "on_conflict": None,
        "default": None,
        "collation": None,
        "generated": None,
        "autoincrement": any(token.word == "AUTOINCREMENT" for token in rest),
    }
    for clause in clauses(rest[end:]):
        read_clause(found, entry, column, clause)
    # Such a column makes a number of a text that is one: DEFAULT '1' is DEFAULT 1.
    number = re.fullmatch(r"'(-?\d+(?:\.\d+)?)'", entry["default"] or "")
    if number and entry["type"] and not re.search("CHAR|CLOB|TEXT|BLOB", entry["type"]):
        entry["default"] = number[1].replace("-", "- ")  # as two words are put together
    found.columns.append(entry)


def clauses(parts: list[Token]) -> Iterator[list[Token]]:
    """Divide where a column's next clause begins."""
    clause: list[Token] = []
    place = 0
    while place < len(parts):
        token = parts[place]
        starts = token.word in COLUMN_WORDS
        words = [one.word for one in clause]
        # `NOT NULL`, `ON DELETE SET NULL`, `DEFAULT NULL`, `NOT DEFERRABLE`, `ALWAYS AS`
        continues = (
            (token.word == "NULL" and words[-1:] in (["NOT"], ["SET"], ["DEFAULT"]))
            or (token.word == "DEFAULT" and words[-1:] == ["SET"])
            or (token.word == "NOT" and _next_word(parts, place) == "DEFERRABLE")
            or (token.word == "AS" and words[:1] in (["GENERATED"], ["CONSTRAINT"]))
            or (words[:1] == ["CONSTRAINT"] and len(words) == 2)
            or words[-1:] == ["CONSTRAINT"]
        )
        if starts and clause and not continues:
            yield clause
            clause = []
        if token.text == "(":
            _, end = inside(parts, place)
            clause += parts[place:end]
            place = end
        else:
            clause.append(token)
            place += 1
    if clause:
        yield clause


def _next_word(parts: list[Token], place: int) -> str:
    return parts[place + 1].word if place + 1 < len(parts) else ""


def read_clause(found: Table, entry: Entry, column: Token, clause: list[Token]) -> None:
    name = clause[:2] if clause[0].word == "CONSTRAINT" else []
    bare = clause[len(name) :]
    first = bare[0].word if bare else ""
    if first == "NOT":
        entry["nullable"] = False
        entry["on_conflict"] = joined(bare[2:]) or None
    elif first == "DEFAULT":
        entry["default"] = written(stripped(bare[1:]))
    elif first == "COLLATE":
        entry["collation"] = bare[1].name.upper()
    elif first in {"GENERATED", "AS"}:
        start = next(n for n, token in enumerate(bare) if token.text == "(")
        expression, end = inside(bare, start)
        stored = any(token.word == "STORED" for token in bare[end:])
        entry["generated"] = {"expression": joined(stripped(expression)), "stored": stored}
    elif first == "REFERENCES":
        reference: Entry = {"name": name[1].name if name else None}
        add_reference(found, reference, [column.name], bare)
    elif first in {"PRIMARY", "UNIQUE", "CHECK"}:
        add_constraint(found, clause, column)


def parse_index(text: str) -> Entry:
    parts = tokens(text)
    start = next(n for n, token in enumerate(parts) if token.text == "(")
    columns, end = inside(parts, start)
    where = stripped(parts[end + 1 :])
    keys = list(items(columns))
    return {
        "unique": parts[1].word == "UNIQUE",
        "definition": f"( {' , '.join(joined(key) for key in keys)} )"
        + (f" where {joined(where)}" if where else ""),
        "parts": {
            "keys": [
                {"text": written(key), "column": key[0].name if len(key) == 1 else None}
                for key in keys
            ],
            "where": written(where) if where else None,
        },
    }
