"""Every revision of the corpus runs on MariaDB or MySQL and gets exactly what it expects."""

import runpy
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.engine import make_url

from corpus import forms
from corpus.runner import CORPUS, MADE_ANEW_ENV, Case, Workplace, cases, reports_with_siblings
from servers.mysql import MySQLServer
from toolkit.database.trace import mysql as trace
from toolkit.migration.review import findings_of
from toolkit.migration.review.mysql import findings_of_revision
from toolkit.report.finding import Finding

FOLDER = CORPUS / "mysql"
CASES = cases(FOLDER)


RUN_ALONE = ("safe_percent", "safe_add_nullable", "fails_half_way")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("corpus") / "p", FOLDER, only=RUN_ALONE)


@pytest.fixture(scope="module")
def base() -> list[str]:
    """What makes the base revision: to let Alembic do that takes longer than all else (#10)."""
    text = StringIO()
    options = {"as_sql": True, "output_buffer": text}
    with Operations.context(MigrationContext.configure(dialect_name="mysql", opts=options)):
        runpy.run_path(str(FOLDER / "base.py"))["upgrade"]()
    return [
        *filter(None, map(str.strip, text.getvalue().split(";\n"))),
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('before')",
    ]


@pytest.fixture
def at_base(
    base: list[str], make_database: Callable[[str], str], mysql_server: MySQLServer
) -> Callable[[], str]:
    def make() -> str:
        url = make_database("mysql")
        mysql_server.execute_all(base, str(make_url(url).database))
        return url

    return make


@pytest.fixture
def database(at_base: Callable[[], str]) -> str:
    return at_base()


def verdicts(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(f.rule, str(f.verdict)) for f in findings if f.rule != "no-lock-timeout"}


@pytest.fixture(scope="module")
def reports() -> dict[str, dict[str, Any]]:
    """What the worker said of each case so far."""
    return {}


@pytest.fixture
def report(
    case: Case, base: list[str], at_base: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory, reports: dict[str, dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    if case.name not in reports:
        url = at_base()
        name = make_url(url).database
        again = [f"DROP DATABASE {name}", f"CREATE DATABASE {name} CHARACTER SET utf8mb4"]
        anew = repr([*again, f"USE {name}", *base])
        env = MADE_ANEW_ENV.replace("{statements}", anew)
        root = tmp_path_factory.mktemp("siblings") / "p"  # which the findings of all read
        reports |= reports_with_siblings(case, CASES, root, env=env, url=url)
    return reports[case.name]


def run(place: Workplace, database: str, name: str) -> list[Finding]:
    """The findings of one revision."""
    return findings_of(place.run("upgrade", name, url=database)["trace"])


@pytest.mark.any_sqlalchemy
def test_the_corpus_is_as_large_as_promised() -> None:
    assert {case.name for case in CASES} >= GENTLEST.keys()
    assert len(CASES) >= 60
    assert sum(case.is_safe for case in CASES) >= 15


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.any_sqlalchemy
def test_verdict(case: Case, report: dict[str, Any], at_base: Callable[[], str]) -> None:
    trace = report["trace"]
    (revision,) = trace["revisions"]
    assert revision["revision"] == case.name
    findings = findings_of(trace)
    found = verdicts(findings)
    assert found == set(case.expected), (sorted(found), trace)
    for finding in findings:
        if finding.source == "trace" and finding.rule not in ("half-way", "no-lock-timeout"):
            assert finding.line, finding
            assert finding.evidence, finding
        if finding.rewrite:
            carry_both_ways(finding.rewrite, at_base())
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


def test_a_table_whose_old_name_is_a_view_serves_old_code() -> None:
    """A view of one table takes writes."""

    def rules(view: str) -> set[str]:
        renamed = {"what": "table-renamed", "table": "orders", "new": "purchases", "existed": True}
        facts = {"line": 1, "error": None, "algorithm": None, "lock": None}
        statements = [
            {**facts, "sql": "RENAME TABLE orders TO purchases", "changes": [renamed]},
            {**facts, "sql": f"CREATE VIEW `{view}` AS SELECT * FROM purchases", "changes": []},
        ]
        revision = {"revision": "r", "file": "r.py", "direction": "upgrade", "error": None}
        return {f.rule for f in findings_of_revision({**revision, "statements": statements})}

    assert rules("others") - rules("orders") == {"rename-table"}


def test_no_lock_wait_timeout_is_said_once(place: Workplace, database: str) -> None:
    findings = run(place, database, "safe_add_nullable")
    assert [f.rule for f in findings] == ["no-lock-timeout"]
    assert findings[0].verdict == "style"


def test_an_error_is_the_statements_own(place: Workplace, database: str) -> None:
    findings = run(place, database, "fails_half_way")
    (failed,) = [f for f in findings if f.rule == "does-not-run"]
    assert "Duplicate column name 'a'" in " ".join(failed.evidence)
    assert "keeps what was done before" in failed.message
    source = Path(FOLDER / "fails_half_way.py").read_text().splitlines()
    assert failed.line is not None
    assert "ADD COLUMN a INTEGER" in source[failed.line - 1]


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("nullable", "default", "extra", "filled", "one_value"),
    [
        (True, None, "", False, False),
        (False, None, "", False, True),
        (True, "NULL", "", False, False),
        (False, "5", "", True, True),
        (False, b"5", "", True, True),
        (False, None, "auto_increment", True, False),
        (True, None, "STORED GENERATED", True, False),
        (False, None, "VIRTUAL GENERATED", True, False),
        (False, "CURRENT_TIMESTAMP", "DEFAULT_GENERATED", True, False),
        (False, "uuid()", "DEFAULT_GENERATED", True, False),
        (True, "uuid()", "", True, False),
        (True, "CURRENT_TIMESTAMP", "DEFAULT_GENERATED on update CURRENT_TIMESTAMP", True, False),
    ],
)
def test_what_an_insert_may_leave_out(
    nullable: bool, default: str | bytes | None, extra: str, filled: bool, one_value: bool
) -> None:
    """In the words of MySQL and of MariaDB, of which the tests start one."""
    found = trace.facts_of("int", nullable, default, extra.upper())
    wanted = {"default": filled, "one_value": one_value}
    assert found == {"type": "int", "nullable": nullable, **wanted}
