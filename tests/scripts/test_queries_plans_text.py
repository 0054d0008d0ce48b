"""Statements taken apart, values restored, indexes thought of: what needs no database."""

import dataclasses
import datetime as dt
import decimal
import uuid
from typing import Any

import pytest
import sqlglot

from toolkit.database.urls import Kind
from toolkit.queries.capture.record import Frame, Statement
from toolkit.queries.plans import measure_statements, search
from toolkit.queries.plans.bench import Built, Clock, Sample
from toolkit.queries.plans.candidates import trials
from toolkit.queries.plans.captured import explainable, shapes_of
from toolkit.queries.plans.job import Job
from toolkit.queries.plans.measure import Node
from toolkit.queries.plans.model import (
    Candidate,
    Column,
    ExistingIndex,
    Key,
    Limits,
    Place,
    Table,
    create_index,
)
from toolkit.queries.plans.mysql.plain import within
from toolkit.queries.plans.mysql.run import Reading, has_all
from toolkit.queries.plans.parse import Parsed
from toolkit.queries.plans.postgresql.plan import redacted
from toolkit.queries.plans.postgresql.rows import shares
from toolkit.queries.plans.query import take_apart
from toolkit.queries.plans.scope import uses_of
from toolkit.queries.plans.values import NotRestored, literal, restored
from toolkit.queries.plans.words import words_of

pytestmark = pytest.mark.any_sqlalchemy

POSTS = Table(
    Place("public", "posts"),
    {
        name: Column(name, kind, distinct)
        for name, kind, distinct in (
            ("id", "integer", 1e5), ("user_id", "integer", 500), ("created", "timestamptz", 1e5),
            ("status", "text", 3), ("deleted_at", "timestamptz", 9), ("title", "text", 1e5),
            ("order", "integer", 10), ("body", "text", 1e5),
        )
    },
    (ExistingIndex("posts_pkey", ("id",), True), ExistingIndex("ix_status", ("status", "created"))),
    100_000,
    1,
)  # fmt: skip


def proposed(
    sql: str,
    *values: Any,
    kind: Kind = "postgresql",
    fixed: tuple[int, ...] = (),
    same_text: bool = True,
) -> list[str]:
    parsed = Parsed(sqlglot, take_apart(sql, list(values), kind), kind)
    found = []
    for use in uses_of(parsed, {Place("", "posts"): POSTS}, frozenset(fixed), same_text=same_text):
        for trial in trials(use, POSTS, kind):
            texts = [create_index(one.named(POSTS, kind), kind) for one in trial]
            found.append(" + ".join(text.partition(" ON posts ")[2] for text in texts))
    return found


@pytest.mark.parametrize(
    ("condition", "first"),
    [
        ("user_id = $1 ORDER BY created DESC LIMIT 5", "(user_id, created)"),
        ("user_id = $1 ORDER BY created DESC, id LIMIT 5", "(user_id, created DESC, id)"),
        ("user_id = $1 ORDER BY created DESC NULLS LAST", "(user_id, created DESC NULLS LAST)"),
        ("user_id = $1 AND created BETWEEN $2 AND $3", "(user_id, created)"),
        ("user_id = $1 AND created > $2 AND created < $3", "(user_id, created)"),
        ("$1 = user_id", "(user_id)"),
        ("p.user_id IN ($1, $2) AND p.created > $3", "(user_id, created)"),
        ("p.user_id = ANY($1)", "(user_id)"),
        ("(user_id = $1 OR user_id = $2)", "(user_id)"),
        ("user_id = $1 OR title = $2", "(user_id) + (title)"),
        ("title ILIKE $1 OR body ILIKE $1", "USING gin (title gin_trgm_ops) + "
         "USING gin (body gin_trgm_ops)"),
        ("title LIKE 'a%'", "(title text_pattern_ops)"),
        ("lower(title) = $1", "(lower(title))"),
        ('"order" = $1', '("order")'),
        ("coalesce(user_id, 0) = $1", "(coalesce(user_id, 0))"),
    ],
)  # fmt: skip
def test_equality_comes_first_then_range_or_order(condition: str, first: str) -> None:
    found = proposed(f"SELECT id FROM posts p WHERE {condition}", "x", "y", "z")
    assert first in found, found


