"""Every revision of the corpus runs on SQLite and gets exactly the verdicts it expects."""

import ast
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from corpus.runner import CORPUS, ENV, SYNC_ENV, Case, Workplace, cases
from toolkit.migration.review import findings_of
from toolkit.migration.review.sqlite import cast_loses
from toolkit.report.finding import Finding

FOLDER = CORPUS / "sqlite"
CASES = cases(FOLDER)
# Alembic warns of a CHECK that it leaves out; in these tests a warning is an error.
AS_USUAL = "import warnings\n\nwarnings.simplefilter('ignore')\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("corpus") / "p", FOLDER, env=AS_USUAL + ENV, only=())


@pytest.fixture(scope="module")
def base(place: Workplace) -> Path:
    """The file of a database at the base revision, to be copied."""
    file = place.root / "base.db"
    report = place.run("upgrade", "before", url=f"sqlite+aiosqlite:///{file}")
    assert "error" not in report, report["error"]
    return file


@pytest.fixture
def database(base: Path, make_database: Callable[[str], str]) -> str:
    url = make_database("sqlite")
    shutil.copyfile(base, str(make_url(url).database))
    return url


def run(place: Workplace, database: str, name: str) -> tuple[dict[str, Any], list[Finding]]:
    """The trace of one revision on top of the base, and its findings."""
    with place.holding(FOLDER / f"{name}.py"):
        trace = place.run("upgrade", name, url=database)["trace"]
        return trace, findings_of(trace)


def verdicts(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(finding.rule, str(finding.verdict)) for finding in findings}


@pytest.mark.any_sqlalchemy
def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(CASES) >= 60
    assert sum(case.is_safe for case in CASES) >= 15


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.any_sqlalchemy
def test_verdict(case: Case, place: Workplace, database: str) -> None:
    trace, findings = run(place, database, case.name)
    found = verdicts(findings)
    assert found == set(case.expected), (sorted(found), trace)
    for finding in findings:
        if finding.source == "trace":
            assert finding.line, finding
            assert finding.evidence, finding
        if finding.rewrite:
            ast.parse(finding.rewrite)


@pytest.mark.parametrize("name", ["batch_type", "batch_cascade", "drop_column"])
def test_the_synchronous_driver_tells_the_same(
    name: str, tmp_path_factory: pytest.TempPathFactory, database: str
) -> None:
    folder = tmp_path_factory.mktemp("sync") / "p"
    place = Workplace(folder, FOLDER, url="sqlite:///none.db", env=AS_USUAL + SYNC_ENV, only=())
    _, findings = run(place, database, name)
    assert verdicts(findings) == {case.name: set(case.expected) for case in CASES}[name]


@pytest.mark.parametrize(
    ("before", "after", "loses"),
    [
        ("VARCHAR(9)", "INTEGER", True),
        ("DATE", "NUMERIC(9, 2)", True),
        ("FLOAT", "INTEGER", True),
        ("NUMERIC(9, 2)", "BIGINT", True),
        ("FLOAT", "NUMERIC(9, 2)", False),
        ("BOOLEAN", "INTEGER", False),
        ("INTEGER", "FLOAT", False),
        ("FLOAT", "VARCHAR(9)", False),
        ("VARCHAR(9)", "JSON", False),
    ],
)
@pytest.mark.any_sqlalchemy
def test_which_cast_loses(before: str, after: str, loses: bool) -> None:
    change = {"column": "age", "before": before, "after": after}

    def judged(sql: str) -> bool:
        return cast_loses({"statements": [{"sql": sql}]}, change)

    copy = "INSERT INTO _alembic_tmp_t (age) SELECT CAST(t.{} AS {}) AS age FROM t"
    assert judged(copy.format("age", after)) is loses
    assert not judged(copy.format("size", after))
    assert not judged(f"SELECT CAST(age AS {after})")
