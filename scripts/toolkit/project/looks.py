"""Cheap looks at a source's text: can it matter for a question? What can't is not parsed (#12).

A look may say yes too often, never no where the answer is in the file.
"""

import re
from collections.abc import Callable, Iterable, Iterator

WORD = re.compile(r"[^\W\d]\w*")
CLASS = re.compile(r"class\s+(\w+)\s*(?:\[[^\]]*\]\s*)?\(([^:]*?)\)\s*:")
AS = re.compile(r"(\w+)\s+as\s+(\w+)")
SAME = re.compile(
    r"^[ \t]*(\w+)[ \t]*(?::[^=\n]{1,200})?=[ \t]*(?:\w+\.)*(\w+)[ \t]*(?:#.*)?$", re.MULTILINE
)
STRING = r"[rbu]*[\"']"
SECRETS = [
    *(
        re.compile(
            rf"{word}\w*\s*(?::[^=\n]{{1,200}})?=\s*(?:[\w.]*\(\s*(?:default\s*=\s*)?)*{STRING}"
        )
        for word in ("pass", "pwd", "secret", "token", "key", "credential")
    ),
    re.compile(rf"://(?:[^\"']|[\"']\s*{STRING}){{0,500}}?[@=]"),
]
"""A text under a name that says that it is secret; a URL with a login or parameters."""
SCHEMES = re.compile(r"(?:postgres(?:ql)?|mysql|mariadb|sqlite|cockroachdb)(?:\+\w|:)")
VARIABLES = re.compile(r"[\"'][A-Z0-9_]*(?:URL|URI|DSN|DATABASE|CONNECTION)[A-Z0-9_]*[\"']")
"""The name of an environment variable that may hold the database's URL."""
SETTINGS = re.compile(r"(?:settings|config|configuration)$", re.IGNORECASE)
PLAIN_SETTINGS = re.compile(r"class\s+\w*(?:settings|config|configuration)\s*:")
ABOUT = re.compile(r"fastapi|sqlalchemy|sqlmodel|alembic|pydantic_settings|__table")
"""A file with one of these words is named where it does not parse."""
TABLES = ("mapped", "Mapped", "__table", "advanced_alchemy")

Look = Callable[[str], object]


def tables(text: str) -> bool:
    """Words that a mapped class or its mixins have."""
    return any(word in text for word in TABLES)


def secrets(text: str) -> bool:
    lower = text.lower()  # ten times as fast as a pattern that ignores case
    return any(look.search(lower) for look in SECRETS)


def plain_settings(text: str) -> bool:
    """A class without bases whose name says that it holds settings."""
    return PLAIN_SETTINGS.search(text.lower()) is not None


def create_all(text: str) -> bool:
    return "create_all" in text


def words_in(text: str) -> frozenset[str]:
    """Every name in a text, and every word of its comments and strings."""
    return frozenset(WORD.findall(text))


def classes_in(text: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """Each class statement with bases: its name, and all names between the parentheses."""
    return tuple((found[1], words_in(found[2])) for found in CLASS.finditer(text))


def renamings_in(text: str) -> Iterator[tuple[str, str]]:
    """`(old, new)` of `import old as new` and `new = old`."""
    for line in text.split("\n") if " as " in text else ():
        if " as " in line:
            yield from ((found[1], found[2]) for found in AS.finditer(line))
    yield from ((found[2], found[1]) for found in SAME.finditer(text))


def with_renamed(names: Iterable[str], renamings: Iterable[tuple[str, str]]) -> set[str]:
    """`names`, and all that somebody calls them elsewhere."""
    pairs = list(renamings)
    known = set(names)
    while fresh := {new for old, new in pairs if old in known} - known:
        known |= fresh
    return known


def with_derived(
    names: Iterable[str],
    classes: Iterable[tuple[str, frozenset[str]]],
    renamings: Iterable[tuple[str, str]],
) -> set[str]:
    """`names`, the classes that are made of them, and what these are called elsewhere."""
    statements, pairs = list(classes), list(renamings)
    known = with_renamed(names, pairs)
    while fresh := {name for name, bases in statements if not known.isdisjoint(bases)} - known:
        known = with_renamed(known | fresh, pairs)
    return known