@pytest.mark.parametrize(
    "condition",
    [
        "id = $1",  # the primary key
        "id = $1 AND user_id = $2",  # at most one row anyway
        "status = $1",  # begins an index
        "user_id <> $1",
        "user_id + $1 = 5",  # a value in the expression
        "title::numeric = 5",  # the cast is what is wrong
        "nobody = $1",  # no such column
        "random() < 0.5",
    ],
)
def test_no_index_is_thought_of(condition: str) -> None:
    found = [one for one in proposed(f"SELECT id FROM posts WHERE {condition}", 1, 2)]
    assert [one for one in found if "WHERE" not in one] == []


def test_partial_indexes_for_what_is_always_the_same() -> None:
    sql = "SELECT id FROM posts WHERE user_id = $1 AND deleted_at IS NULL AND status = $2::VARCHAR"
    assert "(user_id) WHERE deleted_at IS NULL" in proposed(sql, 1, "open")
    assert not any("'open'" in one for one in proposed(sql, 1, "open"))
    both = "(user_id) WHERE deleted_at IS NULL AND status = 'open'"
    assert both in proposed(sql, 1, "open", fixed=(1,))
    # A value of a column with many values may be somebody's, and is told nobody.
    private = "SELECT id FROM posts WHERE user_id = $1 AND title = $2"
    assert not any("WHERE" in one for one in proposed(private, 1, "mine", fixed=(0, 1)))
    assert not any("WHERE" in one for one in proposed(sql, 1, "open", kind="mysql", fixed=(1,)))
    # A literal is a constant only where the text is not put together.
    written = "SELECT id FROM posts WHERE user_id = $1 AND status = 'open'"
    assert "(user_id) WHERE status = 'open'" in proposed(written, 1)
    assert not any("'open'" in one for one in proposed(written, 1, same_text=False))
    assert not any("WHERE" in one for one in proposed("SELECT id FROM posts WHERE user_id = 42"))


def test_joins_subqueries_and_common_table_expressions() -> None:
    users = "SELECT u.id, (SELECT count(*) FROM posts p WHERE p.user_id = u.id) FROM users u"
    assert proposed(users) == ["(user_id)"]
    joined = "SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id AND p.title = $1"
    assert {"(title, user_id)", "(user_id, title)", "(user_id)", "(title)"} == {
        *proposed(joined, 1)
    }
    by_key = "SELECT * FROM users u JOIN posts p ON p.id = u.post_id ORDER BY p.created"
    assert proposed(by_key) == ["(created)"]  # a row that its key finds needs no order
    named = "WITH posts AS (SELECT 1 AS user_id) SELECT * FROM posts WHERE user_id = $1"
    assert Parsed(sqlglot, take_apart(named, [1], "postgresql"), "postgresql").tables() == set()
    inner = "SELECT * FROM (SELECT user_id FROM posts WHERE title = $1) AS a WHERE a.user_id > 3"
    assert proposed(inner, "x") == ["(title)"]


@pytest.mark.parametrize(
    ("kind", "sql", "parameters", "readable"),
    [
        ("postgresql", "SELECT $2::INTEGER, $1", ["a", 2], "SELECT :p1::INTEGER, :p0"),
        ("postgresql", "SELECT '$1', $1 /* $2 */", [1], "SELECT '$1', :p0 /* $2 */"),
        ("postgresql", "SELECT %(a)s, '50%%' -- %(a)s", {"a": 1}, "SELECT :p0, '50%' -- %(a)s"),
        ("postgresql", "SELECT $q$ $1 $q$, a ? 'b'", [], "SELECT $q$ $1 $q$, a ? 'b'"),
        ("mysql", "SELECT `a%%`, %s, %s;", [1, 2], "SELECT `a%`, :p0, :p1"),
        ("sqlite", "SELECT ?, '?', \"?\", ?", [1, 2], "SELECT :p0, '?', \"?\", :p1"),
        ("sqlite", "/* x */ SELECT :a, :b", {"b": 1, "a": 2}, "SELECT :p1, :p0"),
    ],
)
def test_placeholders_of_every_driver(kind: Kind, sql: str, parameters: Any, readable: str) -> None:
    query = take_apart(sql, parameters, kind)
    assert query.readable == readable and not query.missing


