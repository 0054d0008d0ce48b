"""The planted application is sound as a project, and cured as the fixes say it is fast."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from planted import cures, judging, watching
from projects import warm

Make = Callable[..., str]
Cost = dict[str, float]
Costs = dict[str, Cost]
REPLAY = judging.FORUM.with_name("replay.py")
SUITE = ("-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider")
FEW, MANY = 10, 300
ROUNDS = 2
GROWING = {
    # Where the number of rows comes from in the request.
    "/posts?limit={}": (FEW, MANY),
    "/comments/latest?limit={}": (FEW, MANY),
    "/comments/visible?user_id=1&limit={}": (FEW, MANY),
    "/users/digest?limit={}": (FEW, MANY),
    "/moderation/latest?size={}": (FEW, MANY),
    "/categories/overview?posts={}": (2, 25),
    # One answer is to post 6008, hundreds are to post 10.
    "/posts/{}/thread": (6008, 10),
}
INDEXED = (
    "/posts/category/category-3",
    "/users/by-email?email=user7@example.com",
    "/moderation/queue",
    "/users/77/comments",
    "/posts/archive?page=2000&after=39980",
    "/comments/notified",
    "/users",
)
OTHERS = (
    "/categories/counts",
    "/comments/40000/ancestors",
    "/admin/dashboard",
    "/admin/ranking",
    "/articles",
)
RUN_DDL = """
import asyncio, sys
from sqlalchemy import text
from app.db import engine
async def main():
    async with engine.begin() as connection:
        for statement in [*sys.argv[1:], "ANALYZE"]:
            await connection.execute(text(statement))
    await engine.dispose()
