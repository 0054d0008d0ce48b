"""optimize-queries.sh on the planted application: what it finds, and whom it accuses.

`planted/forum` has faults and innocent look-alikes, named in comments of its source. The copy
that the tool sees has no such comments.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from planted import judging, watching

Make = Callable[[str], str]


# The whole tool


@pytest.mark.any_sqlalchemy
def test_every_planted_fault_is_found_and_no_innocent_accused(
    tmp_path_factory: pytest.TempPathFactory,
    make_database: Make,
    show_at_the_end: Callable[[str], None],
) -> None:
    runs = watching.runs(tmp_path_factory, make_database)
    planted = judging.read_planted()
    verdicts = judging.judge(planted, runs)
    show_at_the_end(judging.as_table(verdicts, runs, judging.strangers(planted, runs)))
    missed = [one.planted.name for one in verdicts if one.planted.demanded and not one.all_found]
    accused = [
        (one.planted.name, judging.shown(finding))
        for one in verdicts
        if one.planted.kind == "innocent"
        for finding in one.all_found
    ]
    assert (missed, accused) == ([], [])


# The comparison itself

SOURCE = """\
from sqlalchemy import Index

index = Index("ix_a", "a", "b")  # innocent: pair on things(a,b)
same = Index("ix_b", "a")  # fault: twice catalog proved on things(a)


@route("/things")
async def things(session):
    rows = await session.execute(QUERY)  # innocent: one-query
    for row in rows:
        await session.get(Thing, row.id)  # fault: loop capture proved or code suspected


async def feed(session):
    return await session.execute(  # fault: slow plans measured on things(a,created_at)
        QUERY
    )


async def search(session):
    return like("%x")  # fault: like code suspected
"""


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[list[judging.Planted]]:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "things.py").write_text(SOURCE, encoding="utf-8")
    yield judging.read_planted(tmp_path)


def finding(layer: str, confidence: str, line: int | None = None, **more: Any) -> dict[str, Any]:
    file = None if line is None else "app/things.py"
    return {
        **{"rule": "some-rule", "layer": layer, "confidence": confidence, "message": "words"},
        **{"file": file, "line": line, "table": None, "fix": None, **more},
    }


def index(*expressions: str, table: str = "things") -> dict[str, Any]:
    found = {"name": "ix", "table": table, "expressions": list(expressions)}
    return {"table": table, "fix": {"kind": "ddl", "text": "", "index": found}}


def found(planted: list[judging.Planted], *findings: dict[str, Any]) -> set[str]:
    verdicts = judging.judge(planted, {"run": findings})
    return {verdict.planted.name for verdict in verdicts if verdict.all_found}


@pytest.mark.any_sqlalchemy
def test_comments_say_what_is_planted(planted: list[judging.Planted]) -> None:
    assert [(one.kind, one.name, one.demanded) for one in planted] == [
        ("fault", "like", False),
        ("fault", "loop", True),
        ("fault", "slow", True),
        ("fault", "twice", True),
        ("innocent", "one-query", False),
        ("innocent", "pair", False),
    ]
    places = {one.name: (one.places[0].line, one.places[0].around) for one in planted}
    assert places["loop"] == (11, range(7, 12))
    assert places["pair"] == (3, range(3, 4))
    loop = next(one for one in planted if one.name == "loop")
    assert loop.known == (("capture", "proved"), ("code", "suspected"))


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("right", "name"),
    [
        (finding("capture", "proved", 11), "loop"),
        (finding("catalog", "proved", **index("a")), "twice"),
        (finding("plans", "measured", 15, **index("a", "created_at DESC")), "slow"),
        (finding("plans", "measured", 15, **index("a", "created_at DESC", "b")), "slow"),
        (finding("code", "suspected", 21), "like"),
    ],
)
def test_the_right_finding_counts(
    planted: list[judging.Planted], right: dict[str, Any], name: str
) -> None:
    assert found(planted, right) == {name}
    assert not judging.strangers(planted, {"run": [right]})


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    "wrong",
    [
        finding("code", "suspected", 11),
        finding("statements", "measured", 11),
        finding("capture", "measured", 11),
        finding("catalog", "proved", **index("a", "b", "c")),
        finding("catalog", "proved", **index("a", table="others")),
        finding("catalog", "proved", table="things"),
        finding("plans", "measured", 15, **index("a")),
        finding("plans", "measured", 15),
        finding("plans", "measured", 14, **index("a", "created_at DESC")),
        finding("capture", "proved", 15),
        finding("code", "suspected", 9),
        {**finding("capture", "proved", 11), "file": "app/others.py"},
    ],
)
def test_a_wrong_finding_does_not(planted: list[judging.Planted], wrong: dict[str, Any]) -> None:
    assert not found(planted, wrong)


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (finding("capture", "proved", 9), "one-query"),
        (finding("plans", "measured", 7), "one-query"),
        (finding("catalog", "proved", **index("a", "b")), "pair"),
    ],
)
def test_who_is_accused(planted: list[judging.Planted], wrong: dict[str, Any], name: str) -> None:
    assert found(planted, wrong) == {name}
    verdicts = judging.judge(planted, {"run": [wrong]})
    table = judging.as_table(verdicts, ["run"], [])
    assert "faults found with their line: 0 of 3" in table
    assert "innocents reported above `suspected`: 1 of 2" in table
    assert f"ACCUSED {name}: some-rule" in table


@pytest.mark.any_sqlalchemy
def test_what_is_neither_planted_nor_innocent_is_shown(planted: list[judging.Planted]) -> None:
    runs = {"run": [finding("capture", "proved", 1), finding("code", "suspected", 1)]}
    others = judging.strangers(planted, runs)
    assert [one["layer"] for _, one in others] == ["capture"]
    table = judging.as_table(judging.judge(planted, runs), runs, others)
    assert (
        "neither planted nor innocent (run): some-rule (capture, proved) app/things.py:1" in table
    )


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    "comment",
    [
        "# fault: no-layer",
        "# fault: name capture surely",
        "# innocent: name capture proved",
        "# innocent:name",
        "# fault: name capture proved on things",
    ],
)
def test_a_comment_that_nobody_can_read_is_an_error(tmp_path: Path, comment: str) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "a.py").write_text(f"a = 1  {comment}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"app/a.py:1: not understood"):
        judging.read_planted(tmp_path)


@pytest.mark.any_sqlalchemy
def test_a_formatter_that_moves_a_fault_to_a_bracket_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    source = "a = call(\n    1\n)  # fault: name capture proved\n"
    (tmp_path / "app" / "a.py").write_text(source, encoding="utf-8")
    with pytest.raises(ValueError, match=r"app/a.py:3: a fault on a line without code"):
        judging.read_planted(tmp_path)


@pytest.mark.any_sqlalchemy
def test_the_forum_has_enough_of_both_and_its_copy_says_nothing(tmp_path: Path) -> None:
    planted = judging.read_planted()
    assert sum(one.demanded for one in planted) >= 25
    assert sum(one.kind == "innocent" for one in planted) >= 25
    copy = judging.copy_without_tags(tmp_path / "forum")
    for path in sorted((judging.FORUM / "app").rglob("*.py")):
        there = copy / path.relative_to(judging.FORUM)
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(there.read_text(encoding="utf-8").splitlines()) == len(lines)
        assert not list(judging.read_tags(there.read_text(encoding="utf-8"), there.name))
