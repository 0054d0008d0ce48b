"""A statement without its values: what repeated statements have in common."""

import re
from functools import lru_cache

_TOKEN = re.compile(
    r"""
      (?P<comment>/\*.*?\*/|--[^\n]*)
    | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[A-Za-z_][\w ]*\])   # names stay
    | (?P<dollar>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<string>(?:\b[eEnNxXbB])?'(?:[^'\\]|''|\\.)*')
    | (?P<placeholder>\$\d+(?:::[\w."\ ]+?(?:\[\])?(?=[\s,)\]]|$))?
        |%\(\w+\)s(?:::[\w.]+)?|%s(?:::[\w.]+)?|(?<![:\w]):[A-Za-z_]\w*|\?)
    | (?P<number>(?<![\w.$"])[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)\b)
    | (?P<space>\s+)
    """,
    re.VERBOSE | re.DOTALL,
)
_ONE_IN = re.compile(r"\b(IN) \(\?\)", re.IGNORECASE)
_ROWS = re.compile(r"(\bVALUES\s*)(\([^()]*\))(?:\s*,\s*\([^()]*\))+", re.IGNORECASE)


@lru_cache(maxsize=4096)
def shape_of(sql: str) -> str:
    """`sql` with literals and placeholders as `?`, lists as `(?, ...)`, no comments."""
    return _collapsed(_TOKEN.sub(_replaced, sql))


@lru_cache(maxsize=4096)
def text_of(sql: str) -> str:
    """The same with its literals: two texts of one shape differ in what was written into them."""
    return _collapsed(_TOKEN.sub(lambda found: _replaced(found, literals=True), sql))


def _replaced(found: "re.Match[str]", *, literals: bool = False) -> str:
    if found["comment"] or found["space"]:
        return " "
    if found["placeholder"]:
        return "?"
    if found["string"] or found["number"] or found["dollar"]:
        return found[0] if literals else "?"
    return found[0]


def _collapsed(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip().rstrip(";").strip()
    text = _ONE_IN.sub(r"\1 (?, ...)", text)
    # Rows of a list first become alike, then one.
    text = _ROWS.sub(r"\1\2", text)
    return re.sub(r"\b(IN|ANY|ALL) \(\?(?:, ?\?)+\)", r"\1 (?, ...)", text, flags=re.IGNORECASE)


_TABLE = re.compile(
    r"\b(?:FROM|INTO|UPDATE|JOIN)\s+(?:ONLY\s+)?((?:[\w$]+|\"[^\"]+\"|`[^`]+`)"
    r"(?:\.(?:[\w$]+|\"[^\"]+\"|`[^`]+`))?)",
    re.IGNORECASE,
)


def table_of(shape: str) -> str | None:
    """The first table that a statement names; None where it names none."""
    found = _TABLE.search(shape)
    return found[1].replace('"', "").replace("`", "") if found else None


_CLAUSE = re.compile(
    r"(?P<quoted>\"[^\"]*\"|`[^`]*`)|(?P<open>\()|(?P<close>\))"
    r"|\b(?P<word>SELECT|FROM|WHERE|GROUP BY|HAVING|WINDOW|UNION|ORDER BY|LIMIT|OFFSET|FETCH"
    r"|FOR)\b",
    re.IGNORECASE,
)


def clauses_of(shape: str) -> dict[str, str]:
    """The outermost clauses of a SELECT, by their words in capitals: `{"ORDER BY": "a DESC"}`."""
    depth, found = 0, []
    for mark in _CLAUSE.finditer(shape):
        depth += bool(mark["open"]) - bool(mark["close"])
        if mark["word"] and not depth:
            found.append((mark["word"].upper(), mark.start(), mark.end()))
    ends = [start for _, start, _ in found[1:]] + [len(shape)]
    return {
        word: shape[end:until].strip() for (word, _, end), until in zip(found, ends, strict=True)
    }


def items_of(clause: str) -> list[str]:
    """A clause cut at its outermost commas."""
    depth, items = 0, [""]
    for letter in clause:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            items.append("")
        else:
            items[-1] += letter
    return [one.strip() for one in items]


def verb_of(shape: str) -> str:
    """`SELECT`, `INSERT` ... in capitals; `SELECT` for a WITH that reads."""
    verb = shape.split(" ", 1)[0].upper().lstrip("(")
    if verb == "WITH":
        written = re.search(r"\)\s*(INSERT|UPDATE|DELETE|MERGE)\b", shape, re.IGNORECASE)
        return written[1].upper() if written else "SELECT"
    return verb


def short(shape: str, limit: int = 160) -> str:
    """A statement's shape on one line of evidence."""
    return shape if len(shape) <= limit else shape[: limit - 3] + "..."
