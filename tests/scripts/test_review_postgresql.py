"""Every revision of the corpus runs on PostgreSQL and gets exactly the verdicts it expects."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from corpus import forms
from corpus.runner import (
    CORPUS,
    ENV,
    SIBLINGS_ENV,
    SYNC_ENV,
    Case,
    Workplace,
    cases,
    copy_of,
    reports_with_siblings,
)
from servers.postgres import PostgresServer
from toolkit.migration.review import find_squawk, findings_of
from toolkit.migration.review.findings import unique
from toolkit.migration.review.forms.rows import backfill, same_twice
from toolkit.migration.review.forms.writing import Form, in_place_of
from toolkit.migration.review.operations import changes_schema, of_source
from toolkit.migration.review.postgresql_columns import loses, says_zone
from toolkit.migration.review.postgresql_numbers import says_number
from toolkit.migration.review.postgresql_schema import keeps_name, serves_as
from toolkit.migration.review.postgresql_triggers import findings_of_trigger, what_it_refuses
from toolkit.migration.review.squawk import (
    VERSION,
    Squawk,
    opinions,
    script_of,
    second_opinion,
)
from toolkit.report.finding import Finding, Verdict

FOLDER = CORPUS / "postgresql"
CASES = cases(FOLDER)
LOUD = Verdict.STYLE.rank
WITHOUT_FORM = """
    add_constant_unique
    add_domain add_stored_generated batches_together cluster delete_all_rows delete_by_name
    delete_duplicates delete_in_ranges delete_old_rows delete_using_join detach_concurrently
    disable_trigger do_block do_dynamic_update do_second_statement do_truncate downgrade_pass
    downgrade_raises drop_column_cascade drop_extension drop_function_cascade
    drop_materialized_view drop_primary_key drop_schema_cascade drop_sequence_cascade
    drop_trigger drop_type_cascade drop_unique_constraint drop_view enum_added_and_used
    enum_swap_with_more environment environment_by_helper environment_of_module exclusion
    function_that_deletes identity_always lock_table materialized_view_made_again merge_deletes
    other_connection rename_constraint sequence_backwards sequence_maximum
    owner_changed policy_dropped policy_narrower rename_enum_value rename_function revoke
    row_security row_security_after_column row_security_read_only row_security_restrictive
    row_security_tenant rows_by_helper rows_by_orm rows_by_statement_in_variable rows_for_update
    rows_in_comprehension rows_in_executemany rows_one_by_one rule_instead sequence_restart
    sequence_setval serial_to_identity set_unlogged several_locks several_statements
    swap_by_copy swap_for_empty timestamp_zone trigger_for_replication_only
    trigger_function_raises trigger_refuses
    trigger_swallows trigger_wants_new_column truncate type_bool_to_int type_enum_swap
    type_enum_to_varchar type_made_again type_set_schema update_all_rows_core
    update_by_other_table update_by_with update_to_null vacuum_full view_in_place_read_only
    view_in_place_shorter view_renamed view_shorter
"""
WITH_FORM = [case for case in CASES if not case.is_safe and case.name not in WITHOUT_FORM.split()]


@pytest.fixture(scope="module")
def template(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A database at the base revision, to be copied."""
    name = f"asp_corpus_{uuid.uuid4().hex[:12]}"
    postgres_server.create_database(name)
    try:
        place = Workplace(tmp_path_factory.mktemp("base") / "p", FOLDER, only=())
        report = place.run("upgrade", "before", url=postgres_server.url(name))
        assert "error" not in report, report["error"]["message"]
        yield name
    finally:
        postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    only = ("index_plain", "safe_varchar_wider")  # what tests below run as it stands
    return Workplace(tmp_path_factory.mktemp("corpus") / "p", FOLDER, only=only)


@dataclass(frozen=True)
class Filled:
    """Names of two databases to be copied: with rights and comments, and one with rows, too."""

    server: PostgresServer
    empty: str
    rows: str


