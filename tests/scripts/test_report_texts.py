"""The words, names and places that every script prints."""

import subprocess
from pathlib import Path

import pytest

from toolkit.report.finding import Finding, Verdict
from toolkit.report.quoting import identifier, literal, qualified, word
from toolkit.report.sarif import artifact, level
from toolkit.report.text import as_text, counted

pytestmark = pytest.mark.any_sqlalchemy


@pytest.mark.parametrize(
    "name", ["plain", "two words", "it's", "a\nb", "it's\na\\b\t'c'", "\x1b[2Jä\u202e", "$(x)`y`"]
)
def test_a_word_of_a_command_is_the_same_word_for_a_shell(name: str) -> None:
    said = word(name)
    assert said.isprintable()
    ended = subprocess.run(
        ["bash", "-c", f"printf %s {said}"],
        env={"LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    )
    assert ended.stdout.decode() == name


def test_names_and_texts_in_sql_end_where_they_end() -> None:
    assert identifier('a"b') == '"a""b"'
    assert identifier("a`b", "mysql") == "`a``b`"
    assert qualified("a", 'b"') == '"a"."b"""'
    assert literal("it's \\") == "'it''s \\'"
    assert literal("it's \\", "mysql") == "'it''s \\\\'"


def test_numbers_have_their_plural() -> None:
    said = [counted(1, "call"), counted(2000, "call"), counted(0, "index"), counted(0.6, "row")]
    assert said == ["1 call", "2,000 calls", "0 indexes", "1 row"]


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"file": "a.py", "line": 3, "revision": "r"}, " a.py:3"),
        ({"file": "a.py", "revision": "r"}, " a.py"),
        ({"revision": "r"}, " r"),
        ({}, ""),
    ],
)
def test_a_finding_begins_with_the_best_place_that_is_known(
    more: dict[str, str], place: str
) -> None:
    one = Finding("rule", Verdict.FAILS, "It fails.", table="t", **more)  # type: ignore[arg-type]
    assert as_text([one]) == f"FAILS [rule] t{place}\n  It fails."


def test_a_file_outside_of_the_root_has_its_whole_address(tmp_path: Path) -> None:
    inside = artifact(tmp_path / "my app" / "a.py", tmp_path)
    assert inside == {"uri": "my%20app/a.py", "uriBaseId": "ROOT"}
    outside = tmp_path.parent / "b.py"
    assert artifact(outside, tmp_path) == {"uri": outside.resolve().as_uri()}


def test_a_code_host_is_told_by_what_a_finding_does() -> None:
    levels = {verdict: level(verdict) for verdict in Verdict}
    assert [verdict for verdict in levels if levels[verdict] == "error"] == [*Verdict][:4]
    assert [verdict for verdict in levels if levels[verdict] == "warning"] == [*Verdict][4:6]
    assert [verdict for verdict in levels if levels[verdict] == "note"] == [*Verdict][6:]
