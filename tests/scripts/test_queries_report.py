"""The reports of optimize-queries.sh as text, as JSON and as SARIF."""

import json
import re
import unicodedata
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from projects.findings import (
    FOREIGN_KEY,
    MEASURED,
    N_PLUS_ONE,
    RECENT_POSTS,
    SUSPECTED,
    UNUSED,
    forum,
    nothing,
    poisoned,
)
from toolkit.database.sizes import in_units
from toolkit.queries.finding import Confidence, QueryFinding
from toolkit.queries.report.document import as_document
from toolkit.queries.report.html import as_html
from toolkit.queries.report.sarif import as_sarif
from toolkit.queries.report.text import as_text
from toolkit.queries.report.words import duration, ratio
from toolkit.queries.result import Result

pytestmark = pytest.mark.any_sqlalchemy


def many(finding: QueryFinding, number: int) -> tuple[QueryFinding, ...]:
    return tuple(replace(finding, line=line, function=f"f{line}") for line in range(1, number + 1))


# Text


def test_the_verdict_stands_first_and_the_worst_before_the_rest() -> None:
    lines = as_text(forum()).splitlines()
    assert lines[0].startswith("forum on PostgreSQL 15.18: 7 new findings: 3 proved, 2 measured")
    head = " ".join(" ".join(lines[:4]).split())
    assert "1 route is over budget" in head
    assert "Most expensive: 612 ms n-plus-one app/routers/posts.py:41; 84.2 ms missing-ind" in head
    text = "\n".join(lines)
    order = ["Most expensive", "Layers", "1. PROVED", "4. MEASURED", "Suspected:", "Worst requests"]
    order += ["Over budget", "Before and after", "note: "]
    places = [text.index(one) for one in order]
    assert places == sorted(places)


def test_a_finding_has_place_evidence_fix_and_check() -> None:
    text = as_text(forum())
    start = text.index("1. PROVED")
    assert text[start : text.index("2. PROVED")].splitlines() == [
        "1. PROVED [n-plus-one] app/routers/posts.py:41 list_posts, in GET /posts, 612 ms",
        "   The author of each post is loaded by a statement of its own.",
        "     - 200 times the same statement in one request, 3 in the one with the fewest posts",
        "     - 612 ms of the request's 803 ms in the database",
        "   fix (code):",
        "       from sqlalchemy.orm import selectinload",
        "",
        "       select(Post).options(selectinload(Post.author)).order_by(Post.created_at.desc())",
        "   verify: bash scripts/optimize-queries.sh --run 'pytest -q' --verify",
        "",
    ]
    assert "201 -> 2  631 ms -> 5.1 ms  124 times less  GET /posts" in text
    assert UNUSED.message not in text


def test_suspected_ones_are_a_line_each_and_few() -> None:
    text = as_text(replace(forum(), findings=(FOREIGN_KEY, *many(SUSPECTED, 33))))
    lines = text[text.index("Suspected:") :].split("\n\n")[0].splitlines()
    assert len(lines) == 1 + 20 + 1
    assert (
        lines[1] == "  app/routers/stats.py:1 [count-by-loading] All rows are loaded to count them."
    )
    assert lines[-1] == "  and 13 more (--json)"
    # A few are told whole, and nothing below wants the short form of the command (#12).
    long = replace(SUSPECTED, message=f"{'Rows ' * 40}end.")
    text = as_text(
        replace(forum(), findings=many(long, 2), command="optimize-queries.sh --app x:y")
    )
    assert text.count("end.") == 2
    assert "..." not in text[text.index("Suspected:") :].split("\n\n")[0]
    assert "Below, ..." not in text


def test_a_flood_of_findings_is_cut_and_says_so() -> None:
    text = as_text(replace(forum(), findings=many(N_PLUS_ONE, 500), routes=()))
    assert text.count("fix (code):") == 15
    assert re.search(r"31\. \([0-9a-f]{8}\) PROVED app/routers/posts.py:31 \[n-plus-one\]", text)
    assert "and 425 more (--json)" in text
    assert len(text) < 30_000


@pytest.mark.parametrize("width", [20, 72, 100, 160])
def test_lines_fit_unless_they_are_to_be_copied(width: int) -> None:
    for line in as_text(forum(), width).splitlines():
        copied = line.startswith(("       ", "   verify: "))
        assert len(line) <= max(width, 72) or copied or " " not in line.strip(), line