@pytest.fixture(scope="module")
def filled(postgres_server: PostgresServer, template: str) -> Iterator[Filled]:
    made = Filled(postgres_server, f"{template}_empty", f"{template}_rows")
    try:
        for name in (made.empty, made.rows):
            postgres_server.create_database(name, template)
            forms.prepare(postgres_server.url(name), rows=name == made.rows)
        yield made
    finally:
        for name in (made.empty, made.rows):
            postgres_server.drop_database(name)


@pytest.fixture
def database(postgres_server: PostgresServer, template: str) -> Iterator[str]:
    with copy_of(postgres_server, template, f"asp_test_{uuid.uuid4().hex[:12]}") as url:
        yield url


@pytest.fixture(scope="module")
def squawk() -> Squawk | None:
    return find_squawk()[0]


def loud(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(one.rule, str(one.verdict)) for one in findings if one.verdict.rank < LOUD}


def said(findings: list[Finding]) -> str:
    return "\n".join(f"{f.rule} {f.verdict} {f.table}:{f.line} {f.evidence}" for f in findings)


@pytest.mark.any_sqlalchemy
def test_the_corpus_is_as_large_as_promised() -> None:
    assert {case.name for case in CASES} >= {*forms.WRITES}
    assert len(CASES) >= 205
    assert sum(not case.is_safe for case in CASES) >= 150
    assert sum(case.is_safe for case in CASES) >= 50


@pytest.fixture(scope="module")
def reports() -> dict[str, dict[str, Any]]:
    """What the worker said of each case so far."""
    return {}


