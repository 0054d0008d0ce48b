"""Command lines as they work where they are read: program, folder, ini and section (#12)."""

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from toolkit.project.facts import AlembicSetup, Project
from toolkit.report.quoting import word

RUNNERS = {"uv", "poetry", "pipenv", "pdm"}


def alembic_line(
    project: Project, setup: AlembicSetup, words: Iterable[str], *, prepends_path: bool = True
) -> str:
    """`cd /srv/shop && uv run alembic -c app/alembic.ini -n core upgrade head`."""
    folder = setup.started_in.resolve()
    line: list[str] = []
    if folder != Path.cwd():
        line += ["cd", word(folder), "&&"]
    if not prepends_path:
        line.append(f"PYTHONPATH={word(project.import_root)}")
    runner = project.package_manager
    if runner in RUNNERS and shutil.which(runner):  # a container has the environment alone (#12)
        line += [runner, "run", "alembic"]
    else:
        line.append(program("alembic"))
    if setup.ini.resolve() not in {folder / "alembic.ini", folder / "pyproject.toml"}:
        inside = setup.ini.is_relative_to(folder)
        line += ["-c", word(setup.ini.relative_to(folder) if inside else setup.ini)]
    return " ".join([*line, *(word(part) for part in (*setup.name_option, *words))])


def program(name: str) -> str:
    """`python` or `alembic`, where a shell finds that of the running interpreter; else its path.

    Who has not activated the project's .venv would get another one, or none (#16).
    """
    own = Path(sys.executable)
    if name != "python":
        own = own.with_name(name)
    found = shutil.which(name)
    active = Path(os.environ.get("VIRTUAL_ENV") or os.devnull).resolve()
    if active == Path(sys.prefix).resolve() or not own.exists():
        return name
    if found is not None and Path(found).parent.resolve() == own.parent.resolve():
        return name
    return word(own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own)
