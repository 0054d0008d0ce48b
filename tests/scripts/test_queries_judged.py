"""What the layers of optimize-queries make of what was seen, without a database or a run."""

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from projects.findings import N_PLUS_ONE, UNUSED
from toolkit.migration.refusal import Refusal
from toolkit.queries import baseline, budget, fix, outcome, target, verify
from toolkit.queries.capture import rules, rules_reads, shape
from toolkit.queries.capture.record import Capture, Engine, Frame, Statement, Unit
from toolkit.queries.capture.seen import is_own
from toolkit.queries.catalog import judge, postgresql_state
from toolkit.queries.catalog.locate import Locator
from toolkit.queries.catalog.report import ForeignKey, Key, Reader, Table, TableIndex, index_name
from toolkit.queries.finding import Confidence, Fix, Index
from toolkit.queries.result import Result, Route
from toolkit.queries.statements.counted import Counted, Statistics
from toolkit.queries.statements.judge import MOST, Captured, slow_ones, work
from toolkit.report.exits import Exit

pytestmark = pytest.mark.any_sqlalchemy

LARGE = Table("orders", None, 50_000, 8_000_000)
TINY = replace(LARGE, rows=999)


def index(*columns: str | None, table: Table = LARGE, **more: Any) -> TableIndex:
    keys = tuple(Key(column or "lower(name)", column) for column in columns)
    return TableIndex("ix_" + "_".join(map(str, columns)), table, keys, **more)


def key(*columns: str) -> ForeignKey:
    return ForeignKey("fk", LARGE, columns, "users", "CASCADE")


class Nowhere(Locator):
    """Of an application whose models are not known."""

    def __init__(self) -> None:
        super().__init__(None)


def reader(**more: Any) -> Reader:
    made = make_url("postgresql://h/x")
    return Reader(None, made, Nowhere(), **more)  # type: ignore[arg-type]  # nothing is asked


# The catalog


@pytest.mark.parametrize(
    ("there", "wanted", "covered"),
    [
        (index("a"), key("a"), True),
        (index("a", "b"), key("a"), True),
        (index("b", "a"), key("a", "b"), True),
        (index("b", "a"), key("a"), False),
        (index("a"), key("a", "b"), False),
        (index(None), key("a"), False),
        (index("a", valid=False), key("a"), False),
        (index("a", method="gin"), key("a"), False),
        (index("a", method="hash"), key("a"), True),
        (index("a", "b", method="HASH"), key("a"), False),
        (index("a", where='("a" IS NOT NULL)'), key("a"), True),
        (index("a", where="a IS NOT NULL AND b IS NOT NULL"), key("a", "b"), False),
        (index("a", "b", where="a IS NOT NULL AND b IS NOT NULL"), key("a", "b"), True),
        (index("a", where="a IS NOT NULL AND active"), key("a"), False),
        (index("a", where="b IS NOT NULL"), key("a"), False),
    ],
)
def test_an_index_covers_a_foreign_key_if_it_finds_every_child(
    there: TableIndex, wanted: ForeignKey, covered: bool
) -> None:
    assert judge.covers(there, wanted) is covered


@pytest.mark.parametrize(
    ("other", "mine", "superfluous"),
    [
        (index("a", "b"), index("a"), True),
        (index("a"), index("a", "b"), False),
        (index("b", "a"), index("a"), False),
        (index("a", "b", valid=False), index("a"), False),
        (index("a", "b", where="x"), index("a"), False),
        (index("a", "b", method="gin"), index("a", method="gin"), False),
        (index("a", "b"), index("a", include=("b",)), True),
        (index("a", "b"), index("a", include=("c",)), False),
        (index("a", "b", include=("c",)), index("a", include=("c",)), True),
    ],
)
def test_an_index_is_superfluous_where_another_serves_all_that_it_serves(
    other: TableIndex, mine: TableIndex, superfluous: bool
) -> None:
    assert judge.makes_superfluous(other, mine) is superfluous


def test_what_a_constraint_needs_is_never_superfluous() -> None:
    for more in ({"unique": True}, {"constraint": True}, {"valid": False}):
        found = reader()
        gone = judge.repeated_indexes(found, [index("a", "b"), index("a", **more)], str, "sqlite")
        assert (gone, found.findings) == (set(), [])
    twins = [replace(index("a"), name=name, order=order) for name, order in (("x", 1), ("y", 2))]
    assert judge.repeated_indexes(reader(), twins, str, "sqlite") == {"y"}