@pytest.fixture
def report(
    case: Case, postgres_server: PostgresServer, template: str,
    tmp_path_factory: pytest.TempPathFactory, reports: dict[str, dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    if case.name not in reports:
        root = tmp_path_factory.mktemp("siblings") / "p"  # which the findings of all read
        with copy_of(postgres_server, template, f"asp_test_{uuid.uuid4().hex[:12]}") as url:
            reports |= reports_with_siblings(case, CASES, root, env=SIBLINGS_ENV, url=url)
    return reports[case.name]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.any_sqlalchemy
def test_verdict(case: Case, report: dict[str, Any], squawk: Squawk | None) -> None:
    (revision,) = report["trace"]["revisions"]
    assert revision["revision"] == case.name
    findings = findings_of(report["trace"], squawk=squawk)
    found = loud(findings)
    assert found == set(case.expected), (sorted(found), said(findings))
    if case.name == "indexes_several":
        assert [one.rule for one in findings].count("index-not-concurrent") == 1
    fails = any(verdict == "fails" for _, verdict in case.expected)
    with_rows = {"add_not_null", "add_constant_unique", "sequence_maximum"}
    assert ("error" in report) == (fails and case.name not in with_rows)
    for finding in findings:
        if finding.verdict.rank < LOUD and finding.source == "trace":
            line = case.path.read_text().splitlines()[(finding.line or 0) - 1]
            assert finding.line and finding.evidence, finding
            assert not line.startswith("def "), line
    assert bool(rewritten(report)) == (case in WITH_FORM)


def rewritten(report: dict[str, Any]) -> list[Finding]:
    found = findings_of(report["trace"])
    return [one for one in found if one.rewrite and one.verdict.rank < LOUD]


@pytest.mark.parametrize("case", WITH_FORM, ids=lambda case: case.name)
@pytest.mark.any_sqlalchemy
@pytest.mark.sweep(every=10)
def test_the_form_is_right_under_writers(
    case: Case, report: dict[str, Any], filled: Filled
) -> None:
    """What is printed is carried out: `make forms` tells which."""
    for finding in rewritten(report):
        hold_the_form(case, finding, filled)


def trace_of(
    place: Workplace, database: str, name: str, body: str, *, target: str = "", down: str = "pass"
) -> dict[str, Any]:
    """Write one more revision and run it."""
    write(place, name, body, "before", down)
    try:
        return place.run("upgrade", target or name, url=database)
    finally:
        (place.versions / f"{name}.py").unlink()


def write(place: Workplace, name: str, body: str, parent: str, down: str = "pass") -> Path:
    lines = "\n    ".join(body.splitlines())
    path = place.versions / f"{name}.py"
    path.write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n\n"
        f'revision = "{name}"\ndown_revision = "{parent}"\n\n\n'
        f"def upgrade():\n    {lines}\n\n\ndef downgrade():\n    {down}\n"
    )
    return path


@pytest.mark.parametrize("driver", ["psycopg", "psycopg_async"])  # asyncpg: test_verdict
@pytest.mark.parametrize("name", ["type_int_to_bigint", "safe_set_not_null_after_check",
                                  "safe_index_concurrently", "backfill_after_ddl",
                                  "several_statements", "index_plain_autocommit",
                                  "enum_added_and_used"])  # fmt: skip
def test_every_driver_tells_the_same(name: str, driver: str, tmp_path: Path, database: str) -> None:
    url = database.replace("+asyncpg", f"+{driver}")
    dead = f"postgresql+{driver.removesuffix('_async')}://nobody@127.0.0.1:1/none"
    env = {"env": SYNC_ENV} if driver == "psycopg" else {}
    place = Workplace(tmp_path / "p", FOLDER, url=dead, only=[name], **env)
    report = place.run("upgrade", name, url=url)
    found = loud(findings_of(report["trace"]))
    expected = {case.name: set(case.expected) for case in CASES}[name]
    if name == "several_statements":
        expected = set()  # this driver sends them, and both are harmless
    assert found == expected, report


def test_several_revisions_in_one_command_have_readings_of_their_own(
    place: Workplace, database: str
) -> None:
    """All in one transaction, as env.py files do by default: the second revision's lock is
    reported though the first one has it already."""
    paths = [
        write(place, "one", 'op.execute("ALTER TABLE users ADD COLUMN a int")', "before"),
        write(place, "two", 'op.create_index("ix_a", "users", ["a"])', "one"),
        write(place, "three", 'op.drop_column("users", "a")', "two"),
    ]
    try:
        report = place.run("upgrade", "three", url=database)
        again = place.run("downgrade", "two", url=database)
        trace = report["trace"]
        found = findings_of(trace)
    finally:
        for path in paths:
            path.unlink()
    assert [one["revision"] for one in trace["revisions"]] == ["one", "two", "three"]
    assert {(f.revision, f.rule) for f in found if f.verdict.rank < LOUD} >= {
        ("two", "index-not-concurrent"), ("three", "drop-column"), ("one", "downgrade-empty"),
    }  # fmt: skip
    for revision in (trace["revisions"][0], trace["revisions"][2]):
        assert ("public.users", "AccessExclusiveLock") in {
            (lock["relation"], lock["mode"]) for lock in revision["statements"][0]["locks"]
        }
    assert sum(f.rule == "no-lock-timeout" for f in found) == 1
    assert again["trace"]["revisions"][0]["direction"] == "downgrade"
    assert trace["server_version"].split(".")[0].isdigit()


def test_the_tracer_is_not_in_the_trace(place: Workplace, database: str) -> None:
    body = (
        "seen = []\n"
        "note = lambda *a: seen.append(a[2])\n"
        "sa.event.listen(sa.engine.Engine, 'before_cursor_execute', note)\n"
        "op.execute('ALTER TABLE users ADD COLUMN a int')\n"
        "assert seen == ['ALTER TABLE users ADD COLUMN a int'], seen"
    )
    report = trace_of(place, database, "quiet", body)
    assert "error" not in report, report["error"]["message"]
    (statement,) = report["trace"]["revisions"][0]["statements"]
    assert statement["locks"] == [
        {"relation": "public.users", "mode": "AccessExclusiveLock", "existed": True,
         "kind": "table"},
    ]  # fmt: skip


def test_each_statement_in_an_autocommit_block_has_its_own_lock(
    place: Workplace, database: str
) -> None:
    """The one before let go of the same lock: it is taken again."""
    body = (
        "with op.get_context().autocommit_block():\n"
        "    op.execute('CREATE INDEX ix_one ON users (nick)')\n"
        "    op.execute('CREATE INDEX ix_two ON users (nick)')"
    )
    trace = trace_of(place, database, "indexes", body)["trace"]
    for statement in trace["revisions"][0]["statements"]:
        modes = {(lock["relation"], lock["mode"]) for lock in statement["locks"]}
        assert ("public.users", "ShareLock") in modes, statement


def test_values_of_parameters_are_not_kept(place: Workplace, database: str) -> None:
    body = (
        "op.get_bind().execute(sa.text('UPDATE users SET nick = :n WHERE id = 1'), "
        "{'n': 'hunter2'})"
    )
    report = trace_of(place, database, "secret", body)
    statement = report["trace"]["revisions"][0]["statements"][0]
    assert statement["parameters"] is True
    assert "hunter2" not in str(statement)


def test_a_savepoint_that_is_rolled_back_leaves_no_change(place: Workplace, database: str) -> None:
    body = (
        "with op.get_bind().begin_nested() as point:\n"
        "    op.drop_column('users', 'nick')\n"
        "    point.rollback()\n"
        "try:\n"
        "    with op.get_bind().begin_nested():\n"
        "        op.execute('SELECT 1/0')\n"
        "except sa.exc.DBAPIError:\n"
        "    pass\n"
        "op.execute('ALTER TABLE users ADD COLUMN a int')"
    )
    report = trace_of(place, database, "savepoint", body)
    assert "error" not in report, report["error"]["message"]
    changes = [c["what"] for c in report["trace"]["revisions"][0]["statements"][-1]["changes"]]
    assert changes == ["column-added"]


def test_a_rollback_in_the_revision_leaves_no_change(tmp_path: Path, database: str) -> None:
    """In the transaction of an env.py that has begun one itself."""
    begun = "    connection.exec_driver_sql('SELECT 1')\n    context.configure("
    kept = "        context.run_migrations()\n    connection.commit()"
    env = ENV.replace("    context.configure(", begun).replace(kept.partition("\n")[0], kept)
    own = Workplace(tmp_path / "p", FOLDER, env=env, only=())
    body = (
        "op.drop_column('users', 'nick')\n"
        "op.get_bind().rollback()\n"
        "op.execute('ALTER TABLE users ADD COLUMN a int')"
    )
    report = trace_of(own, database, "undone", body)
    assert "error" not in report, report["error"]["message"]
    changes = [c["what"] for c in report["trace"]["revisions"][0]["statements"][-1]["changes"]]
    assert changes == ["column-added"]


def hold_the_form(case: Case, finding: Finding, filled: Filled) -> None:
    writes = forms.writes_of(case.name, finding.table)
    with copy_of(filled.server, filled.empty, f"asp_test_{uuid.uuid4().hex[:12]}") as url:
        plain = forms.plain_schema(case.path, writes, url)
    with copy_of(filled.server, filled.rows, f"asp_test_{uuid.uuid4().hex[:12]}") as url:
        revisions = forms.check(forms.functions(finding.rewrite), writes, url, plain)
    print(f"form: {case.name}, {finding.rule}: right, revisions up and down: {revisions}")


FACTS = {"key": ["id"], "kind": "r"}


@pytest.mark.parametrize(
    "value",
    ["age = age + 1", "a = 1, b = 2", "nick = (SELECT 1)", "nick = %(x)s", "nick = :x", "age = $1"],
)
@pytest.mark.any_sqlalchemy
def test_there_is_no_batched_form(value: str) -> None:
    """Of what is another thing when it is done twice, and of what the text does not tell."""
    assert backfill("public.users", FACTS, f"UPDATE users SET {value}").text == ""


@pytest.mark.parametrize(
    ("value", "condition", "same"),
    [
        ("'x'", "", True),
        ("nickname || 'x'", "", True),  # another column
        ("lower(nick)", "", True),
        ("coalesce(nick, 'x')", "", True),
        ("nick || 'x'", "", False),
        ("lower(nick) || 'x'", "", False),
        ("nick || 'x'", "(nick IS NULL)", True),
        ("nick || 'x'", "age IS NULL", False),
    ],
)
@pytest.mark.any_sqlalchemy
def test_what_is_the_same_when_it_is_done_twice(value: str, condition: str, same: bool) -> None:
    assert same_twice("nick", value, condition) is same


@pytest.mark.any_sqlalchemy
def test_a_table_under_another_name_has_no_batched_form() -> None:
    """What the statement says of it would not run in the form, which has the table's own."""
    sql = "UPDATE users AS u SET nick = 'x' WHERE u.city IS NULL"
    assert backfill("public.users", FACTS, sql).text == ""


@pytest.mark.any_sqlalchemy
def test_a_table_without_a_key_has_no_batches() -> None:
    found = backfill("public.users", {"key": None}, "UPDATE users SET nick = now()")
    assert not found.text
    assert "no primary key" in found.why_not


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE users ADD COLUMN a int, ALTER COLUMN nick SET NOT NULL",
        "DROP TABLE users, orders",
        "DROP INDEX one, two",
        "DROP TYPE status CASCADE",
        "DO $$ BEGIN EXECUTE 'ALTER TABLE users ALTER nick SET NOT NULL'; END $$",
    ],
)
@pytest.mark.any_sqlalchemy
def test_a_form_for_a_part_of_a_statement_is_not_printed(sql: str) -> None:
    assert in_place_of(sql, Form("def upgrade() -> None: ...")).text == ""


