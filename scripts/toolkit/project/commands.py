"""Alembic's command lines as they work where they are read: folder, ini and section (#12)."""

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
    if project.package_manager in RUNNERS:
        line += [project.package_manager, "run"]
    line.append("alembic")
    if setup.ini.resolve() not in {folder / "alembic.ini", folder / "pyproject.toml"}:
        inside = setup.ini.is_relative_to(folder)
        line += ["-c", word(setup.ini.relative_to(folder) if inside else setup.ini)]
    return " ".join([*line, *(word(part) for part in (*setup.name_option, *words))])
