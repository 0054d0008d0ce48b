"""A script that succeeds prints at most 60 lines unless asked for more: an agent reads them all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from projects import warm
from projects.layouts import Layout
from projects.setup_door import SCRIPTS, Ended, alembic, environment, generate, setup

pytestmark = pytest.mark.any_sqlalchemy

MOST = 60


def few(ended: Ended) -> int:
    """The lines of both streams. A run that fails says nothing about one that does not."""
    assert ended.code == 0, ended.out + ended.err
    lines = (ended.out + ended.err).splitlines()
    assert len(lines) <= MOST, "\n".join(lines)
    assert lines
    return len(lines)


def door(name: str, directory: Path, *arguments: str, url: str) -> Ended:
    ended = warm.door(
        SCRIPTS / f"{name}.sh", *arguments, cwd=directory, environment=environment(url)
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


TABLES = "".join(
    f"""

class Table{number}(SimpleBaseModel):
    __tablename__ = "table_{number}"

    name: Mapped[str] = mapped_column(String(80), unique=True)
    kind: Mapped[str | None] = mapped_column(String(8), index=True)
"""
    for number in range(60)
)
MODELS = f"""from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from {{package}}.base_model import SimpleBaseModel
{TABLES}"""


def test_from_no_database_to_sixty_tables(
    project_factory: Callable[[str], Layout], make_database: Callable[[str], str]
) -> None:
    project = project_factory("fresh")
    folder, url = project.directory, make_database("sqlite")
    few(setup(folder, "--dry-run", "--scaffold", "app.db", url=url))
    few(setup(folder, "--scaffold", "app.db", url=url))
    (folder / "app" / "db" / "models.py").write_text(MODELS.format(package="app.db"))
    created = generate(folder, "sixty tables", url=url)
    few(created)
    assert "create table table_0 (" in created.out
    assert "  ... and 40 more; the file has them all\n" in created.out
    assert alembic(folder / "alembic.ini", "upgrade", "head", url=url).code == 0
    few(setup(folder, url=url))
    few(generate(folder, "--check", url=url))  # which tells all that --review does, and more
    few(door("test-connection", folder, url=url))
    few(door("optimize-queries", folder, "--layers", "code", url=url))