@pytest.mark.any_sqlalchemy
def test_commas_in_an_action_are_no_second_action() -> None:
    form = Form("def upgrade() -> None: ...")
    sql = "ALTER TABLE users ADD CONSTRAINT u UNIQUE (name, nick), /* add */"
    assert in_place_of(sql.partition(", /*")[0], form) == form
    assert in_place_of("ALTER TABLE users ADD CHECK (nick IN ('a', ', DROP'))", form) == form


def test_a_commit_in_sql_before_concurrently(place: Workplace, database: str) -> None:
    """An old trick that works with asyncpg; it has to work under the tracer, too."""
    body = "op.execute('COMMIT')\nop.execute('CREATE INDEX CONCURRENTLY ixx ON users (name)')"
    report = trace_of(place, database, "trick", body, down="op.drop_index('ixx')")
    assert "error" not in report, report["error"]
    (statement,) = report["trace"]["revisions"][0]["statements"]
    assert statement["in_transaction"] is False
    assert loud(findings_of(report["trace"])) == set()


def test_a_commit_in_sql_gives_the_locks_back(place: Workplace, database: str) -> None:
    body = (
        "op.add_column('users', sa.Column('handle', sa.Text))\n"
        "op.execute('COMMIT')\n"
        "op.execute('UPDATE users SET handle = lower(nick) WHERE handle IS NULL')"
    )
    report = trace_of(place, database, "ended", body, down="op.drop_column('users', 'handle')")
    assert "error" not in report, report["error"]
    first, second = report["trace"]["revisions"][0]["statements"]
    assert first["segment"] < second["segment"]
    assert ("backfill-with-lock", "blocks") not in loud(findings_of(report["trace"]))


