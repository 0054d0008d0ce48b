"""examples/testing_patterns: the suite passes everywhere, and each of its patterns can fail."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, make_url

from projects import warm
from testing_patterns import run as example

PROGRAM = Path(example.__file__)
TESTS = sum(
    len(re.findall(r"(?m)^async def test_", path.read_text()))
    for path in (PROGRAM.parent / "suite").glob("*.py")
)
CASES = TESTS + 1  # one has two parameters


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "executable", warm.python())  # and so are its workers
    project = tmp_path / "my project"
    example.build(project)
    return project


def program(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [warm.python(), str(PROGRAM), *arguments],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def names_of_databases(url: str) -> set[str]:
    """Those that begin like this one's; for SQLite, the files of its folder."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return {path.name for path in Path(parsed.database or "").parent.glob("*.db*")}
    driver = "postgresql+psycopg" if parsed.get_backend_name() == "postgresql" else "mysql+pymysql"
    engine = create_engine(parsed.set(drivername=driver))
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            statement = "SELECT datname FROM pg_database"
        else:
            statement = "SHOW DATABASES"
        names = {row[0] for row in connection.exec_driver_sql(statement)}
    engine.dispose()
    return {name for name in names if name.startswith(parsed.database or "")}


def tables(url: str) -> list[str]:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return ["a file"] if Path(parsed.database or "").exists() else []
    driver = "postgresql+psycopg" if parsed.get_backend_name() == "postgresql" else "mysql+pymysql"
    engine = create_engine(parsed.set(drivername=driver))
    names = inspect(engine).get_table_names()
    engine.dispose()
    return names


def change(file: Path, before: str, after: str) -> None:
    """Plant a mistake."""
    text = file.read_text()
    assert text.count(before) == 1, f"{file.name} has no such line any more"
    file.write_text(text.replace(before, after))


def failed(project: Path, *arguments: str, url: str | None = None) -> set[str]:
    """The tests that are red."""
    ran = example.run_pytest(project, *arguments, url=url)
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    return set(re.findall(r"(?m)^(?:FAILED|ERROR) tests/\S+?::(\w+)", ran.stdout))


def assert_explained(ran: subprocess.CompletedProcess[str]) -> None:
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(re.findall(r"(?m)^  ok      \S.+$", ran.stdout)) == TESTS
    assert f"{CASES} passed in" in ran.stdout
    assert "not run" not in ran.stdout


def test_runs_as_a_program_on_a_new_sqlite_file(tmp_path: Path):
    # Not the database that the surroundings name: it may be anybody's.
    assert_explained(program(DATABASE_URL=f"sqlite:///{tmp_path}/real.db", TMPDIR=str(tmp_path)))
    assert not (tmp_path / "real.db").exists()
    assert not list(tmp_path.glob("**/app"))


@pytest.mark.older_sqlalchemy_on("postgresql")
def test_runs_as_a_program_on_each_database(database_url: str):
    assert_explained(program(database_url))


WHICH = """
import os
import pytest

@pytest.mark.parametrize("time", range(4))
async def test_which(time, database):
    print(f"worker {os.environ['PYTEST_XDIST_WORKER']} uses {database.engine.url.database}.")
"""


@pytest.mark.any_sqlalchemy
def test_each_worker_has_a_database_of_its_own_that_is_dropped(
    project: Path, database_url: str, dialect: str
):
    (project / "tests" / "test_which.py").write_text(WHICH)
    upgrades = project / "upgrades"
    change(
        project / "alembic" / "versions" / "0001_initial_schema.py",
        "def upgrade() -> None:\n",
        "def upgrade() -> None:\n"
        f"    with open({str(upgrades)!r}, 'a') as log:\n        log.write('x')\n",
    )
    before = names_of_databases(database_url)
    # "each": all tests in both workers, so that both have used theirs at the same time. Where a
    # worker's is no copy, nothing is shared, and one worker (seconds to start) shows as much.
    copies = dialect == "postgresql"
    wanted = ["-n", "2"] if copies else ["-n", "1", "tests/test_which.py"]
    ran = example.run_pytest(project, *wanted, "--dist=each", url=database_url)
    assert ran.returncode == 0, ran.stdout
    used = set(re.findall(r"(?m)^worker (gw\d) uses (.+)\.$", ran.stdout))
    given = Path(make_url(database_url).database or "")
    assert [worker for worker, _ in sorted(used)] == ["gw0", "gw1"][: 1 + copies]
    for worker, name in used:
        assert re.fullmatch(rf"{given.stem}_[0-9a-f]{{8}}_{worker}", Path(name).stem)
    # PostgreSQL's are copies of one template that was migrated.
    assert len(upgrades.read_text()) == 1
    # The given one was not touched, and nothing is left beside it.
    assert names_of_databases(database_url) == before
    assert tables(database_url) == []