def test_a_query_is_given_to_each_driver_as_it_wants_it() -> None:
    query = take_apart("SELECT %(a)s, '%%', %(a)s", {"a": "mine"}, "postgresql")
    assert query.marked == ("SELECT ?, '%', ?", ("mine", "mine"))
    assert query.formatted == ("SELECT %s, '%%', %s", ("mine", "mine"))
    assert query.inlined == "SELECT 'mine', '%', 'mine'"
    assert query.numbered == "SELECT $1, '%', $1"
    assert "mine" not in repr(query)


@pytest.mark.parametrize(
    ("value", "plain", "typed"),
    [
        (5, "'5'", "5"),
        (-5, "'-5'", "(-5)"),
        (True, "'true'", "true"),
        (None, "NULL", "NULL"),
        ("it's \\", "'it''s \\'", "'it''s \\'"),
        (decimal.Decimal("1.50"), "'1.50'", "1.50"),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "'2026-01-02 00:00:00+00:00'",
         "'2026-01-02 00:00:00+00:00'::timestamptz"),
        (dt.timedelta(minutes=1), "'60.000000 seconds'", "'60.000000 seconds'::interval"),
        (0, "'0'", "0"),
        (0.5, "'0.5'", "'0.5'::float8"),
        (float("inf"), "'Infinity'", "'Infinity'::float8"),
        (-float("inf"), "'-Infinity'", "'-Infinity'::float8"),
        (decimal.Decimal("NaN"), "'NaN'", "'NaN'::numeric"),
        (dt.date(2026, 1, 2), "'2026-01-02'", "'2026-01-02'::date"),
        (dt.datetime(2026, 1, 2), "'2026-01-02 00:00:00'", "'2026-01-02 00:00:00'::timestamp"),
        (uuid.UUID(int=1), f"'{uuid.UUID(int=1)}'", f"'{uuid.UUID(int=1)}'::uuid"),
        (b"\x00\xff", "'\\x00ff'", "'\\x00ff'::bytea"),
        (["a", 'b"\\', None, [1]], '\'{"a","b\\"\\\\",NULL,{"1"}}\'',
         '\'{"a","b\\"\\\\",NULL,{"1"}}\''),
    ],
)  # fmt: skip
def test_literals(value: Any, plain: str, typed: str) -> None:
    assert literal(value, typed=False) == plain
    assert literal(value, typed=True) == typed


def test_values_come_back_from_json() -> None:
    assert restored({"__type__": "date", "value": "2026-01-02"}) == dt.date(2026, 1, 2)
    assert restored({"__type__": "bytes", "value": "AP8="}) == b"\x00\xff"
    assert restored([{"__type__": "decimal", "value": "1.5"}]) == [decimal.Decimal("1.5")]
    for lost in (
        {"__type__": "Range", "value": None},
        {"a": 1},
        {"__type__": "date", "value": "x"},
    ):
        with pytest.raises(NotRestored):
            restored(lost)
    assert restored({"__type__": "Enum", "value": "A"}) == "A"
    with pytest.raises(NotRestored, match=r"^decimal$"):
        restored({"__type__": "decimal", "value": "x"})
    for value in ("a\0b", object(), {"a": 1}):
        with pytest.raises(NotRestored):
            literal(value, typed=False)


def test_a_query_whose_values_are_not_all_there_is_not_run() -> None:
    short = take_apart("SELECT $1, $2", [1], "postgresql")
    lost = take_apart("SELECT $1, $2", [{"__type__": "Range", "value": None}, 5], "postgresql")
    assert (short.missing, lost.missing) == ("not captured", "range")
    assert lost.values == (None, 5)
    for query in (short, lost):
        for form in ("inlined", "marked", "formatted"):
            with pytest.raises(NotRestored, match=f"^{query.missing}$"):
                getattr(query, form)