@pytest.mark.any_sqlalchemy
def test_squawk_agrees_and_brings_no_false_alarm(place: Workplace, database: str) -> None:
    squawk, note = find_squawk()
    assert squawk is not None, "squawk-cli belongs to the test environment"
    assert note == "" and squawk.version == VERSION
    trace = place.run("upgrade", "index_plain", url=database)["trace"]
    (finding,) = (f for f in findings_of(trace, squawk=squawk) if f.verdict.rank < LOUD)
    assert f"squawk {VERSION} agrees: require-concurrent-index-creation" in finding.evidence
    assert not any("squawk" in f.evidence for f in findings_of(trace))


@pytest.mark.any_sqlalchemy
def test_squawk_does_not_overrule_the_trace(place: Workplace, database: str) -> None:
    """It flags every new type; this one was seen to rewrite nothing."""
    squawk = find_squawk()[0]
    assert squawk is not None
    trace = place.run("upgrade", "safe_varchar_wider", url=database)["trace"]
    rules = {rule for _, rule, _ in opinions(trace["revisions"], squawk)}
    assert "changing-column-type" in rules
    assert loud(findings_of(trace, squawk=squawk)) == set()


@pytest.mark.any_sqlalchemy
def test_style_that_only_squawk_knows(place: Workplace, database: str) -> None:
    body = 'op.execute("ALTER TABLE users ADD COLUMN plate char(9)")'
    trace = trace_of(place, database, "plate", body)["trace"]
    found = {
        (f.rule, f.source, str(f.verdict)) for f in findings_of(trace, squawk=find_squawk()[0])
    }
    assert ("ban-char-field", "squawk", "style") in found