def test_an_index_is_called_unused_only_where_it_could_have_been_used() -> None:
    unused = index("a", scans=0)
    cases = (
        (unused, 1),
        (index("a", scans=1), 0),
        (index("a", scans=None), 0),
        (index("a", scans=0, table=TINY), 0),
        (index("a", scans=0, unique=True), 0),
        (index("a", scans=0, constraint=True), 0),
        (index("a", scans=0, valid=False), 0),
        (index("key", scans=0), 0),
    )
    for one, times in cases:
        found = reader()
        judge.unused_indexes(found, [one], [key("key")], str, "postgresql", days=7.0, unseen=())
        assert (len(found.findings), found.notes) == (times, [])
    for days, words in ((6.99, "6.99 days old"), (None, "of an unknown age")):
        found = reader()
        judge.unused_indexes(found, [unused], [], str, "postgresql", days=days, unseen=())
        assert not found.findings
        assert words in found.notes[0]


def test_a_few_rows_are_suspected_only() -> None:
    for table, confidence in ((LARGE, Confidence.PROVED), (TINY, Confidence.SUSPECTED)):
        found = reader()
        wanted = replace(key("a"), table=table)
        judge.unindexed_foreign_keys(found, [wanted], [], str, concurrently=True)
        assert [one.confidence for one in found.findings] == [confidence]


def test_a_key_that_runs_out_is_told_in_time() -> None:
    for used, times in ((69, 0), (70, 1), (100, 1)):
        found = reader()
        judge.near_the_end(found, LARGE, "id", "int", used=used, end=100, seen="the next is")
        assert len(found.findings) == times
    assert [judge.in_days(days) for days in (7.0, 1 / 24, 1 / 48)] == [
        "7 days",
        "1 hours",
        "30 minutes",
    ]


def state(**more: Any) -> postgresql_state.State:
    usual: dict[str, Any] = {
        "table": LARGE, "kind": "r", "analysed": True, "scans": 100, "scanned_rows": 1_000_000,
        "index_scans": 1000, "dead": 0, "deleted": 0, "writes": 0, "autovacuum": "",
        "threshold": None, "scale": None, "vacuumed": None, "autovacuumed": None,
    }  # fmt: skip
    return postgresql_state.State(**{**usual, **more})


@pytest.mark.parametrize(
    ("more", "times"),
    [
        ({}, 1),
        ({"scans": 99, "scanned_rows": 990_000}, 0),
        ({"scanned_rows": 999_999}, 0),
        ({"table": replace(LARGE, rows=9_999)}, 0),
        ({"index_scans": 1001}, 0),
    ],
)
def test_a_table_is_read_whole_too_often(more: dict[str, Any], times: int) -> None:
    found = reader()
    postgresql_state.sequential_scans(found, [state(**more)], 7.0)
    assert len(found.findings) == times


@pytest.mark.parametrize(
    ("more", "setting", "seconds", "confidence", "words"),
    [
        ({"dead": 20_098}, "on", 0, None, ""),
        ({"dead": 20_100}, "on", 0, Confidence.SUSPECTED, "may be on its way"),
        ({"dead": 20_100}, "on", 3600, Confidence.SUSPECTED, "may be on its way"),
        ({"dead": 20_100}, "on", 7200, Confidence.MEASURED, "open for 2.0 hours"),
        ({"dead": 20_100}, "off", 0, Confidence.MEASURED, "is off for it"),
        ({"dead": 20_100, "autovacuum": "false"}, "on", 0, Confidence.MEASURED, "is off"),
        ({"dead": 10_000, "scale": 0.0, "threshold": 0}, "on", 0, Confidence.SUSPECTED, "at 0"),
        ({"dead": 9_999, "scale": 0.0, "threshold": 0}, "on", 0, None, ""),
    ],
)
def test_dead_rows_are_told_from_twice_of_what_autovacuum_waits_for(
    more: dict[str, Any],
    setting: str,
    seconds: float,
    confidence: Confidence | None,
    words: str,
) -> None:
    found = reader()
    settings = {
        "autovacuum": setting,
        "autovacuum_vacuum_threshold": "50",
        "autovacuum_vacuum_scale_factor": "0.2",
    }
    postgresql_state.vacuum_lag(found, [state(**more)], settings, seconds)
    assert [one.confidence for one in found.findings] == ([confidence] if confidence else [])
    assert all(words in one.message for one in found.findings)