def test_types_go_with_the_values_of_psycopg_only() -> None:
    """And with those of MySQL's drivers, which need no literals."""
    assert not take_apart("SELECT $1", [1], "postgresql").typed
    assert take_apart("SELECT %s", [1], "postgresql").typed
    assert take_apart("SELECT %(a)s", {"a": 1}, "postgresql").inlined == "SELECT 1"
    assert take_apart("SELECT $1", [1], "postgresql").inlined == "SELECT '1'"


def test_conditions_are_told_without_values() -> None:
    condition = """((a = 5) AND (b1 ~~ '%it''s%'::text) AND ("Name 7" > -1.5e3) AND (c = ANY
      ('{1,2}'::integer[])) AND (d = 'x'::character varying(20)) AND (e = $1))"""
    found = redacted(condition)
    for gone in ("5)", "it", "1.5", "{1", "'x'"):
        assert gone not in found, found
    for kept in ("b1", '"Name 7"', "::character varying(20)", "$1"):
        assert kept in found, found


@pytest.mark.parametrize(
    ("sql", "right"),
    [
        ("SELECT 1", True),
        ("  -- x\n(SELECT 1)", True),
        ("WITH a AS (SELECT 1) SELECT * FROM a", True),
        ("DELETE FROM a WHERE b = 1", True),
        ("DELETE FROM a", False),
        ("INSERT INTO a VALUES (1)", False),
        ("SELECT pg_sleep(5)", False),
        ("SELECT nextval('s')", False),
        ("SELECT * FROM information_schema.tables", False),
        ("DROP TABLE a", False),
    ],
)
def test_what_is_run_at_all(sql: str, right: bool) -> None:
    assert explainable(sql) is right


def executed(sql: str, *values: Any, ms: float = 1.0, line: int = 0) -> Statement:
    """In unit 7, by this line of app/crud.py; without one, outside of the project's code."""
    frames = (Frame("app/crud.py", line, "f"),) if line else ()
    shape = " ".join(sql.split())
    return Statement(7, sql, shape, frames, ms, 0, 1, 1, list(values), None, 1, 1)


def test_shapes_are_the_worst_first_with_what_never_changes() -> None:
    often = [executed("SELECT $1, $2", number, "same", ms=3) for number in range(4)]
    lost = executed("SELECT $1, $2", {"__type__": "Range", "value": None}, "same", ms=9)
    first, second = shapes_of([executed("SELECT 2", ms=5), *often, lost], "postgresql", {})
    assert (first.executions, first.total_ms, first.fixed) == (5, 21, {1})
    assert not first.query.missing  # the slowest of those that can be run
    assert second.fixed == frozenset()
    twice = shapes_of(often[:2], "postgresql", {})
    assert twice[0].fixed == frozenset()  # two alike may be chance


def test_a_parameter_is_a_constant_after_three_executions_of_one_text() -> None:
    three = [executed("SELECT $1", "a", line=line) for line in (5, 9, 9)]
    (found,) = shapes_of(three, "postgresql", {7: "GET /a"})
    assert (found.fixed, found.same_text, found.writes) == ({0}, True, False)
    assert found.places == ("app/crud.py:9", "app/crud.py:5")
    assert found.unit == "GET /a"
    (mixed,) = shapes_of([*three, executed("SELECT  $1", "b", line=5)], "postgresql", {})
    assert (mixed.fixed, mixed.same_text, mixed.unit) == ({0}, False, None)
    longer = executed("SELECT $1", "a", "b", line=5)
    assert shapes_of([*three, longer], "postgresql", {})[0].fixed == frozenset()


SMALL = Candidate(Place("", "t"), (Key("a"),))


@pytest.mark.parametrize(
    ("wide", "begins"),
    [
        ({"keys": (Key("a"), Key("b"))}, True),
        ({"include": ("b",)}, True),
        ({}, False),
        ({"keys": (Key("b"), Key("a"))}, False),
        ({"keys": (Key("a", descending=True), Key("b"))}, False),
        ({"keys": (Key("a"), Key("b")), "where": "c"}, False),
        ({"keys": (Key("a"), Key("b")), "method": "gin"}, False),
        ({"keys": (Key("a"), Key("b")), "place": Place("", "u")}, False),
    ],
)
def test_an_index_does_the_work_of_one_that_begins_as_it_does(
    wide: dict[str, Any], begins: bool
) -> None:
    assert search.begins(SMALL, dataclasses.replace(SMALL, **wide)) is begins


