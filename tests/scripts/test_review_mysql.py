"""Every revision of the corpus runs on MariaDB or MySQL and gets exactly what it expects."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from corpus import forms
from corpus.runner import CORPUS, Case, Workplace, cases
from servers.mysql import MySQLServer
from toolkit.migration.review import findings_of
from toolkit.report.finding import Finding

FOLDER = CORPUS / "mysql"
CASES = cases(FOLDER)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("corpus") / "p", FOLDER)


@pytest.fixture
def database(make_database: Callable[[str], str]) -> str:
    return make_database("mysql")


def verdicts(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(f.rule, str(f.verdict)) for f in findings if f.rule != "no-lock-timeout"}


def run(place: Workplace, database: str, name: str) -> tuple[dict[str, Any], list[Finding]]:
    """The trace of one revision on top of the base, and its findings."""
    report = place.run("upgrade", name, url=database)
    trace = report["trace"]
    trace["revisions"] = [r for r in trace["revisions"] if r["revision"] == name]
    return trace, findings_of(trace)


@pytest.mark.any_sqlalchemy
def test_the_corpus_is_as_large_as_promised() -> None:
    assert {case.name for case in CASES} >= GENTLEST.keys()
    assert len(CASES) >= 60
    assert sum(case.is_safe for case in CASES) >= 15


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.any_sqlalchemy
def test_verdict(case: Case, place: Workplace, database: str) -> None:
    trace, findings = run(place, database, case.name)
    found = verdicts(findings)
    assert found == set(case.expected), (sorted(found), trace)
    for finding in findings:
        if finding.source == "trace" and finding.rule not in ("half-way", "no-lock-timeout"):
            assert finding.line, finding
            assert finding.evidence, finding
        if finding.rewrite:
            place.run("downgrade", "before", url=database, action="command")
            carry_both_ways(finding.rewrite, database)
    if case.name in GENTLEST:
        assert_the_gentlest_form_that_the_server_accepts(case.name, trace)


def carry_both_ways(text: str, database: str) -> None:
    """Down, it is as before: so it can go up again."""
    for up, down in 2 * forms.functions(text):
        forms.carry_out(database, up)
        forms.carry_out(database, down)


GENTLEST = {  # MariaDB 10.11
    "safe_add_nullable": ("INSTANT", "NONE"),
    "safe_index": ("NOCOPY", "NONE"),
    "safe_drop_index": ("NOCOPY", "NONE"),
    "safe_set_not_null": ("INPLACE", "NONE"),
    "safe_foreign_key_unchecked": ("NOCOPY", "NONE"),
    "fulltext_index": ("INPLACE", "SHARED"),
    "check_added": ("COPY", "SHARED"),
    "rename_column": ("INSTANT", "NONE"),
    "safe_explicit_inplace": ("INPLACE", "NONE"),
}


def assert_the_gentlest_form_that_the_server_accepts(name: str, trace: dict[str, Any]) -> None:
    (revision,) = trace["revisions"]
    found = [(s["algorithm"], s["lock"]) for s in revision["statements"] if s["algorithm"]]
    algorithm, lock = GENTLEST[name]
    if "mariadb" not in trace["server_version"].lower() and algorithm == "NOCOPY":
        algorithm = found[0][0] if found[0][0] in ("NOCOPY", "INPLACE") else algorithm
    assert found == [(algorithm, lock)]


def test_the_statement_was_really_done(
    place: Workplace, database: str, mysql_server: MySQLServer
) -> None:
    """It runs in the gentlest form, and once; its percent signs arrive as they are."""
    report = place.run("upgrade", "safe_percent", url=database)
    assert "error" not in report
    names = mysql_server.execute(
        "SELECT column_name, column_comment FROM information_schema.columns "
        "WHERE table_schema = DATABASE() AND column_name LIKE '5%'",
        make_url(database).database,
    )
    assert names == (("5 % of", "a % sign"),)
    report = place.run("downgrade", "-1", url=database)
    assert "error" not in report, report["error"]
    (revision,) = report["trace"]["revisions"]
    assert revision["statements"][0]["algorithm"] == "INSTANT"
    assert revision["statements"][0]["sql"].startswith("ALTER TABLE users DROP COLUMN")


def test_a_copy_beside_writers_keeps_nobody_waiting() -> None:
    """MariaDB makes one from 11.2 on, which the server of these tests need not be."""

    def rules(lock: str) -> set[str]:
        change = {"what": "type-changed", "table": "users", "column": "age", "existed": True}
        statement = {
            "sql": "ALTER TABLE users MODIFY age BIGINT",
            "line": 1,
            "error": None,
            "algorithm": "COPY",
            "lock": lock,
            "changes": [{**change, "nullable": True, "default": False}],
        }
        revision = {
            "revision": "r",
            "file": "no_such_file.py",
            "direction": "upgrade",
            "error": None,
            "operations": [],
            "statements": [statement],
            "elsewhere": [],
        }
        trace = {"dialect": "mysql", "server_version": "11.2", "revisions": [revision]}
        return {f.rule for f in findings_of(trace)}

    assert rules("SHARED") - rules("NONE") == {"type-change-rewrite"}


def test_no_lock_wait_timeout_is_said_once(place: Workplace, database: str) -> None:
    _, findings = run(place, database, "safe_add_nullable")
    assert [f.rule for f in findings] == ["no-lock-timeout"]
    assert findings[0].verdict == "style"


def test_an_error_is_the_statements_own(place: Workplace, database: str) -> None:
    _, findings = run(place, database, "fails_half_way")
    (failed,) = [f for f in findings if f.rule == "does-not-run"]
    assert "Duplicate column name 'a'" in " ".join(failed.evidence)
    assert "keeps what was done before" in failed.message
    source = Path(FOLDER / "fails_half_way.py").read_text().splitlines()
    assert failed.line is not None
    assert "ADD COLUMN a INTEGER" in source[failed.line - 1]