def test_a_table_that_was_never_analysed_is_sure_only_where_nobody_comes() -> None:
    for more, setting, confidence in (
        ({}, "on", Confidence.SUSPECTED),
        ({}, "off", Confidence.MEASURED),
        ({"autovacuum": "off"}, "on", Confidence.MEASURED),
    ):
        found = reader()
        never = state(analysed=False, **more)
        postgresql_state.never_analysed(found, [never, state()], {"autovacuum": setting})
        assert [one.confidence for one in found.findings] == [confidence]


def test_a_long_name_of_an_index_is_cut_and_stays_its_own() -> None:
    assert index_name("orders", ["a", "b"]) == "ix_orders_a_b"
    longest = "c" * (60 - len("ix_orders_"))
    assert index_name("orders", [longest]) == f"ix_orders_{longest}"
    cut = [index_name("orders", [f"{longest}{more}"]) for more in "xy"]
    assert len({*cut}) == 2
    assert {len(name) for name in cut} == {60}


# The capture


def statement(sql: str, parameters: Any = (), **more: Any) -> Statement:
    frames = (Frame("app/main.py", 1, "f"),)
    usual = {"ms": 1.0, "at": 0.0, "rows": 1, "many": 1, "loader": None}
    values = {**usual, "connection": 1, "transaction": 1, **more}
    return Statement(1, sql, shape.shape_of(sql), frames, parameters=parameters, **values)


@pytest.mark.parametrize(
    ("sql", "parameters", "offset"),
    [
        ("SELECT a FROM t LIMIT 10 OFFSET 5000", (), 5000),
        ("SELECT a FROM t LIMIT $1::INTEGER OFFSET $2::INTEGER", [10, 7000], 7000),
        ("SELECT a FROM t WHERE b = %(b)s LIMIT 1 OFFSET %(o)s", {"b": 1, "o": 8}, 8),
        ("SELECT a LIMIT %(n)s::INTEGER OFFSET %(o)s::INTEGER", {"n": 1, "o": 9}, 9),
        ("SELECT a FROM t WHERE b = ? LIMIT ? OFFSET ?", [1, 2, 3], 3),
        ("SELECT a FROM t LIMIT %s, %s", [6000, 10], 6000),
        ("SELECT a FROM t LIMIT 20, 10", (), 20),
        ("SELECT a FROM (SELECT b FROM t LIMIT 1 OFFSET 9) AS x LIMIT 1 OFFSET 4", (), 4),
        ("SELECT a FROM t LIMIT ? OFFSET ?", [1], 0),
        ("SELECT a FROM t LIMIT 1 OFFSET ?", ["5"], 0),
        ("SELECT a FROM t LIMIT 10", (), 0),
    ],
)
def test_the_offset_is_found_in_each_way_to_write_it(
    sql: str, parameters: Any, offset: int
) -> None:
    assert rules_reads.offset_of(statement(sql, parameters)) == offset


@pytest.mark.parametrize(
    ("sql", "more", "unbounded"),
    [
        ("SELECT a FROM t", {"rows": 500}, True),
        ("SELECT a FROM t", {"rows": 499}, False),
        ("SELECT a FROM t WHERE b > 1", {"rows": 1000}, True),
        ("SELECT a FROM t WHERE b > 1", {"rows": 999}, False),
        ("SELECT a FROM t WHERE b IN (1, 2)", {"rows": 9000}, False),
        ("SELECT a FROM t LIMIT 9000", {"rows": 9000}, False),
        ("SELECT a FROM t FETCH FIRST 9 ROWS ONLY", {"rows": 9000}, False),
        ("SELECT a FROM t", {"rows": 9000, "streamed": True}, False),
        ("SELECT a FROM t", {"rows": 9000, "origin": "eager"}, False),
        ("UPDATE t SET a = 1", {"rows": 9000}, False),
        ("SELECT a FROM t", {"rows": None}, False),
    ],
)
def test_what_has_no_limit_is_told_by_its_rows(
    sql: str, more: dict[str, Any], unbounded: bool
) -> None:
    assert rules_reads.is_unbounded(statement(sql, **more)) is unbounded