def test_what_an_index_includes_may_be_a_key_of_the_wider_one() -> None:
    covering = dataclasses.replace(SMALL, include=("b",))
    keys = (Key("a"), Key("b"), Key("c"))
    assert search.begins(covering, dataclasses.replace(SMALL, keys=keys))
    assert not search.begins(covering, dataclasses.replace(SMALL, keys=keys[::2]))
    expression = (Key("a"), Key("b", column=False))
    assert not search.begins(covering, dataclasses.replace(SMALL, keys=expression))


def outcome(ms: float, work: float, size: int, *columns: str, where: str = "") -> search.Outcome:
    one = Candidate(Place("", "t"), tuple(map(Key, columns)), where=where)
    before, after = Sample(50.0, 5_000, Node("scan")), Sample(ms, work, Node("index"))
    return search.Outcome((one,), (), before, after, (Built(size, 1.0),))


def test_the_simplest_of_those_that_are_as_good_is_preferred() -> None:
    best = outcome(1.0, 100, 900, "a", "b")
    cases = [
        ([], None),
        ([best], best),
        ([best, outcome(1.0, 122, 900, "a")], 1),  # within a fifth, and two
        ([best, outcome(1.0, 123, 900, "a")], 0),
        ([best, outcome(2.0, 100, 900, "a")], 1),
        ([outcome(0.05, 100, 900, "a", "b"), outcome(0.14, 100, 900, "a")], 1),  # not felt
        ([best, outcome(2.1, 100, 900, "a")], 0),
        ([best, outcome(1.0, 100, 449, "a", "b", where="c")], 1),  # less than half of it
        ([best, outcome(1.0, 100, 450, "a", where="c")], 0),
        ([outcome(1.0, 100, 9, "a", where="c")], 0),
    ]
    for found, wanted in cases:
        assert search.preferred(found) is (found[wanted] if isinstance(wanted, int) else wanted)


@pytest.mark.parametrize(
    ("before", "after", "smaller"),
    [
        ((5.0, 250), (5.0, 50), True),
        ((5.0, 249), (5.0, 50), False),
        ((5.0, 60), (5.0, 10), True),
        ((5.0, 59), (5.0, 10), False),
        ((5.0, 60), (5.1, 10), False),
        ((5.0, 50), (5.0, 0), True),
        ((5.0, None), (2.0, 10), True),
        ((5.0, None), (4.5, 10), False),
    ],
)
def test_a_wider_index_has_to_read_a_fifth_of_the_pages(
    before: tuple[float, int | None], after: tuple[float, int], smaller: bool
) -> None:
    one, other = (Sample(ms, 100 if n else 1_000, Node("x"), pages)
                  for n, (ms, pages) in enumerate((before, after)))  # fmt: skip
    assert search.is_smaller(one, other) is smaller


def test_small_tables_are_copied_whole() -> None:
    small, large, huge = (Place("", name) for name in ("small", "large", "huge"))
    found = shares({huge: 4000, small: 10, large: 400}, 1000)
    assert found == {small: None, large: None, huge: pytest.approx(14.75)}


def test_a_statement_is_left_out_where_a_table_of_it_cannot_be_copied() -> None:
    (shape,) = shapes_of([executed("SELECT 1")], "mysql", {})
    posts, users = Place("", "posts"), Place("", "users")
    reading = Reading(tables={shape: {posts: POSTS, users: POSTS}})
    job = Job("mysql", Limits(), Clock(60), print, None)
    assert has_all(shape, reading, {}, job)
    assert job.notes.lines == []
    assert not has_all(shape, reading, {users: "Unknown collation"}, job)
    assert job.notes.lines == [
        "a statement outside of the project's code: not measured: users can't be made on the"
        " scratch server: Unknown collation"
    ]


def test_nothing_to_do_is_said() -> None:
    from sqlalchemy import make_url

    report = measure_statements(make_url("postgresql+asyncpg://nobody@127.0.0.1:1/x"), [])
    assert report.skipped == "no SELECT, UPDATE or DELETE of the application was captured"
    other = measure_statements(make_url("oracle://a@b/c"), [])
    assert other.skipped == "oracle is no database that plans are read of"