asyncio.run(main())
"""


def python(project: Path, *arguments: str, **variables: str) -> str:
    """What a program says that runs in a project, and has to end well."""
    ended = warm.completed(
        *arguments, cwd=project, environment={**os.environ, **variables}, warnings="default"
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def forum(tmp_path: Path) -> Path:
    return judging.copy_without_tags(tmp_path / "forum")


@pytest.fixture
def cured(tmp_path: Path) -> Path:
    """With all cures, whether the tool asks for them or not."""
    copy = judging.copy_without_tags(tmp_path / "cured")
    cures.apply(copy)
    return copy


def test_the_forum_passes_its_own_tests(forum: Path, make_database: Make) -> None:
    """On SQLite optimize-queries.sh runs them, in test_planted_forum.py."""
    said = python(forum, *SUITE, DATABASE_URL=make_database("postgresql"))
    assert " passed" in said
    assert "cartesian" in said


def test_so_it_does_when_it_is_cured(cured: Path, make_database: Make) -> None:
    said = python(cured, *SUITE, DATABASE_URL=make_database("sqlite"))
    assert " passed" in said
    assert "cartesian" not in said


@pytest.mark.any_sqlalchemy
def test_every_fault_has_a_cure_or_a_reason() -> None:
    faults = {one.name for one in judging.read_planted() if one.kind == "fault"}
    assert faults == {*cures.EDITS, *cures.BY_INDEX, *cures.CURED_WITH, *cures.NOT_CURED}


@pytest.mark.any_sqlalchemy
def test_a_cure_that_fits_nowhere_is_an_error(cured: Path) -> None:
    with pytest.raises(ValueError, match=r"cartesian: 0 times in app/routers/posts.py"):
        cures.apply(cured, ["cartesian"])


@pytest.mark.any_sqlalchemy
@pytest.mark.dialects("sqlite", "postgresql")
def test_cured_the_slow_requests_are_ten_times_faster(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    dialect: str,
    make_database: Make,
    show_at_the_end: Callable[[str], None],
) -> None:
    """Applied is what the tool found, and nothing else: its own DDL, and the cures of its lines."""
    runs = watching.runs(tmp_path_factory, make_database)
    verdicts = judging.judge(judging.read_planted(), runs)
    found = {one.planted.name for one in verdicts if one.all_found}
    forum = judging.copy_without_tags(tmp_path / "forum")
    cured = judging.copy_without_tags(tmp_path / "cured")
    cures.apply(cured, [name for name in cures.EDITS if name in found])
    plain = make_database(dialect)
    python(forum, "-m", "app.seed", "large", DATABASE_URL=plain)
    indexed = copy_of(plain, make_database)
    python(forum, "-c", RUN_DDL, *proposed(runs[dialect]), DATABASE_URL=indexed)
    slow = [*(path.format(pair[1]) for path, pair in GROWING.items()), *INDEXED]
    rest = [*(path.format(pair[0]) for path, pair in GROWING.items()), *OTHERS]
    with replaying(forum, plain) as ask_before, replaying(cured, indexed) as ask_after:
        # By turns: what else the machine does is then in both.
        both = {
            path: best([(ask_before(path), ask_after(path)) for _ in range(rounds)])
            for paths, rounds in ((slow, ROUNDS), (rest, 1))
            for path in paths
        }
    before = {path: pair[0] for path, pair in both.items()}
    after = {path: pair[1] for path, pair in both.items()}

    show_at_the_end(as_table(dialect, before, after, slow))
    assert all(one["status"] == 200 for one in [*before.values(), *after.values()])
    for path, (few, many) in GROWING.items():
        counts = [
            [runs[path.format(n)]["statements"] for n in (few, many)] for runs in (before, after)
        ]
        assert counts[0][1] >= counts[0][0] + 50, path
        assert counts[1][0] == counts[1][1] <= 4, path
    # A PostgreSQL on the same machine answers at once: what one statement instead of hundreds
    # saves is more where it is farther away, or where each is a hop to another thread.
    least = 10 if dialect == "sqlite" else 5
    assert ratio(before, after, slow, "database_ms") >= least
    assert ratio(before, after, slow, "ms") >= least


def proposed(findings: list[dict[str, Any]]) -> list[str]:
    """The DDL of the findings, which here need not leave others alone."""
    texts = [one["fix"]["text"] for one in findings if (one["fix"] or {}).get("index")]
    statements = [part.strip() for text in texts for part in text.split(";\n")]
    made = [one.rstrip(";").replace(" CONCURRENTLY", "") for one in statements]
    return list(dict.fromkeys(one for one in made if one and not one.startswith("--")))


def copy_of(url: str, make_database: Make) -> str:
    """A database with the same rows."""
    name = str(make_url(url).database)
    if not url.startswith("sqlite"):
        return make_database("postgresql", template=name)
    copy = make_database("sqlite")
    shutil.copy(name, str(make_url(copy).database))
    return copy


def ratio(before: Costs, after: Costs, paths: list[str], measure: str) -> float:
    return sum(before[path][measure] for path in paths) / sum(
        after[path][measure] for path in paths
    )


def best(rounds: list[tuple[Cost, Cost]]) -> tuple[Cost, Cost]:
    """The least of each number: all that other processes do is add to it."""
    before, after = zip(*rounds, strict=True)
    return tuple(  # type: ignore[return-value]
        {name: min(one[name] for one in costs) for name in costs[0]} for costs in (before, after)
    )


@contextmanager
def replaying(project: Path, url: str) -> Iterator[Callable[[str], Cost]]:
    """Give a path, get what a request of it costs."""
    process = subprocess.Popen(
        [sys.executable, str(REPLAY)],
        cwd=project,
        env={**os.environ, "DATABASE_URL": url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(path: str) -> Cost:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        return dict(json.loads(process.stdout.readline()))

    with process:
        yield ask


def as_table(dialect: str, before: Costs, after: Costs, slow: list[str]) -> str:
    width = max(map(len, before))
    title = f"cured as the fixes say, {dialect}"
    lines = [f"{title:{width}}    statements   in the database    whole request"]
    for path, old in before.items():
        new = after[path]
        statements = f"{old['statements']:4} -> {new['statements']:2}"
        times = [
            f"{old[name]:6.1f} -> {new[name]:4.1f} ms ({old[name] / new[name]:3.0f}x)"
            for name in ("database_ms", "ms")
        ]
        mark = "*" if path in slow else " "
        lines.append(f"{path:{width}} {mark} {statements}  {'  '.join(times)}")
    times = [f"{ratio(before, after, slow, name):.0f} times" for name in ("database_ms", "ms")]
    lines.append(f"* together {times[0]} faster in the database, {times[1]} as whole requests")
    return "\n".join(lines)
