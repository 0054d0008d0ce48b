"""How `make bench-migrations` marks the other tools: for the right reason, or for another (#15)."""

import pytest

from benchmarks.other_tools import HAZARDS, marks
from corpus.runner import CORPUS, cases

pytestmark = pytest.mark.any_sqlalchemy
EXPECTED = {
    "column": {"drop-column"},
    "other": {"drop-column"},
    "silence": {"drop-column"},
    "safe": set[str](),
    "harmless": set[str](),
}


def test_a_tool_is_right_where_a_rule_of_its_names_the_hazard() -> None:
    said = {
        "column": {"drop", "rename"},
        "other": {"rename"},
        "safe": {"drop"},
        "harmless": {"looks"},
    }
    found = marks("alembic-guard", EXPECTED, said, style={"looks"})
    assert (found.right, found.wrong) == ({"column"}, {"other"})
    assert (found.missed, found.false, found.unknown) == ({"silence"}, {"safe"}, set())


def test_a_rule_that_the_table_does_not_have_is_told() -> None:
    found = marks("zdm", EXPECTED, {"column": {"new-in-1-0"}})
    assert (found.unknown, found.wrong) == ({"new-in-1-0"}, {"column"})


def test_the_table_names_hazards_of_the_corpus() -> None:
    known = {rule for case in cases(CORPUS / "postgresql") for rule, _ in case.expected}
    known |= {"type-change-index", "drop-generated-column"}  # of which there is none yet
    named = {
        hazard
        for tool, rules in HAZARDS.items()
        if tool != "squawk"  # its rules are also what a comment allows
        for hazards in rules.values()
        for hazard in hazards
    }
    assert named and named - known == set()
