"""What a statement's text says outside of its strings: the names in it, and what it calls.

Only for caution: what hides behind a spelling that is not understood here counts as unsafe.
"""

import re
from dataclasses import dataclass

from toolkit.database.urls import Kind
from toolkit.queries.plans.query import Query

DOLLARS = r"\$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$"
STRINGS: dict[Kind, str] = {
    "postgresql": rf"[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | {DOLLARS}",
    "sqlite": r"'(?:[^']|'')*'",
    "mysql": r"""'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*\"""",
}
COMMENTS: dict[Kind, str] = {
    "postgresql": r"--[^\n]* | /\*.*?\*/",
    "sqlite": r"--[^\n]* | /\*.*?\*/",
    "mysql": r"--(?=\s|\Z)[^\n]* | \#[^\n]* | /\*.*?\*/",  # `1--1` is two
}
NAMES: dict[Kind, str] = {
    "postgresql": r'"(?:[^"]|"")+" | [^\W\d][\w$]*',
    "sqlite": r'"(?:[^"]|"")+" | `[^`]+` | \[[^]]+\] | [^\W\d][\w$]*',
    "mysql": r"`(?:[^`]|``)+` | [\w$]+",
}
# Escapes in names, a comment within a comment, a comment that the server runs.
NOT_UNDERSTOOD: dict[Kind, re.Pattern[str]] = {
    "postgresql": re.compile(r"\bU&['\"] | /\*(?:(?!\*/).)*/\*", re.X | re.S | re.I),
    "mysql": re.compile(r"/\*M?!", re.I),
    "sqlite": re.compile(r"(?!)"),
}
OPERATORS = re.compile(r"[-+*/<>=~!@#%^&|`?]+")


@dataclass(frozen=True)
class Words:
    """Of one statement; names as the catalog has them."""

    names: frozenset[str]
    calls: frozenset[str]
    """Names in front of a parenthesis: functions, but also types and `IN`."""
    operators: frozenset[str]
    understood: bool
    several: bool
    """A semicolon is in it: some drivers send what comes after as a statement of its own."""


def words_of(query: Query, kind: Kind) -> Words:
    text = query.joined(lambda _: " 1 ")
    tokens = rf"(?P<text>{STRINGS[kind]}) | (?P<name>{NAMES[kind]}) | {COMMENTS[kind]}"
    tokens_of = re.compile(tokens, re.X | re.S)
    names, calls, rest = set(), set(), []
    at = 0
    last = ""
    for found in tokens_of.finditer(text):
        between = text[at : found.start()]
        rest.append(between)
        if last and between.lstrip().startswith("("):
            calls.add(last)
        at = found.end()
        if found["name"]:
            last = plain(found["name"], kind)
            names.add(last)
        elif found["text"] or between.strip():
            last = ""
    if last and text[at:].lstrip().startswith("("):
        calls.add(last)
    rest.append(text[at:])
    symbols = {symbol for part in rest for symbol in OPERATORS.findall(part)}
    understood = NOT_UNDERSTOOD[kind].search(text) is None
    several = any(";" in part for part in rest)
    return Words(frozenset(names), frozenset(calls), frozenset(symbols), understood, several)


def plain(name: str, kind: Kind) -> str:
    """Without its quotes; PostgreSQL folds what has none."""
    if name[0] in '"`[':
        mark = name[-1]
        return name[1:-1].replace(mark * 2, mark)
    return name.lower() if kind == "postgresql" else name
