"""What a plan is blamed for, and where that begins: plans with PostgreSQL's and MariaDB's words.

That the servers give such plans is seen in test_queries_plans.py and test_queries_plans_others.py.
"""

from typing import Any

import pytest

from toolkit.queries.plans.measure import Node
from toolkit.queries.plans.mysql import bench as mysql
from toolkit.queries.plans.postgresql import plan

pytestmark = pytest.mark.any_sqlalchemy

READ: dict[str, Any] = {
    "Node Type": "Seq Scan",
    "Relation Name": "posts",
    "Filter": "(status = 'x'::text)",
    "Rows Removed by Filter": 9_000,
    "Actual Rows": 1_000,
    "Plan Rows": 1_000,
}
PER_LOOP = {**READ, "Rows Removed by Filter": 4_500, "Actual Rows": 500, "Plan Rows": 500}
BY_INDEX = {**READ, "Node Type": "Index Scan", "Index Name": "ix"}


def rules(*nodes: dict[str, Any]) -> list[str]:
    top, *parts = nodes
    return [one.rule for one in plan.symptoms({**top, "Plans": parts})]


@pytest.mark.parametrize(
    ("node", "blamed"),
    [
        ({**READ, "Rows Removed by Filter": 10_000}, True),
        ({**READ, "Rows Removed by Filter": 9_999}, False),
        ({**READ, "Rows Removed by Filter": 18_000, "Actual Rows": 2_000}, True),
        ({**READ, "Rows Removed by Filter": 18_000, "Actual Rows": 2_001}, False),
        ({**PER_LOOP, "Actual Loops": 3}, True),
        ({**PER_LOOP, "Actual Loops": 2}, False),
        ({**READ, "Rows Removed by Filter": 10_000, "Node Type": "Bitmap Heap Scan"}, False),
        ({**BY_INDEX, "Rows Removed by Filter": 10_000}, True),
        ({**BY_INDEX, "Rows Removed by Filter": 10_000, "Index Cond": "(a = 1)"}, False),
    ],
)
def test_a_table_is_read_for_a_few_rows(node: dict[str, Any], blamed: bool) -> None:
    assert rules(node) == ["full-scan"] * blamed


def test_a_scan_is_told_for_all_its_loops_and_without_values() -> None:
    condition = "((email)::text = 'x'::text) AND ((number)::integer = 3)"
    (found,) = plan.symptoms({**PER_LOOP, "Actual Loops": 4, "Filter": condition})
    assert found.message == "Reads 20,000 rows of posts to keep 2,000."
    assert found.evidence == (
        "Seq Scan on posts: 18,000 rows read and thrown away, 2,000 kept"
        " (((email)::text = ?::text) AND ((number)::integer = ?))",
    )
    # A cast that an index minds; `::text` of a varchar is none.
    assert (found.table, found.columns, found.rows) == ("posts", ("number",), 18_000)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            {"Node Type": "Hash", "Hash Batches": 2},
            "A hash table does not fit into work_mem and is written to disk.",
        ),
        (
            {"Node Type": "Aggregate", "HashAgg Batches": 5, "Disk Usage": 2048},
            "A hash table does not fit into work_mem and is written to disk, 2,048 kB.",
        ),
        ({"Node Type": "Hash", "Hash Batches": 1}, None),
        ({"Node Type": "Aggregate", "HashAgg Batches": 0}, None),
        (
            {"Node Type": "Sort", "Sort Space Type": "Disk", "Sort Space Used": 9_000},
            "A sort does not fit into work_mem and takes 9,000 kB on disk.",
        ),
        ({"Node Type": "Sort", "Sort Space Type": "Memory", "Sort Space Used": 9_000}, None),
    ],
)
def test_what_does_not_fit_into_memory(node: dict[str, Any], message: str | None) -> None:
    assert [one.message for one in plan.symptoms(node)] == [message] * (message is not None)