def test_a_statement_is_cut_at_its_outermost_clauses_and_commas() -> None:
    sql = (
        'SELECT a, coalesce(b, ?), (SELECT max(c) FROM u WHERE d = ?) AS "from x"'
        " FROM t WHERE e IN (SELECT f FROM v ORDER BY g) GROUP BY a ORDER BY a DESC, lower(b, ?)"
    )
    clauses = shape.clauses_of(sql)
    assert list(clauses) == ["SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY"]
    assert clauses["FROM"] == "t"
    assert [len(shape.items_of(clauses[name])) for name in ("SELECT", "ORDER BY")] == [3, 2]
    assert shape.items_of(clauses["ORDER BY"]) == ["a DESC", "lower(b, ?)"]
    assert len(shape.short("x" * 160)) == len(shape.short("x" * 161)) == 160


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("app/main.py", True),
        ("app/testimonials.py", True),
        ("app/tests/helpers.py", False),
        ("migrations/env.py", False),
        ("test_main.py", False),
        ("app/main_test.py", False),
        ("conftest.py", False),
    ],
)
def test_the_applications_code_is_told_from_its_tests(file: str, own: bool) -> None:
    assert is_own((Frame(file, 1, "f"), Frame("app/main.py", 1, "f"))) is own
    assert not is_own(())


# What the server counted


def counted(text: str, **more: Any) -> Counted:
    usual = {"key": text, "calls": 100, "total_ms": 20_000.0, "rows": 100}
    return Counted(text, **{**usual, **more})


def test_a_text_that_was_cut_off_is_joined_only_where_one_could_be_meant() -> None:
    one, other = statement("SELECT a FROM t WHERE b = 1"), statement("SELECT a FROM t WHERE c = 1")
    keys = list(Captured([one, other], mysql=False).by_key)
    cut = counted("SELECT a FROM t", key=keys[0].rpartition(" where")[0], cut=True)
    assert Captured([one], mysql=False).of(cut) == [one]
    assert Captured([one, other], mysql=False).of(cut) == []
    assert Captured([one], mysql=False).of(replace(cut, cut=False)) == []


def test_slow_statements_come_by_their_cost_and_no_more_than_a_page() -> None:
    many = [counted(f"SELECT {number}", total_ms=20_000.0 + number) for number in range(MOST + 2)]
    findings, notes, joined = slow_ones(Statistics(tuple(many), 1e9), Captured([], mysql=False))
    assert (len(findings), joined) == (MOST, 0)
    assert findings[0].cost_ms == many[-1].mean_ms
    assert "2 more slow statements are left out" in notes
    system = counted("SELECT * FROM pg_catalog.pg_class")
    vacuum = counted("VACUUM orders")
    rest = Statistics((system, vacuum), 0.0)
    assert slow_ones(rest, Captured([], mysql=False))[0] == []


def test_the_work_of_a_statement_is_told_for_each_call() -> None:
    one = counted("x", calls=10, blocks_hit=60, blocks_read=20, spilled_blocks=1280, examined=500)
    assert work(one) == [
        "8 blocks a call (0.1 MB), 25 % of them not in the buffers",
        "1.0 MB of temporary files a call",
        "50 rows looked at a call",
    ]
    assert work(counted("x")) == []
    assert work(counted("x", calls=0, blocks_hit=0, blocks_read=0)) == [
        "0 blocks a call (0.0 MB), 0 % of them not in the buffers"
    ]


@pytest.mark.parametrize(
    ("kind", "status", "error", "failure"),
    [
        ("request", 200, None, ""),
        ("request", 399, None, ""),
        ("request", 400, None, "400"),
        ("request", 500, "LookupError: gone", "500"),
        ("request", None, "LookupError: gone: there", "LookupError"),
        ("request", 200, "LookupError: after the answer", ""),
        ("request", None, None, ""),
        ("test", None, "AssertionError: x", ""),
    ],
)
def test_what_was_no_answer_is_told_by_its_status_or_its_error(
    kind: str, status: int | None, error: str | None, failure: str
) -> None:
    assert rules.failure_of(Unit(1, kind, "x", 1.0, status, error=error)) == failure


