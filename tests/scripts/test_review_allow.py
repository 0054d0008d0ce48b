"""Comments that allow findings: where they count, and that they need a reason."""

import pytest

from toolkit.migration.review.allow import apply_comments, comments_of
from toolkit.report.finding import Finding, Verdict

pytestmark = pytest.mark.any_sqlalchemy

FILE = "versions/a.py"
SOURCE = '''"""Drop things."""

from alembic import op

revision = "a"


def upgrade() -> None:
    op.drop_column("users", "nick")
    op.execute(
        "ALTER TABLE users DROP COLUMN age"
    )
    with op.get_context().autocommit_block():
        op.drop_column("users", "name")
'''


def finding(line: int | None, rule: str = "drop-column") -> Finding:
    return Finding(rule, Verdict.DATA_LOSS, "gone", revision="a", file=FILE, line=line)


def kept(source: str, *findings: Finding) -> list[str]:
    return [one.rule for one in apply_comments(findings, {FILE: source})]


def edited(line: int, *, before: str = "", end: str = "") -> str:
    """SOURCE with a comment above a line (from 1) or at its end."""
    lines = SOURCE.split("\n")
    lines[line - 1] += end
    if before:
        indent = lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]
        lines[line - 1 : line - 1] = [indent + one for one in before.split("\n")]
    return "\n".join(lines)


ALLOW = "# migration-review: allow[drop-column] unused since 1.2"


def test_without_a_comment_all_stay() -> None:
    assert kept(SOURCE, finding(9), finding(10)) == ["drop-column", "drop-column"]


def test_on_the_line_it_counts_for_that_line_only() -> None:
    source = edited(9, end="  " + ALLOW)
    assert kept(source, finding(9)) == []
    assert kept(source, finding(9), finding(10)) == ["drop-column"]


def test_on_any_line_of_the_statement() -> None:
    assert kept(edited(11, end="  " + ALLOW), finding(10)) == []
    assert kept(edited(12, end="  " + ALLOW), finding(10)) == []


def test_above_also_with_more_comment_between() -> None:
    assert kept(edited(9, before=ALLOW), finding(10)) == []
    assert kept(edited(10, before=ALLOW + "\n# ask the shop team"), finding(12)) == []
    assert kept(edited(10, before=ALLOW), finding(9)) == ["drop-column", "allow-unused"]


def test_above_a_with_counts_for_what_it_holds() -> None:
    assert kept(edited(13, before=ALLOW), finding(15)) == []


@pytest.mark.parametrize("line", [1, 3])
def test_at_the_top_counts_for_the_file(line: int) -> None:
    source = edited(line, before=ALLOW)
    assert kept(source, finding(10), finding(15), finding(None)) == []


def test_another_rule_is_not_allowed() -> None:
    source = edited(9, end="  # migration-review: allow[drop-table] no")
    assert kept(source, finding(9)) == ["drop-column", "allow-unused"]


def test_several_rules_in_one_comment() -> None:
    source = edited(9, end="  # migration-review: allow[drop-column, drop-index] both are known")
    assert kept(source, finding(9), finding(9, "drop-index")) == []


@pytest.mark.parametrize(
    "comment",
    ["# migration-review: allow[drop-column]", "# migration-review: allow[drop-column]  -",
     "# migration-review: allow", "# migration-review: allow the drop"],
)  # fmt: skip
def test_without_a_reason_or_a_rule_it_is_a_finding_itself(comment: str) -> None:
    source = edited(9, end="  " + comment)
    assert kept(source, finding(9)) == ["drop-column", "allow-without-reason"]
    (own,) = [f for f in apply_comments([finding(9)], {FILE: source}) if f.rule != "drop-column"]
    assert (own.file, own.line, own.revision) == (FILE, 9, "a")


def test_squawk_ignore_in_sql() -> None:
    lines = SOURCE.split("\n")
    lines[10] = '        """-- squawk-ignore ban-drop-column\n        ALTER TABLE users"""'
    source = "\n".join(lines)
    assert kept(source, finding(10)) == []
    assert kept(source, finding(10, "drop-table")) == ["drop-table"]
    every = source.replace(" ban-drop-column", "")
    assert kept(every, finding(10), finding(10, "drop-table"), finding(9)) == ["drop-column"]
    # A rule of squawk's that is about nothing of ours allows nothing of ours.
    other = source.replace("ban-drop-column", "ban-drop-not-null")
    assert kept(other, finding(10)) == ["drop-column"]


def test_a_comment_in_a_string_is_none() -> None:
    source = SOURCE.replace('"nick"', f'"{ALLOW}"')
    assert kept(source, finding(9)) == ["drop-column"]


def test_a_file_that_does_not_parse_has_no_comments() -> None:
    assert comments_of("def upgrade(:\n") == ()
