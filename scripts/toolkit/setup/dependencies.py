"""Which packages the templates need, written into the dependency file of a project."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.project.dependencies import declared_names, dialect_of, has_asyncio_extra
from toolkit.project.facts import Project


@dataclass(frozen=True)
class Requirement:
    """One package as every dependency file can be told it."""

    name: str
    minimum: str
    extra: str = ""

    @property
    def line(self) -> str:
        """As PEP 508 writes it."""
        return f"{self.name}{f'[{self.extra}]' if self.extra else ''}>={self.minimum}"

    @property
    def table(self) -> str:
        """As Poetry's and Pipenv's TOML tables write it."""
        if self.extra:
            return f'{self.name} = {{ version = ">={self.minimum}", extras = ["{self.extra}"] }}'
        return f'{self.name} = ">={self.minimum}"'


SQLALCHEMY = Requirement("sqlalchemy", "2.1.9", "asyncio")
SQLALCHEMY_2_0 = Requirement("sqlalchemy", "2.0.58,<2.1", "asyncio")
"""Between the two are 2.1.0 to 2.1.8, which lose connections when a request is cancelled."""
FASTAPI = Requirement("fastapi", "0.121.1")
"""The first where a dependency can commit before the response is sent."""
GREENLET = Requirement("greenlet", "3.1")
ALEMBIC = Requirement("alembic", "1.20")
DRIVERS = {
    "postgresql": Requirement("asyncpg", "0.31"),
    "sqlite": Requirement("aiosqlite", "0.22"),
    "mysql": Requirement("aiomysql", "0.3.2"),
}
OTHERS = {"postgresql": {"asyncpg", "psycopg"}, "sqlite": set(), "mysql": {"aiomysql", "asyncmy"}}
"""Drivers that are as good."""


class CannotEditError(Exception):
    """The dependency file has a form that is not edited; the text says which."""


def outdated(project: Project) -> str | None:
    """One line when the installed SQLAlchemy is older than the templates need."""
    numbers = numbers_of(project, "sqlalchemy")
    if project.is_sync or not numbers or numbers >= (2, 1, 9) or (2, 0, 58) <= numbers < (2, 1):
        return None
    return (
        f"SQLAlchemy {project.versions['sqlalchemy']} loses connections when a request is"
        " cancelled; 2.0.58 or 2.1.9 is the first without that"
    )


def old_fastapi(project: Project) -> str | None:
    """One line when the installed FastAPI commits too late for the scaffold's sessions (#16)."""
    numbers = numbers_of(project, "fastapi")
    if not numbers or numbers >= (0, 121, 1):
        return None
    return (
        f"FastAPI {project.versions['fastapi']} sends the response before a dependency commits;"
        f" session_manager.py needs {FASTAPI.line}"
    )


def numbers_of(project: Project, name: str) -> tuple[int, ...]:
    """Those of the version that is installed; none where it is not."""
    found = re.findall(r"\d+", project.versions.get(name) or "")
    return tuple(int(number) for number in found[:3])


def drivers_for(project: Project) -> list[Requirement]:
    """Of every database that is in use or spoken of, else of the one that is installed."""
    spoken = [dialect_of(one) for one in (project.scheme, *project.schemes) if one]
    known = [DRIVERS[dialect] for dialect in dict.fromkeys(spoken) if dialect is not None]
    there = [one for one in DRIVERS.values() if project.versions.get(one.name)]
    return known or there[:1] or [DRIVERS["postgresql"]]


def needed_for_scaffold(project: Project) -> list[Requirement]:
    """What the dependency file has to list for the templates to run."""
    declared = declared_names(project.dependency_file)
    older = numbers_of(project, "sqlalchemy")[:2] == (2, 0)
    needed = [FASTAPI, SQLALCHEMY_2_0 if older else SQLALCHEMY, ALEMBIC]
    for driver in drivers_for(project):
        dialect = next(name for name, one in DRIVERS.items() if one is driver)
        if not declared & OTHERS[dialect]:
            needed.append(driver)
    missing = [requirement for requirement in needed if requirement.name not in declared]
    if "sqlalchemy" in declared and "greenlet" not in declared and not has_asyncio_extra(project):
        missing.append(GREENLET)
    return missing


