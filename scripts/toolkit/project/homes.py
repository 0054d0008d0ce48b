"""Which of the folders that list dependencies is the project: evidence is weighed (#12).

Who makes an application has a project, and not everyone that imports FastAPI (a plug-in does
that, with a requirements.txt of its own); who has an Alembic set-up or uses SQLAlchemy is
meant rather than who does not.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from toolkit.project.errors import ambiguous

_MAKES = re.compile(r"\bFastAPI\s*\(|\(\s*(?:fastapi\.)?FastAPI\s*[,)]")
_SQL = re.compile(r"^\s*(?:from|import)\s+(?:sqlalchemy|sqlmodel|advanced_alchemy)\b", re.MULTILINE)
_SET_UP = re.compile(r"^\s*script_location\s*=", re.MULTILINE)


def makers(texts: Mapping[Path, str], users: Iterable[Path]) -> list[Path]:
    """Those of the files that make an application; all where none does so plainly."""
    users = list(users)
    return [path for path in users if _MAKES.search(texts[path])] or users


def is_set_up(configuration: Path, text: str) -> bool:
    """Does this ini or pyproject.toml name an Alembic environment?"""
    known = configuration.suffix == ".ini" or "[tool.alembic]" in text
    return known and _SET_UP.search(text) is not None


def choose_home(
    directory: Path,
    homes: Iterable[Path | None],
    sources: Mapping[Path, str],
    configuration: Mapping[Path, str],
) -> tuple[Path, str | None]:
    """The one of `homes`, all below `directory`, that is meant, and why where there were others.

    None among them stands for `directory`, which lists no dependencies. Raises ProjectError
    where several are equally good.
    """
    named = _outermost(sorted(home for home in homes if home is not None))
    set_ups = [path for path, text in configuration.items() if is_set_up(path, text)]
    beside = [path for path in set_ups if _home_of(path, named) is None]
    if beside and len(beside) == len(set_ups):
        # No application has it: in a workspace, that may be a library with the tables.
        place = beside[0].relative_to(directory)
        return directory, f"this folder is taken: its Alembic set-up is {place}"
    rivals = [*named, *([directory] if None in homes else [])]
    found, why = named, ""
    for words, having in _evidence(rivals, sources, configuration):
        if better := [home for home in rivals if home in having]:
            found, why = _outermost(better), words
            break
    names = [_name(home, directory) for home in found]
    if len(found) > 1:
        raise ambiguous(
            "several-projects", f"several FastAPI projects in {directory}", names, "--project DIR"
        )
    others = ", ".join(_name(home, directory) for home in rivals if home != found[0])
    if not others or not why:
        return found[0], None
    return found[0], f"{names[0]} is taken: it {why}, {others} not (--project DIR names another)"


def _evidence(
    homes: Sequence[Path], sources: Mapping[Path, str], configuration: Mapping[Path, str]
) -> list[tuple[str, set[Path | None]]]:
    """The better first: in words, and who has it."""
    set_ups = [path for path, text in configuration.items() if is_set_up(path, text)]
    users = [path for path, text in sources.items() if _SQL.search(text)]
    return [
        ("has an Alembic set-up", {_home_of(path, homes) for path in set_ups}),
        ("uses SQLAlchemy", {_home_of(path, homes) for path in users}),
    ]


def _home_of(path: Path, homes: Sequence[Path]) -> Path | None:
    above = [home for home in homes if home in path.parents]
    return max(above, key=lambda home: len(home.parts), default=None)


def _outermost(homes: Sequence[Path]) -> list[Path]:
    """Without those inside of another one: an example, a plug-in with an application."""
    return [home for home in homes if not any(other in home.parents for other in homes)]


def _name(home: Path, directory: Path) -> str:
    return "this folder" if home == directory else str(home.relative_to(directory))
