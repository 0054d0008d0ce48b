"""One form for a statement, whoever wrote it down: the driver, or the server's statistics.

asyncpg sends `$1::INTEGER`, psycopg sends `%(id)s`, pg_stat_statements writes `$1` for
each constant, and a MySQL digest has `?`, spaces between all tokens and `(...)` for lists.
"""

import re

_TOKEN = re.compile(
    r"""
      (?P<comment>/\*.*?\*/|--[^\n]*|\#[^\n]*(?=\n|$))
    | (?P<string>[eEbBxXnN]?'(?:[^'\\]|''|\\.)*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)
    | (?P<parameter>\$\d+|%\(\w+\)s|%s|\?|(?<!:):[A-Za-z_]\w*|\.\.\.)
    | (?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<word>[^\W\d]\w*(?:\$\w*)?)
    | (?P<space>\s+)
    | (?P<other>::|&&|<=|>=|<>|!=|\|\||.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS = {"true", "false", "null"}
_TESTS = {"is", "not", "default"}
PLACE = "?"
# A digest has another word than was sent where MySQL's grammar has two for one thing; MariaDB
# takes the one that its list of symbols has first. All become one here.
_SYNONYMS = {
    other: word
    for word, others in {
        "distinct": "distinctrow",
        "user": "system_user session_user",
        "database": "schema",
        "now": "current_timestamp localtime localtimestamp",
        "curdate": "current_date",
        "curtime": "current_time",
        "substring": "substr mid",
        "std": "stddev stddev_pop",
        "char": "character",
        "varchar": "varcharacter",
        "int": "integer int4",
        "tinyint": "int1",
        "smallint": "int2",
        "mediumint": "int3 middleint",
        "bigint": "int8",
        "float": "float4",
        "double": "float8 real",
        "decimal": "dec fixed numeric",
        "regexp": "rlike",
        "fields": "columns",
        "!=": "<>",
        "and": "&&",
    }.items()
    for other in others.split()
}


def join_key(sql: str, *, mysql: bool = False) -> str:
    """Equal for two texts of one statement; one space between its tokens."""
    tokens: list[str] = []
    for match in _TOKEN.finditer(sql.replace("%%", "%")):
        tokens += token(match, tokens, mysql)
    text = " ".join(tokens)
    return collapsed(text)


def token(match: "re.Match[str]", before: list[str], mysql: bool) -> list[str]:
    kind, text = match.lastgroup, match[0]
    if kind == "space":
        return []
    if kind == "comment":
        if text.startswith("#") and not mysql:
            return ["#", *join_key(text[1:]).split(" ")]
        return []
    if kind in {"string", "tag", "parameter", "number"}:
        return [PLACE]
    if kind == "quoted":
        inner = text[1:-1].replace(text[0] * 2, text[0])
        # A digest quotes every name; "Post" in PostgreSQL is another name than post.
        plain = re.fullmatch(r"\w+", inner) and (text[0] == "`" or inner == inner.lower())
        return [inner.lower() if plain else text]
    if kind == "word":
        lower = text.lower()
        constant = lower in _CONSTANTS and (not before or before[-1] not in _TESTS)
        lower = _SYNONYMS.get(lower, lower).removeprefix("sql_tsi_") if mysql else lower
        return [PLACE if constant else lower]
    return [_SYNONYMS.get(text, text) if mysql else text]


_CAST = re.compile(
    r"\? :: (?:\w+ \. )?\w+(?: (?:precision|varying|with time zone"
    r"|without time zone))?(?: \( [?, ]*\))?(?: (?:with|without) time zone)?"
    r"(?: \[ \])*"
)


def collapsed(text: str) -> str:
    """Without casts of placeholders, signs of constants and the lengths of lists."""
    text = _CAST.sub(PLACE, text)
    text = re.sub(r"(?<=[=(,<>]) - \?", " ?", text)
    text = re.sub(r"\?(?: , \?)+", PLACE, text)
    text = re.sub(r"\( \? \)(?: , \( \? \))+", "( ? )", text)
    return text.rstrip(" ;")


def printable(text: str, length: int = 300) -> str:
    """What others wrote, as one harmless line: no control characters, not long."""
    clean = "".join(one if one.isprintable() else " " for one in text)
    clean = " ".join(clean.split())
    return clean if len(clean) <= length else clean[: length - 3] + "..."