@pytest.mark.any_sqlalchemy
def test_squawk_agrees_with_the_finding_on_its_own_statement(tmp_path: Path) -> None:
    drops = [f"ALTER TABLE users\nDROP COLUMN {name}" for name in ("age", "nick")]
    statements = [
        {"sql": sql, "line": line, "in_transaction": True}
        for line, sql in enumerate(drops, start=7)
    ]
    revision = {"revision": "r", "direction": "upgrade", "statements": statements}
    ours = [
        Finding("drop-column", Verdict.DATA_LOSS, "gone", revision="r", line=line)
        for line in (7, 8)
    ]
    lines = script_of(revision)[0].splitlines()
    said = {
        "file": "0.sql",
        "line": lines.index("DROP COLUMN nick;"),
        "rule_name": "ban-drop-column",
    }
    program = tmp_path / "squawk"
    program.write_text(f"#!/bin/sh\necho '{json.dumps([said])}'\n")
    program.chmod(0o755)
    found = second_opinion({"revisions": [revision]}, ours, Squawk(str(program), VERSION))
    agrees = (f"squawk {VERSION} agrees: ban-drop-column",)
    assert [one.evidence for one in found] == [(), agrees]


@pytest.mark.any_sqlalchemy
def test_squawk_that_fails_is_said(place: Workplace, database: str, tmp_path: Path) -> None:
    trace = place.run("upgrade", "safe_varchar_wider", url=database)["trace"]
    broken = tmp_path / "squawk"
    broken.write_text("#!/bin/sh\necho no memory >&2\nexit 3\n")
    broken.chmod(0o755)
    found = findings_of(trace, squawk=Squawk(str(broken), VERSION))
    assert [f.message for f in found if f.rule == "squawk-failed"] == [
        f"squawk {VERSION} gave no second opinion: no memory"
    ]


@pytest.mark.any_sqlalchemy
def test_squawk_that_is_missing_or_another_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    squawk, note = find_squawk()
    assert squawk is None
    assert "not installed" in note and VERSION in note and "\n" not in note
    other = tmp_path / "squawk"
    other.write_text("#!/bin/sh\necho squawk 9.9.9\n")
    other.chmod(0o755)
    squawk, note = find_squawk()
    assert squawk == Squawk(str(other), "9.9.9")
    assert note == f"squawk is 9.9.9, these rules know {VERSION}"


@pytest.mark.parametrize(
    ("loop", "rule"),
    [
        ("while rows:\n        bind.execute(sa.text('UPDATE users SET nick = 1'))",
         {"batches-in-one-transaction"}),
        ("while rows:\n        found.update(rows.pop())", set[str]()),
        ("with op.get_context().autocommit_block():\n        while rows:\n"
         "            bind.execute(sa.text('UPDATE users SET nick = 1'))", set[str]()),
        ("for row in bind.execute(sa.text('SELECT 1')):\n        found.update(row)", set[str]()),
    ],
)  # fmt: skip
@pytest.mark.any_sqlalchemy
def test_a_loop_that_sends_nothing_is_none(loop: str, rule: set[str]) -> None:
    revision = {"revision": "r", "file": "r.py"}
    source = f"def upgrade():\n    {loop}\n"
    assert {one.rule for one in of_source(revision, source)} == rule