def with_requirements(name: str, text: str, requirements: Sequence[Requirement]) -> str:
    """The text of the dependency file `name` with these added; nothing else moves.

    Raises CannotEditError for a form that is not edited (setup.py, dynamic dependencies).
    """
    if not requirements:
        return text
    if name.endswith(".txt"):
        return _append_lines(text, [requirement.line for requirement in requirements])
    if name == "Pipfile":
        return _checked(text, _extend_table(text, "packages", requirements))
    if name != "pyproject.toml":
        raise CannotEditError(f"{name} is not edited by this script")
    content = tomllib.loads(text)
    project = content.get("project", {})
    poetry = content.get("tool", {}).get("poetry", {})
    if "dependencies" in project:
        return _checked(text, _extend_array(text, requirements))
    if "dependencies" in poetry:
        return _checked(text, _extend_table(text, "tool.poetry.dependencies", requirements))
    if "dependencies" in project.get("dynamic", []):
        raise CannotEditError("its dependencies are dynamic")
    if "project" in content:
        items = "".join(f'    "{requirement.line}",\n' for requirement in requirements)
        header = re.search(r"(?m)^\[project\][^\n]*\n", text)
        if header is not None:
            added = f"dependencies = [\n{items}]\n"
            # After the simple keys that people put first.
            end = _table_end(text, header.end())
            return _checked(text, f"{text[:end]}{added}{text[end:]}")
    raise CannotEditError("it has neither [project] nor [tool.poetry] dependencies")


def _extend_array(text: str, requirements: Sequence[Requirement]) -> str:
    """Add to `dependencies = [...]` of [project], in the style that it has."""
    header = re.search(r"(?m)^\[project\]", text)
    start = re.compile(r"(?m)^dependencies\s*=\s*\[").search(text, header.end() if header else 0)
    if start is None:
        raise CannotEditError("its dependencies are not written as a plain list")
    end, last = _array_end(text, start.end())
    items = [f'"{requirement.line}"' for requirement in requirements]
    inside = text[start.end() : end]
    if "\n" in inside:
        indent = next(re.finditer(r"\n([ \t]+)\S", inside), None)
        space = indent[1] if indent else "    "
        comma = "" if last is None or text[last] == "," else ","
        cut = start.end() if last is None else last + 1
        # What follows the last item on its line is a comment about that item.
        rest_of_line = text.index("\n", cut)
        middle = text[cut:rest_of_line]
        added = "".join(f"\n{space}{item}," for item in items)
        return f"{text[:cut]}{comma}{middle}{added}{text[rest_of_line:]}"
    if last is None:
        return f"{text[: start.end()]}{', '.join(items)}{text[end:]}"
    comma = " " if text[last] == "," else ", "
    return f"{text[: last + 1]}{comma}{', '.join(items)}{text[end:]}"


def _array_end(text: str, position: int) -> tuple[int, int | None]:
    """Where the array that is open at `position` closes, and its last significant character."""
    last = None
    while text[position] != "]":
        character = text[position]
        if character == "#":
            position = text.index("\n", position)
        elif character in "\"'":
            position = text.index(character, position + 1)
            last = position
        elif not character.isspace():
            last = position
        position += 1
    return position, last


def _extend_table(text: str, table: str, requirements: Sequence[Requirement]) -> str:
    header = re.search(rf"(?m)^\[{re.escape(table)}\][^\n]*(?:\n|\Z)", text)
    if header is None:
        raise CannotEditError(f"it has no [{table}] of its own")
    end = _table_end(text, header.end())
    lines = [requirement.table for requirement in requirements]
    return _append_lines(text[:end], lines) + text[end:]


def _table_end(text: str, start: int) -> int:
    """The end of the last line of a table that is not blank."""
    following = re.compile(r"(?m)^\[").search(text, start)
    body = text[start : following.start() if following else len(text)]
    return start + len(body.rstrip()) + (1 if body.rstrip() != body else 0)


def _append_lines(text: str, lines: Sequence[str]) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    if text and not text.endswith("\n"):
        text += end
    return text + "".join(f"{line}{end}" for line in lines)


def _checked(before: str, after: str) -> str:
    """The edit, if it parses and only added to what was there."""
    try:
        old, new = tomllib.loads(before), tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        raise CannotEditError("its form is unusual") from None
    if not _only_adds(old, new):
        raise CannotEditError("its form is unusual")
    return after


def _only_adds(old: object, new: object) -> bool:
    if isinstance(old, dict) and isinstance(new, dict):
        return all(key in new and _only_adds(value, new[key]) for key, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return new[: len(old)] == old
    return bool(old == new)