# The database to look at


@pytest.mark.parametrize(
    ("given", "driver", "query"),
    [
        ("postgresql://u@h/x?sslmode=require&channel_binding=prefer", "asyncpg",
         {"ssl": "require"}),
        ("postgresql+asyncpg://u@h/x?ssl=require", "asyncpg", {"ssl": "require"}),
        ("postgresql+psycopg://u@h/x?sslmode=require", "psycopg", {"sslmode": "require"}),
        ("mysql://u@h/x?charset=utf8mb4", "aiomysql", {"charset": "utf8mb4"}),
    ],
)  # fmt: skip
def test_libpqs_words_are_given_to_the_driver_that_has_others(
    given: str, driver: str, query: dict[str, str]
) -> None:
    found = target.with_driver(make_url(given))
    assert found is not None
    assert (found.get_driver_name(), dict(found.query)) == (driver, query)
    assert target.with_driver(make_url("oracle://u@h/x")) is None


@pytest.mark.parametrize(
    ("urls", "found"),
    [
        (["postgresql+asyncpg://u@h/x", "sqlite:///a.db"], "sqlite:///a.db"),
        (["sqlite:///a.db", "sqlite://"], "sqlite:///a.db"),
        (["sqlite:///a.db", "sqlite:///file:a?mode=memory&uri=true"], "sqlite:///a.db"),
        (["sqlite:///a.db", "oracle://u@h/x"], "sqlite:///a.db"),
        (["sqlite:///:memory:"], None),
        ([], None),
    ],
)
def test_the_database_with_the_most_statements(urls: list[str], found: str | None) -> None:
    """The last of these; one in memory is gone with the run."""
    engines = tuple(Engine(number, "", "", url) for number, url in enumerate(urls))
    statements = tuple(
        replace(statement("SELECT 1"), engine=number)
        for number in range(len(urls))
        for _ in range(number + 1)
    )
    capture = Capture("pytest", 0, 1.0, engines, (), statements, ())
    used = target.used_most(capture)
    assert (used and used.set(drivername=used.get_backend_name())) == (found and make_url(found))


# The outcome

RESULT = Result("shop", "", "", (), ())
OPTIONS = argparse.Namespace(write_baseline=None, only=None)
ROUTE = Route("GET /a", 1, 3, 1.0, 1.0, 1)


@pytest.mark.parametrize(
    ("findings", "more", "options", "code"),
    [
        ([], {}, {}, Exit.OK),
        ([N_PLUS_ONE], {}, {}, Exit.FINDINGS),
        ([N_PLUS_ONE], {"known": {N_PLUS_ONE.fingerprint}}, {}, Exit.OK),
        ([replace(N_PLUS_ONE, confidence=Confidence.SUSPECTED)], {}, {}, Exit.OK),
        ([replace(N_PLUS_ONE, confidence=Confidence.SUSPECTED)], {}, {"only": "a"}, Exit.FINDINGS),
        ([], {}, {"only": "a"}, Exit.OK),
        ([replace(N_PLUS_ONE, rule="setting-autovacuum")], {}, {}, Exit.OK),
        ([N_PLUS_ONE], {}, {"write_baseline": Path("x")}, Exit.OK),
        ([], {"over_budget": (ROUTE,)}, {"write_baseline": Path("x")}, Exit.OVER_BUDGET),
        ([N_PLUS_ONE], {"over_budget": (ROUTE,)}, {}, Exit.OVER_BUDGET),
    ],
)
def test_what_fails_a_build(
    findings: list[Any], more: dict[str, Any], options: dict[str, Any], code: Exit
) -> None:
    result = replace(RESULT, findings=tuple(findings), **more)
    given = argparse.Namespace(**{**vars(OPTIONS), **options})
    assert outcome.exit_of(result, given) is code