@pytest.mark.parametrize(
    ("kind", "sql", "calls"),
    [
        ("postgresql", "SELECT f ($1), \"G h\"(1), x.k/* ( */(2) FROM a JOIN b ON (a.id = b.id)",
         {"f", "G h", "k", "on"}),
        ("postgresql", "SELECT 'f(1)', $$g(1)$$, $x$ h($$) $x$, E'it\\'s k(1)', p(1) -- q(1)",
         {"p"}),
        ("postgresql", "SELECT a 'x' (1)", set()),
        ("postgresql", "SELECT Lower(name) FROM t WHERE id IN (1, 2)", {"lower", "in"}),
        ("mysql", "SELECT `f` (1), \"g(1)\", 'it\\'s h(1)', s.`k``l`(2) FROM t", {"f", "k`l"}),
    ],
)  # fmt: skip
def test_what_a_statement_calls_stands_outside_of_strings(
    kind: Kind, sql: str, calls: set[str]
) -> None:
    found = words_of(take_apart(sql, [1], kind), kind)
    assert found.calls == calls and found.understood


@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        ("postgresql", 'SELECT U&"\\0066"(1)'),
        ("postgresql", "SELECT 1 /* /* */ ' */ , f(1) --'"),
        ("mysql", "SELECT 1 /*!50000 , f(1) */"),
        ("mysql", "SELECT 1 /*M! , f(1) */"),
    ],
)
def test_a_spelling_that_is_not_understood(kind: Kind, sql: str) -> None:
    assert not words_of(take_apart(sql, [], kind), kind).understood


@pytest.mark.parametrize(
    ("sql", "within_copy"),
    [
        ("SELECT shop.t.a, 'shop.t' FROM shop.t WHERE `shop` . `t`.b = %s",
         "SELECT t.a, 'shop.t' FROM t WHERE `t`.b = ?"),
        ("UPDATE shop.t SET a = %s", "UPDATE t SET a = ?"),
        # The same word means something else, or would.
        ("SELECT shop.a FROM shop.t AS shop WHERE b = %s", None),
        ("SELECT shop.a FROM shop.shop WHERE b = %s", None),
        ("WITH t AS (SELECT 1 AS a) SELECT * FROM shop.t WHERE a = %s", None),
        ("SELECT a FROM other.t WHERE b = %s", None),
        ("SELECT a FROM t WHERE b = %s", None),
    ],
)  # fmt: skip
def test_the_own_database_s_name_is_left_out(sql: str, within_copy: str | None) -> None:
    query = take_apart(sql, [1], "mysql")
    found = within(query, Parsed(sqlglot, query, "mysql"), "shop").joined(lambda _: "?")
    assert found == (within_copy or sql.replace("%s", "?"))


@pytest.mark.parametrize(
    ("kind", "sql", "several", "operators"),
    [
        ("postgresql", "SELECT a + 1 ; DELETE FROM b", True, {"+"}),
        ("postgresql", "SELECT ';' AS \"a;b\" /* ; + */ FROM t WHERE a @> b", False, {"@>"}),
        ("postgresql", "SELECT a ; 1", True, set()),
        ("mysql", 'SELECT `a;b`, ";" # ;', False, set()),
        ("sqlite", "SELECT [a;b] || 'x' -- ;", False, {"||"}),
    ],
)
def test_what_stands_in_strings_names_and_comments_is_no_statement(
    kind: Kind, sql: str, several: bool, operators: set[str]
) -> None:
    found = words_of(take_apart(sql, [], kind), kind)
    assert (found.several, found.operators) == (several, operators)


def test_a_name_is_folded_where_the_server_does_it() -> None:
    for kind, quoted in (("postgresql", '"A""b"'), ("mysql", "`A``b`"), ("sqlite", '[A"b]')):
        found = words_of(take_apart(f"SELECT {quoted}, C", [], kind), kind)  # type: ignore[arg-type]
        inner = {"postgresql": 'A"b', "mysql": "A`b", "sqlite": 'A"b'}[kind]
        assert found.names >= {inner, "c" if kind == "postgresql" else "C"}
        assert found.calls == frozenset()