def test_what_was_not_looked_at_is_said_where_nothing_was_found() -> None:
    text = as_text(nothing())
    assert text.startswith("quiet: Nothing was found. Not looked at: capture.")
    assert "NOT RUN           neither --run nor --app was given" in text
    blind = replace(nothing(), layers=nothing().layers[1:])
    assert "Nothing was looked at" in as_text(blind)
    known = replace(forum(), known=frozenset(one.fingerprint for one in forum().findings))
    assert "Nothing new was found. 8 more are known (baseline)" in as_text(known)


def test_a_strangers_text_neither_steers_the_terminal_nor_breaks_out_of_its_line() -> None:
    text = as_text(poisoned(forum()))
    assert text.count("\\x1b[2J") > 50
    assert {unicodedata.category(one) for one in set(text) - {"\n"}} & {"Cc", "Cf", "Cs"} == set()
    assert "hacked" in text
    assert not any(line.startswith("{0}") for line in text.splitlines())


def test_half_a_character_can_be_written_as_utf_8() -> None:
    odd = replace(forum(), title="a\ud800", notes=("b\udfff",))
    assert "a\\ud800" in as_text(odd).encode().decode()
    assert "b\\udfff" in as_html(odd).encode().decode()


def test_a_password_in_the_command_is_shown_nowhere(tmp_path: Path) -> None:
    secret = "DATABASE_URL=postgresql://me:s3cr3t-pw@db/x pytest"
    findings = (replace(N_PLUS_ONE, verify=secret),)
    result = replace(forum(), command=secret, findings=findings)
    shown = [as_text(result), as_html(result), json.dumps(as_document(result))]
    shown.append(json.dumps(as_sarif(result, tmp_path)))
    assert [("s3cr3t-pw" in one, "me:***@" in one) for one in shown] == [(False, True)] * 4


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "0 ms"),
        (0.0004, "<0.001 ms"),
        (0.018, "0.018 ms"),
        (4.494, "4.49 ms"),
        (99.6, "100 ms"),
        (812.4, "812 ms"),
        (999.7, "1 s"),
        (1240, "1.24 s"),
        (250_000, "250 s"),
        (float("inf"), "?"),
    ],
)
def test_durations_have_three_digits_that_count(ms: float, words: str) -> None:
    assert duration(ms) == words


def test_sizes_and_ratios_are_said_in_words() -> None:
    sizes = [in_units(one) for one in (0, 1023, 8192, 2_203_648, 5 * 1024**4)]
    assert sizes == ["0 B", "1,023 B", "8 kB", "2.1 MB", "5 TB"]
    assert ratio(84.2, 0.338) == "249 times less"
    assert ratio(1, 2.5) == "2.5 times more"
    assert (ratio(3, 3), ratio(100, 101), ratio(0, 3)) == ("the same", "about the same", "")


# JSON


def test_the_document_holds_everything_and_survives_json() -> None:
    document = as_document(forum())
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert list(document) == [
        "title", "command", "database", "counts", "layers", "findings", "routes",
        "over_budget", "measured", "changes", "notes",
    ]  # fmt: skip
    assert document["counts"] == {"proved": 3, "measured": 2, "suspected": 2}
    assert [len(document[one]) for one in ("layers", "findings", "routes")] == [5, 8, 13]
    first, *_, fourth, _, unused, _, _ = document["findings"]
    assert first["fingerprint"] == N_PLUS_ONE.fingerprint
    assert first["excerpt"]["marked"] == 41
    assert (first["fix"]["kind"], first["fix"]["index"]) == ("code", None)
    assert fourth["fix"]["index"]["expressions"] == ["user_id", "created_at DESC"]
    assert (first["known"], unused["known"]) == (False, True)
    plan = document["measured"][0]["before"]["plan"]
    assert plan["children"][0]["children"][0]["children"][1]["label"] == "Seq Scan on posts"


def test_no_field_of_a_result_is_forgotten() -> None:
    document = as_document(forum())
    pairs = [
        (N_PLUS_ONE, document["findings"][0]),
        (forum().routes[0], document["routes"][0]),
        (forum().layers[0], document["layers"][0]),
        (forum().changes[0], document["changes"][0]),
        (MEASURED, document["measured"][0]),
        (MEASURED.before, document["measured"][0]["before"]),
        (MEASURED.before.plan, document["measured"][0]["before"]["plan"]),
        (RECENT_POSTS.fix, document["findings"][3]["fix"]),
    ]
    for value, shown in pairs:
        assert {one.name for one in fields(value)} <= set(shown), value  # type: ignore[arg-type]
    known = {"excerpts", "known"}
    assert {one.name for one in fields(Result)} - known <= set(document)