@pytest.mark.any_sqlalchemy
def test_a_database_that_is_not_for_tests_is_refused_with_workers_too(
    project: Path, tmp_path: Path
):
    for arguments in ((), ("-n", "2")):
        ran = example.run_pytest(project, *arguments, url=f"sqlite:///{tmp_path}/production.db")
        assert ran.returncode == pytest.ExitCode.USAGE_ERROR
        assert "refuse the database 'production.db'" in ran.stdout + ran.stderr
    assert not list(tmp_path.glob("*.db"))


# Each pattern turns red when what it watches for is there, and only that test does.


@pytest.mark.any_sqlalchemy
def test_planted_mistakes_are_found(project: Path):
    app, tests = project / "app", project / "tests"
    # A query in a loop.
    change(
        app / "main.py",
        "        for team in await session.scalars(statement)\n",
        "        for team in (await session.scalars(statement)).all()\n"
        "        if not await session.refresh(team, ['members'])\n",
    )
    # A mail before the commit.
    change(
        app / "main.py",
        "    try:\n        invitation = ",
        "    await mailer.send(body.email, '')\n    try:\n        invitation = ",
    )
    # A migration that was forgotten.
    change(
        app / "models.py", "seats: Mapped[int]", "seats: Mapped[int] = mapped_column(index=True)"
    )
    # An override that stays.
    change(tests / "fixtures.py", "    del app.dependency_overrides[get_mailer]\n", "")
    # Values that are not unique.
    change(tests / "factories.py", 'f"Team {next(_numbers)}"', '"Team"')
    # Rows that a test has committed and left.
    clean_up = 'pytestmark = pytest.mark.usefixtures("committed")\n'
    change(tests / "test_several_connections.py", clean_up, "")
    assert failed(project) == {
        "test_the_list_of_teams",
        "test_exactly",
        "test_mail_is_sent",
        "test_models_and_migrations_agree",
        "test_overrides_end_with_their_test",
        "test_unique_values_are_unique",
        "test_time_passes_when_the_test_says_so",  # which has two teams
        "test_the_last_seat",
    }


@pytest.mark.any_sqlalchemy
def test_without_the_rollback_and_without_migrations_it_is_red(project: Path):
    conftest = project / "tests" / "conftest.py"
    change(conftest, "    async with database.rolled_back():\n        yield\n", "    yield\n")
    change(conftest, "if not ALEMBIC_INI.exists():", "if ALEMBIC_INI.exists():")
    red = failed(project)
    assert {"test_each_starts_empty", "test_rows_of_the_test_itself"} <= red
    assert "test_the_database_is_at_the_head" in red
    assert "test_models_and_migrations_agree" in red  # Alembic: "not up to date"


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.any_sqlalchemy
def test_a_missing_lock_is_found(project: Path, database_url: str):
    teams = project / "app" / "teams.py"
    change(teams, ", with_for_update=True", "")
    # Two have counted before the first has written.
    change(
        teams,
        "    await invitation.delete",
        "    COUNTED.append(team)\n    if len(COUNTED) > 1:\n        SECOND.set()\n"
        "    await SECOND.wait()\n    await invitation.delete",
    )
    change(teams, "import uuid\n", "import asyncio\nimport uuid\n")
    change(
        teams,
        "\n\nclass UnknownError",
        "\nCOUNTED, SECOND = [], asyncio.Event()\n\n\nclass UnknownError",
    )
    file = "tests/test_several_connections.py"
    assert failed(project, file, url=database_url) == {"test_the_last_seat"}


# The project is one that a user may have written.


@pytest.mark.any_sqlalchemy
def test_the_project_is_typed(project: Path):
    """The repository's own mypy cannot look: what app.db is, only the built project knows."""
    root = PROGRAM.parents[2]
    ran = subprocess.run(
        # The cache of `make lint`, which knows the libraries already.
        [
            *(sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml")),
            *("--cache-dir", str(root / ".mypy_cache"), "app", "tests", "alembic/versions"),
        ],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "no issues found in 2" in ran.stdout  # twenty-odd files


@pytest.mark.any_sqlalchemy
def test_nothing_in_the_folder_is_collected_by_a_pytest_around_it():
    files = {path.name for path in PROGRAM.parent.rglob("*.py")}
    assert files
    assert not [name for name in files if name.startswith("test_") or name.endswith("_test.py")]
    assert "conftest.py" not in files