@pytest.mark.parametrize(
    ("kept", "read", "blamed"),
    [(20, 1_020, True), (20, 1_019, False), (100, 1_100, True), (101, 1_110, False)],
)
def test_rows_that_an_offset_throws_away(kept: int, read: int, blamed: bool) -> None:
    limit = {"Node Type": "Limit", "Actual Rows": kept}
    below = {"Node Type": "Index Scan", "Actual Rows": read}
    assert rules(limit, below) == ["deep-offset"] * blamed
    assert rules({**limit, "Node Type": "Unique"}, below) == []
    assert rules(limit) == []


@pytest.mark.parametrize(
    ("width", "rows", "blamed"), [(1_000, 100, True), (999, 100, False), (1_000, 99, False)]
)
def test_many_long_rows_are_blamed_where_they_leave(width: int, rows: int, blamed: bool) -> None:
    scan = {"Node Type": "Seq Scan", "Plan Width": width, "Actual Rows": rows}
    assert rules(scan) == ["wide-rows"] * blamed
    assert rules({"Node Type": "Aggregate", "Actual Rows": 1}, scan) == []


@pytest.mark.parametrize(
    ("actual", "planned", "more", "blamed"),
    [
        (500, 5, {}, True),
        (499, 1, {}, False),
        (599, 6, {}, False),
        (600, 6, {}, True),
        (500, 0, {}, True),
        (500, 5, {"Filter": ""}, False),
        (500, 5, {"Relation Name": None}, False),
    ],
)
def test_rows_that_nobody_expected(
    actual: int, planned: int, more: dict[str, Any], blamed: bool
) -> None:
    node = {**READ, "Actual Rows": actual, "Plan Rows": planned, **more}
    assert rules({**node, "Rows Removed by Filter": 0}) == ["misestimate"] * blamed


@pytest.mark.parametrize(
    ("kind", "rows", "keeps", "blamed"),
    [
        ("ALL", 10_000, "10", True),
        ("ALL", 10_000, "10.1", False),
        ("ALL", 9_999, "10", False),
        ("ALL", None, "10", False),
        ("ref", 10_000, "10", False),
        ("ALL", 10_000, None, False),
    ],
)
def test_mariadb_reads_a_table_for_a_few_rows(
    kind: str, rows: float | None, keeps: str | None, blamed: bool
) -> None:
    notes = ("Using where", f"really keeps {keeps} % of the rows") if keeps else ("Using where",)
    found = list(mysql.scans(Node("plan", children=(Node(f"{kind} on posts", rows, notes=notes),))))
    assert [one.message for one in found] == ["Reads 10,000 rows of posts to keep 1,000."] * blamed


@pytest.mark.parametrize(
    ("nodes", "lean"),
    [
        ([{"Node Type": "Seq Scan", "Total Cost": 19.9}], True),
        ([{"Node Type": "Seq Scan", "Total Cost": 20.0}], False),
        ([{"Node Type": "Index Scan", "Index Cond": "x", "Total Cost": 99.9}], True),
        ([{"Node Type": "Index Scan", "Index Cond": "x", "Total Cost": 100.0}], False),
        ([{"Node Type": "Index Scan", "Total Cost": 50.0}], False),
        ([{"Node Type": "Index Scan", "Index Cond": "x", "Filter": "y", "Total Cost": 50}], False),
        ([{"Node Type": "Incremental Sort", "Total Cost": 50.0}], False),
        ([{"Node Type": "Limit", "Total Cost": 1.0}, {"Node Type": "Seq Scan", "Total Cost": 50.0}],
         False),
        ([{"Node Type": "Bitmap Heap Scan", "Total Cost": 50.0},
          {"Node Type": "Bitmap Index Scan", "Index Cond": "x", "Total Cost": 9.0}], True),
    ],
)  # fmt: skip
def test_a_plan_in_which_nothing_is_to_be_won(nodes: list[dict[str, Any]], lean: bool) -> None:
    top, *parts = nodes
    assert plan.is_lean({**top, "Plans": parts}) is lean