def test_what_is_no_number_is_null_in_json() -> None:
    odd = replace(N_PLUS_ONE, cost_ms=float("nan"))
    routes = (replace(forum().routes[0], ms=float("inf")),)
    document = as_document(replace(forum(), findings=(odd,), routes=routes))
    assert document["findings"][0]["cost_ms"] is None
    assert document["routes"][0]["ms"] is None
    as_text(replace(forum(), findings=(odd,), routes=routes))
    as_html(replace(forum(), findings=(odd,), routes=routes))


# SARIF

ALLOWED = {
    "document": {"$schema", "version", "runs"},
    "run": {"tool", "originalUriBaseIds", "results"},
    "driver": {"name", "rules"},
    "result": {
        "ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints",
        "baselineState", "properties",
    },
    "physicalLocation": {"artifactLocation", "region"},
    "artifactLocation": {"uri", "uriBaseId"},
}  # fmt: skip


def check_sarif(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What the schema of 2.1.0 demands of the parts that are used; the results."""
    assert set(document) == ALLOWED["document"]
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    assert set(run) <= ALLOWED["run"]
    assert set(run["tool"]) == {"driver"}
    driver = run["tool"]["driver"]
    assert set(driver) <= ALLOWED["driver"]
    assert driver["name"]
    rules = [one["id"] for one in driver["rules"]]
    assert len(rules) == len(set(rules))
    root = run["originalUriBaseIds"]["ROOT"]["uri"]
    assert root.startswith("file:///")
    assert root.endswith("/")
    for one in run["results"]:
        assert set(one) <= ALLOWED["result"], one
        assert rules[one["ruleIndex"]] == one["ruleId"]
        assert one["level"] in {"none", "note", "warning", "error"}
        assert set(one["message"]) == {"text"}
        assert one["message"]["text"]
        assert one.get("baselineState", "new") in {"new", "unchanged", "updated", "absent"}
        assert all(isinstance(v, str) and v for v in one["partialFingerprints"].values())
        (location,) = one["locations"]
        place = location["physicalLocation"]
        assert set(place) <= ALLOWED["physicalLocation"]
        assert set(place["artifactLocation"]) <= ALLOWED["artifactLocation"]
        uri = urlsplit(place["artifactLocation"]["uri"])
        assert re.fullmatch(r"[\w.~/%-]+", place["artifactLocation"]["uri"], re.ASCII)
        assert (uri.scheme, uri.netloc, uri.path[:1] == "/") == ("", "", False)
        assert place["artifactLocation"]["uriBaseId"] == "ROOT"
        assert place["region"]["startLine"] >= 1
    results: list[dict[str, Any]] = run["results"]
    return results


def test_sarif_has_level_place_and_fingerprint_of_each(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    odd = replace(SUSPECTED, file="app/a file#1.py", line=None)
    result = replace(forum(), findings=(*forum().findings, odd))
    results = check_sarif(json.loads(json.dumps(as_sarif(result, tmp_path))))
    levels = {Confidence.PROVED: "error", Confidence.MEASURED: "warning"}
    for one, shown in zip(result.findings, results, strict=True):
        assert shown["level"] == levels.get(one.confidence, "note")
        assert list(shown["partialFingerprints"].values()) == [one.fingerprint]
        place = shown["locations"][0]["physicalLocation"]
        assert unquote(place["artifactLocation"]["uri"]) == (one.file or "pyproject.toml")
        assert place["region"]["startLine"] == (one.line or 1)
        assert shown["baselineState"] == ("unchanged" if one == UNUSED else "new")
    assert results[0]["message"]["text"].startswith(N_PLUS_ONE.message)
    assert "200 times the same statement" in results[0]["message"]["text"]


def test_sarif_says_what_is_new_only_where_there_is_a_baseline(tmp_path: Path) -> None:
    results = check_sarif(as_sarif(replace(forum(), known=frozenset()), tmp_path))
    assert all("baselineState" not in one for one in results)


def test_sarif_of_a_stranger_s_text_has_no_links(tmp_path: Path) -> None:
    # Files are the project's own: a hostile name is none.
    findings = [poisoned(one) for one in forum().findings]
    kept = [
        replace(new, file=old.file) for new, old in zip(findings, forum().findings, strict=True)
    ]
    results = check_sarif(as_sarif(replace(forum(), findings=tuple(kept)), tmp_path))
    assert all("](" not in one["message"]["text"] for one in results)
    assert check_sarif(as_sarif(nothing(), tmp_path)) == []
