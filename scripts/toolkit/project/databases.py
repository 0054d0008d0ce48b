"""Which databases a project has: what env.py remembers, else the drivers that it depends on."""

import argparse
import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.database.urls import KINDS, TITLES, Kind
from toolkit.files.reading import text_of
from toolkit.project.dependencies import declared_names
from toolkit.project.facts import AlembicSetup, Project

NAME = "DIALECTS"
GUESSED = "# Guessed from the drivers in"
"""Above the setting: nobody has said it yet."""
DRIVERS: Mapping[str, Kind] = {
    "asyncpg": "postgresql",
    "psycopg": "postgresql",
    "psycopg2": "postgresql",
    "psycopg2-binary": "postgresql",
    "psycopg-binary": "postgresql",
    "aiosqlite": "sqlite",
    "aiomysql": "mysql",
    "asyncmy": "mysql",
    "pymysql": "mysql",
    "mysqlclient": "mysql",
}
EVERY: tuple[Kind, ...] = ("sqlite", "postgresql", "mysql")
"""What templates/env.py names before anybody has said anything."""


@dataclass(frozen=True)
class Databases:
    """The kinds, the one that env.py connects to first."""

    kinds: tuple[Kind, ...]
    guessed: bool
    why: str

    @property
    def names(self) -> tuple[str, ...]:
        return dialect_names(self.kinds)

    @property
    def others(self) -> tuple[Kind, ...]:
        return self.kinds[1:]


def dialect_names(kinds: Sequence[Kind]) -> tuple[str, ...]:
    """As SQLAlchemy calls them, which has two names for the third."""
    return tuple(
        name for kind in kinds for name in (("mysql", "mariadb") if kind == "mysql" else (kind,))
    )


def titles(kinds: Sequence[Kind]) -> str:
    """`SQLite and PostgreSQL`."""
    words = [TITLES[kind] for kind in kinds]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def kinds(text: str) -> tuple[Kind, ...]:
    """What --dialects takes: `sqlite,postgresql`. Raises argparse's error for what is none."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    wrong = [word for word in words if word not in KINDS]
    if wrong or not words:
        said = ", ".join(wrong) or "nothing"
        raise argparse.ArgumentTypeError(f"{said} is no database: one of {', '.join(EVERY)}")
    return tuple(dict.fromkeys(KINDS[word] for word in words))


def databases_of(
    project: Project,
    setup: AlembicSetup | None,
    connected: Kind | None,
    given: Sequence[Kind] = (),
    text: str | None = None,
) -> Databases:
    """`given` by an option; else what env.py says; else a guess, from the dependency file's `text`
    where it is yet to be written.
    """
    first = (connected,) if connected else ()
    if given:
        return Databases(tuple(dict.fromkeys((*first, *given))), False, "--dialects")
    remembered = remembered_in(source_of(setup)) if setup else ()
    if remembered:
        return Databases(tuple(dict.fromkeys((*first, *remembered))), False, f"{NAME} in env.py")
    found = tuple(dict.fromkeys((*first, *guess(project, text))))
    file = project.dependency_file.name if project.dependency_file else "the dependency file"
    return Databases(found, True, f"the drivers in {file}")


def guess(project: Project, text: str | None = None) -> tuple[Kind, ...]:
    """Of the drivers that the dependency file lists; those of tests are in groups of their own.

    `text`: what it will have in it.
    """
    try:
        declared = declared_names(project.dependency_file, text)
    except ValueError:  # of TOML
        return ()
    return tuple(dict.fromkeys(kind for name, kind in DRIVERS.items() if name in declared))


def source_of(setup: AlembicSetup) -> str:
    return text_of(setup.env) if setup.env.is_file() else ""


def remembered_in(source: str) -> tuple[Kind, ...]:
    """What somebody has said; () for a guess, and for what the template says of itself."""
    found = statement_in(source)
    if found is None or is_guess(source.splitlines(), found):
        return ()
    kinds = value_of(found)
    return () if kinds == EVERY else kinds


def is_guess(lines: Sequence[str], found: ast.stmt) -> bool:
    return found.lineno > 1 and lines[found.lineno - 2].startswith(GUESSED)


def value_of(found: ast.Assign | ast.AnnAssign) -> tuple[Kind, ...]:
    try:
        value = ast.literal_eval(found.value) if found.value else ()
    except ValueError:
        return ()
    words = value if isinstance(value, (tuple, list)) else ()
    return tuple(dict.fromkeys(KINDS[word] for word in words if word in KINDS))


def statement_in(source: str) -> ast.Assign | ast.AnnAssign | None:
    try:
        body = ast.parse(source.removeprefix("\ufeff")).body
    except (SyntaxError, ValueError):
        return None
    for one in body:
        targets: list[ast.expr] = []
        if isinstance(one, ast.Assign):
            targets = one.targets
        elif isinstance(one, ast.AnnAssign):
            targets = [one.target]
        if any(isinstance(target, ast.Name) and target.id == NAME for target in targets):
            assert isinstance(one, ast.Assign | ast.AnnAssign)
            return one
    return None


def setting(kinds: Sequence[Kind], guessed_from: str | None = None) -> str:
    """The line of env.py, and one above a guess.

    In an order of its own: nobody has said the template's.
    """
    order: tuple[Kind, ...] = ("postgresql", "sqlite", "mysql")
    kinds = sorted(kinds, key=order.index)
    names = ", ".join(f'"{name}"' for name in dialect_names(kinds))
    comma = "," if len(dialect_names(kinds)) == 1 else ""
    remark = f"{GUESSED} {guessed_from}; --dialects says it.\n" if guessed_from else ""
    return f"{remark}{NAME}: tuple[str, ...] = ({names}{comma})\n"


def with_setting(source: str, line: str) -> str | None:
    """`source` with another line; None where it has none."""
    found = statement_in(source)
    if found is None:
        return None
    lines = source.splitlines(keepends=True)
    ending = "\r\n" if "\r\n" in source else "\n"
    first = found.lineno - 1 - is_guess(lines, found)
    lines[first : found.end_lineno] = [line.replace("\n", ending)]
    return "".join(lines)