def test_a_tree_has_own_times_pages_and_rows_of_all_loops() -> None:
    inner = {
        **PER_LOOP,
        "Alias": "p",
        "Actual Loops": 3,
        "Actual Total Time": 2.0,
        "Shared Hit Blocks": 5,
        "Shared Read Blocks": 2,
        "Plan Rows": 7,
    }
    outer = {
        "Node Type": "Nested Loop",
        "Join Type": "Left",
        "Actual Loops": 1,
        "Actual Total Time": 10.0,
        "Actual Rows": 1_500,
        "Shared Hit Blocks": 8,
        "Temp Read Blocks": 1,
        "Temp Written Blocks": 1,
        "Plans": [inner],
    }
    found = plan.tree(outer)
    (below,) = found.children
    assert (found.label, found.ms, found.buffers, found.rows) == (
        "Nested Loop left", 4.0, 3, 1_500.0,
    )  # fmt: skip
    assert (below.label, below.ms, below.buffers, below.rows, below.estimated) == (
        "Seq Scan on posts p", 6.0, 7, 1_500.0, 21.0,
    )  # fmt: skip
    assert below.notes == ("filter (status = ?::text)", "3 times", "removed 13,500 rows by filter")


@pytest.mark.parametrize(
    ("node", "label"),
    [
        ({"Node Type": "Seq Scan", "Relation Name": "a", "Alias": "a"}, "Seq Scan on a"),
        (
            {
                "Node Type": "Index Only Scan",
                "Scan Direction": "Backward",
                "Index Name": "ix",
                "Relation Name": "a",
                "Alias": "b",
            },
            "Index Only Scan backward using ix on a b",
        ),
        ({"Node Type": "Hash Join", "Join Type": "Inner"}, "Hash Join"),
        (
            {
                "Node Type": "Result",
                "Parent Relationship": "InitPlan",
                "Subplan Name": "InitPlan 1",
            },
            "InitPlan 1: Result",
        ),
        ({}, "?"),
    ],
)
def test_a_node_has_the_words_of_the_plan(node: dict[str, Any], label: str) -> None:
    assert plan.label(node) == label


@pytest.mark.parametrize(
    ("node", "loops", "notes"),
    [
        ({"Hash Batches": 1, "Heap Fetches": 0, "Sort Space Type": "Memory"}, 1, []),
        ({"Hash Batches": 2}, 1, ["hashed in 2 batches on disk"]),
        ({"Sort Space Type": "Disk", "Sort Space Used": 1_234}, 1, ["sorted on disk, 1,234 kB"]),
        ({"Sort Key": ["name", "(x = 'y'::text)"]}, 2, ["by name, (x = ?::text)", "2 times"]),
        ({"Rows Removed by Join Filter": 7}, 3, ["3 times", "removed 21 rows by join filter"]),
        ({"Rows Removed by Index Recheck": 7}, 1, ["removed 7 rows by recheck"]),
        ({"Heap Fetches": 1_000}, 1, ["1,000 rows looked up in the table"]),
    ],
)
def test_a_node_is_told_what_it_did(node: dict[str, Any], loops: int, notes: list[str]) -> None:
    assert list(plan.notes(node, loops)) == notes


def test_what_may_be_unnecessary_is_sorts_filters_and_long_rows() -> None:
    scan = {"Node Type": "Seq Scan", "Total Cost": 50.0}
    top = {"Node Type": "Limit", "Total Cost": 90.0, "Plan Width": 4096, "Plan Rows": 6}
    cases = [
        (top, 3.0),
        ({**top, "Plans": [scan]}, 3.0),
        ({**top, "Plans": [{**scan, "Filter": "x"}, {**scan, "Node Type": "Sort"}]}, 103.0),
        # What is below a sort is a part of its cost.
        ({**top, "Node Type": "Sort", "Plans": [{**scan, "Filter": "x"}]}, 93.0),
    ]
    for node, cost in cases:
        assert plan.to_spare(node) == cost


def test_tables_are_told_with_their_schemas() -> None:
    scan = {"Relation Name": "posts", "Schema": "shop"}
    assert plan.relations({"Plans": [scan, {"Plans": [{"Relation Name": "t"}]}]}) == {
        ("shop", "posts"), ("", "t"),
    }  # fmt: skip