@pytest.mark.parametrize(
    ("before", "after", "using", "less"),
    [
        ("numeric(9,2)", "real", "", True),
        ("double precision", "real", "", True),
        ("bigint", "real", "", False),
        ("numeric", "integer", "", True),
        ("numeric(9,0)", "integer", "", False),
        ("numeric", "numeric(9,2)", "", True),
        ("numeric(9,4)", "numeric(9,2)", "", True),
        ("numeric(9,2)", "numeric(9,2)", "", False),
        ("numeric(9,2)", "numeric", "", False),
        ("bigint", "numeric(9,2)", "", False),
        ("numeric(9,2)[]", "integer[]", "", False),
        ("timestamp without time zone", "time without time zone", "", True),
        ("timestamp(3) without time zone", "timestamp(0) with time zone", "", True),
        ("date", "timestamp without time zone", "", False),
        ("text", "character varying(5)", "", False),
        ("text", "character varying(5)", " USING left(nick, 5)", True),
        ("text", "character varying(5)", " USING nick::varchar(5)", True),
        ("text", "character varying(5)", " USING lower(nick)", False),
        ("text", "character varying(5)", ", ALTER state SET DEFAULT 'x'::varchar(5)", False),
        ("integer", "text", "", False),
    ],
)
@pytest.mark.any_sqlalchemy
def test_which_type_takes_less_of_a_value(before: str, after: str, using: str, less: bool) -> None:
    sql = f"ALTER TABLE users ALTER COLUMN nick TYPE {after}{using}"
    assert loses({"before": before, "after": after}, sql) is less


@pytest.mark.any_sqlalchemy
def test_a_zone_is_said_before_and_a_number_after() -> None:
    zone, retyped, identity, number = (
        {"sql": sql}
        for sql in (
            "SET LOCAL TimeZone = 'UTC'",
            "ALTER TABLE users ALTER COLUMN born TYPE timestamptz",
            "ALTER TABLE users ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY",
            "SELECT setval('users_id_seq', 7)",
        )
    )
    assert says_zone({"statements": [zone, retyped]}, retyped)
    assert not says_zone({"statements": [retyped, zone]}, retyped)
    assert says_number({"statements": [identity, number]}, identity)
    assert not says_number({"statements": [number, identity]}, identity)


UNIQUE = "CREATE UNIQUE INDEX u ON users USING btree (nick)"


@pytest.mark.parametrize(
    ("before", "after", "serves"),
    [
        ("UNIQUE (nick)", "PRIMARY KEY (nick)", True),
        ("UNIQUE (nick)", "UNIQUE (nick, age)", False),
        ("UNIQUE (nick)", "UNIQUE (nick) DEFERRABLE", False),
        ("UNIQUE (nick) DEFERRABLE", "UNIQUE (nick) DEFERRABLE", True),
        ("UNIQUE (nick)", f"{UNIQUE} WHERE (age > 1)", False),
        (f"{UNIQUE} WHERE (age > 1)", f"{UNIQUE} WHERE (age > 1)", True),
        (f"{UNIQUE} WHERE (age > 1)", f"{UNIQUE} WHERE (age > 2)", False),
        (f"{UNIQUE} WHERE (age > 1)", UNIQUE, True),
    ],
)
@pytest.mark.any_sqlalchemy
def test_what_serves_as_the_unique_index_that_goes(before: str, after: str, serves: bool) -> None:
    assert serves_as(after, ["nick"], {"definition": before}) is serves