def test_a_run_fails_as_a_whole_where_nothing_in_it_ended_well() -> None:
    ended = Unit(1, "test", "t", 1.0)
    failed = replace(ended, error="E")
    capture = Capture("pytest", 1, 1.0, (), (failed,), (), ())
    assert outcome.failed_as_a_whole(capture)
    assert not outcome.failed_as_a_whole(replace(capture, exit_status=0))
    assert not outcome.failed_as_a_whole(replace(capture, units=(failed, ended)))
    assert outcome.failed_as_a_whole(replace(capture, units=(failed, replace(ended, kind="other"))))
    assert not outcome.failed_as_a_whole(None)


def test_a_finding_is_named_by_the_beginning_of_its_fingerprint() -> None:
    both = [N_PLUS_ONE, UNUSED]
    assert outcome.only(both, N_PLUS_ONE.fingerprint[:4]) == [N_PLUS_ONE]
    for wrong in (N_PLUS_ONE.fingerprint[:3], "abcg"):
        with pytest.raises(Refusal):
            outcome.only(both, wrong)


def test_a_fingerprint_stays_when_lines_move_and_differs_by_the_index() -> None:
    one = N_PLUS_ONE
    moved = replace(one, line=99, message="other", evidence=(), unit="GET /b", cost_ms=1.0)
    assert moved.fingerprint == one.fingerprint
    indexes = [replace(one, fix=Fix("ddl", "", Index(name, "t", ("a",)))) for name in "ab"]
    others = [
        replace(one, **{name: "other"}) for name in ("rule", "file", "function", "table", "shape")
    ]
    assert len({found.fingerprint for found in (one, *indexes, *others)}) == 8


def test_a_budget_counts_for_its_route_and_a_star_for_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "budgets"
    file.write_text("# ours\n\n GET /b?x=1 = 4 \n*=2\n")
    budgets = budget.read_budgets(["GET /a=3", f"@{file}"])
    assert budgets == {"GET /a": 3, "GET /b?x=1": 4, "*": 2}
    routes, unseen = budget.with_budgets([ROUTE, replace(ROUTE, name="GET /c")], budgets)
    assert [one.budget for one in routes] == [3, 2]
    assert unseen == ("GET /b?x=1",)
    assert [one.name for one in budget.over_budget(routes)] == ["GET /c"]
    assert budget.over_budget([ROUTE]) == ()
    file.write_text("GET /a=3\nGET /b=many\n")
    with pytest.raises(Refusal, match=r"budgets:2: 'GET /b=many'"):
        budget.read_budgets([f"@{file}"])


def test_before_and_after_are_of_the_same_routes_the_best_first() -> None:
    old = {"name": "GET /a", "statements": 5, "database_ms": 9.0}
    before = {"routes": [old, {**old, "name": "GET /b", "statements": 90}], "findings": []}
    routes = [replace(ROUTE, name=f"GET /{name}") for name in "abc"]
    found = verify.changes(before, routes)
    assert [(one.name, one.statements) for one in found] == [
        ("GET /b", (90, 3)),
        ("GET /a", (5, 3)),
    ]
    gone = {"findings": [{"fingerprint": "x"}, {"fingerprint": "y"}]}
    assert verify.gone(gone, ["y"]) == [{"fingerprint": "x"}]


def test_an_index_that_two_layers_want_is_made_once() -> None:
    one = Index("ix_a", "t", ("a",))
    others = [
        replace(one, name="ix_a_2"),
        replace(one, where="x"),
        replace(one, drop=True),
        replace(one, schema="s"),
        replace(one, expressions=("a DESC",)),
    ]
    found = [replace(N_PLUS_ONE, fix=Fix("ddl", "", each)) for each in (one, *others)]
    assert fix.indexes_of([N_PLUS_ONE, *found]) == [one, *others[1:]]


def test_a_baseline_of_another_version_is_none(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    file.write_text(baseline.as_baseline([N_PLUS_ONE, UNUSED]))
    assert baseline.read_baseline(file) == {N_PLUS_ONE.fingerprint, UNUSED.fingerprint}
    rules = Counter(one["rule"] for one in json.loads(file.read_text())["findings"])
    assert list(rules) == sorted(rules)
    for text in ('"version": 2, "findings": []', '"version": 1', '"version": 1, "findings": 1'):
        file.write_text(f"{{{text}}}")
        with pytest.raises(Refusal, match="no baseline of this version"):
            baseline.read_baseline(file)
