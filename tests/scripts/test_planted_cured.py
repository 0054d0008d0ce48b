"""The planted application is sound as a project, and cured as the fixes say it is spared."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url

from planted import cures, judging, watching
from planted.costs import GROWING, RUN_DDL, proposed, replaying
from projects import warm

Make = Callable[..., str]
SUITE = ("-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider")


def python(project: Path, *arguments: str, **variables: str) -> str:
    """What a program says that runs in a project, and has to end well."""
    ended = warm.completed(
        *arguments, cwd=project, environment={**os.environ, **variables}, warnings="default"
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def forum(tmp_path: Path) -> Path:
    return judging.copy_without_tags(tmp_path / "forum")


@pytest.fixture
def cured(tmp_path: Path) -> Path:
    """With all cures, whether the tool asks for them or not."""
    copy = judging.copy_without_tags(tmp_path / "cured")
    cures.apply(copy)
    return copy


@pytest.mark.any_sqlalchemy
def test_the_forum_passes_its_own_tests(forum: Path, make_database: Make) -> None:
    """On SQLite optimize-queries.sh runs them, in test_planted_forum.py."""
    said = python(forum, *SUITE, DATABASE_URL=make_database("postgresql"))
    assert " passed" in said
    assert "cartesian" in said


@pytest.mark.any_sqlalchemy
def test_so_it_does_when_it_is_cured(cured: Path, make_database: Make) -> None:
    said = python(cured, *SUITE, DATABASE_URL=make_database("sqlite"))
    assert " passed" in said
    assert "cartesian" not in said


@pytest.mark.any_sqlalchemy
def test_every_fault_has_a_cure_or_a_reason() -> None:
    faults = {one.name for one in judging.read_planted() if one.kind == "fault"}
    assert faults == {*cures.EDITS, *cures.BY_INDEX, *cures.CURED_WITH, *cures.NOT_CURED}


@pytest.mark.any_sqlalchemy
def test_a_cure_that_fits_nowhere_is_an_error(cured: Path) -> None:
    with pytest.raises(ValueError, match=r"cartesian: 0 times in app/routers/posts.py"):
        cures.apply(cured, ["cartesian"])


# The DDL for PostgreSQL is carried out in test_queries_plans.py and test_queries_command.py (#10).
@pytest.mark.sweep(every=2)
@pytest.mark.any_sqlalchemy
@pytest.mark.dialects("sqlite", "postgresql")
def test_cured_a_request_sends_as_many_statements_for_many_rows_as_for_few(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, dialect: str, make_database: Make
) -> None:
    """Applied is what the tool found, and nothing else: its own DDL, and the cures of its lines.

    How much faster that is, `make bench-cured` measures.
    """
    runs = watching.runs(tmp_path_factory, make_database)
    verdicts = judging.judge(judging.read_planted(), runs)
    found = {one.planted.name for one in verdicts if one.all_found}
    forum = judging.copy_without_tags(tmp_path / "forum")
    cured = judging.copy_without_tags(tmp_path / "cured")
    cures.apply(cured, [name for name in cures.EDITS if name in found])
    plain = make_database(dialect)
    python(forum, "-m", "app.seed", "medium", DATABASE_URL=plain)
    indexed = copy_of(plain, make_database)
    statements = proposed(runs[dialect])
    assert len(statements) >= 5
    python(forum, "-c", RUN_DDL, *statements, DATABASE_URL=indexed)
    with replaying(forum, plain) as before, replaying(cured, indexed) as after:
        for path, pair in GROWING.items():
            few, many = (before(path.format(n)) for n in pair)
            assert (few["status"], many["status"]) == (200, 200), path
            assert many["statements"] >= few["statements"] + 50, path
            few, many = (after(path.format(n)) for n in pair)
            assert (few["status"], many["status"]) == (200, 200), path
            assert few["statements"] == many["statements"] <= 4, path


def copy_of(url: str, make_database: Make) -> str:
    """A database with the same rows."""
    name = str(make_url(url).database)
    if not url.startswith("sqlite"):
        return make_database("postgresql", template=name)
    copy = make_database("sqlite")
    shutil.copy(name, str(make_url(copy).database))
    return copy