@pytest.mark.parametrize(
    ("others", "kept"),
    [
        ([], False),
        ([{"what": "constraint-dropped", "name": "new"}], True),
        ([{"what": "constraint-added", "name": "old"}], True),
        ([{"what": "constraint-renamed", "name": "spare", "to": "old"}], True),
        ([{"what": "constraint-dropped", "name": "spare"}], False),
        ([{"what": "constraint-added", "name": "spare"}], False),
    ],
)
@pytest.mark.any_sqlalchemy
def test_a_constraint_may_take_a_name_that_is_free(
    others: list[dict[str, Any]], kept: bool
) -> None:
    renamed = {"what": "constraint-renamed", "name": "old", "to": "new"}
    assert keeps_name({"statements": [{"changes": [renamed, *others]}]}, renamed) is kept


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("RAISE EXCEPTION 'no';", "raises"),
        ("RAISE NOTICE 'no';", ""),
        ("IF NEW.plan IS NULL THEN RAISE EXCEPTION 'no'; END IF;", "raises"),
        ("IF NEW.age IS NULL THEN RAISE EXCEPTION 'no'; END IF;", ""),
        ("IF NEW.plan IS NULL AND NEW.age > 9 THEN RAISE EXCEPTION 'no'; END IF;", ""),
        ("IF NEW.plan IS NULL OR NEW.age > 9 THEN RAISE EXCEPTION 'no'; END IF;", "raises"),
        ("IF TG_OP = 'UPDATE' THEN RAISE EXCEPTION 'no'; END IF;", "raises"),
        ("IF TG_OP <> 'UPDATE' THEN RAISE EXCEPTION 'no'; END IF;", "raises"),
        ("IF NOT TG_OP = 'INSERT' THEN RAISE EXCEPTION 'no'; END IF;", ""),
        ("IF TG_OP = 'DELETE' THEN RAISE EXCEPTION 'no'; END IF;", ""),
        ("RETURN NULL;", "returns NULL"),
        ("IF NEW.age > 9 THEN RETURN NULL; END IF; RETURN NEW;", ""),
        ("EXCEPTION WHEN others THEN RAISE EXCEPTION 'no'; END;", ""),
    ],
)
@pytest.mark.any_sqlalchemy
def test_what_a_trigger_refuses(body: str, says: str) -> None:
    """`plan` is a column that code which still runs does not know."""
    function = "CREATE {}FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {} END$$"
    found = what_it_refuses(function.format("", body), {"plan"}, per_row=True)
    assert found.startswith(says) and bool(found) is bool(says), found
    if says == "returns NULL":
        assert not what_it_refuses(function.format("", body), {"plan"}, per_row=False)

    def refused(when: str, *more: str) -> list[str]:
        made = f"CREATE TRIGGER t {when} INSERT ON users FOR EACH ROW EXECUTE FUNCTION f()"
        change = {"what": "trigger-created", "table": "users", "name": "t", "internal": False}
        added = {"what": "column-added", "table": "users", "column": "plan"}
        texts = (function.format("", body), *more, made)
        statements = [{"sql": sql, "line": 1, "changes": [added]} for sql in texts]
        revision = {"revision": "r", "file": "r.py", "statements": statements}
        return [one.rule for one in findings_of_trigger(revision, statements[-1], change)]

    assert bool(refused("BEFORE")) is bool(says)
    # What a trigger returns that fires afterwards is no matter.
    assert bool(refused("AFTER")) is (says == "raises")
    assert refused("BEFORE", function.format("OR REPLACE ", "RETURN NEW;")) == []


@pytest.mark.any_sqlalchemy
def test_a_finding_is_told_once_for_each_thing_in_each_line() -> None:
    one = Finding("drop-column", Verdict.DATA_LOSS, "a is gone", table="t", revision="r", line=7)
    others = [
        replace(one, rule="drop-table"),
        replace(one, message="b is gone"),
        replace(one, table="u"),
        replace(one, revision="s"),
        replace(one, line=8),
    ]
    again = replace(one, evidence=("the same loop, once more",))
    assert unique([one, again, *others]) == [one, *others]


@pytest.mark.any_sqlalchemy
def test_an_extension_may_stay_after_the_downgrade() -> None:
    """Others may use it by then; the functions that came with it are not the revision's."""
    made = {"what": "function-created", "name": "public.similarity"}
    extension = {"sql": "CREATE EXTENSION IF NOT EXISTS pg_trgm", "changes": [made]}
    function = {"sql": "CREATE FUNCTION similarity() ...", "changes": [made]}
    assert not changes_schema({"statements": [extension]})
    assert changes_schema({"statements": [extension, function]})


async def test_a_longer_varchar_fails_a_cached_statement_once(database: str) -> None:
    """As references/migrations.md says: harmless for the table, not for asyncpg's cache."""
    engine = create_async_engine(database, pool_size=1, max_overflow=0)
    statement = text("SELECT id, nick FROM users")
    async with engine.connect() as connection:
        await connection.execute(statement)
    with forms.connected(database) as other:
        other.execute("ALTER TABLE users ALTER COLUMN nick TYPE varchar(30)")
    async with engine.connect() as connection:
        with pytest.raises(DBAPIError, match="InvalidCachedStatementError"):
            await connection.execute(statement)
    async with engine.connect() as connection:
        await connection.execute(statement)
    await engine.dispose()
