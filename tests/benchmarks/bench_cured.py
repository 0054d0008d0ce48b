"""How much faster the planted application is, cured as optimize-queries.sh says.

    python tests/benchmarks/bench_cured.py

For SQLite and PostgreSQL: watches the application on its large data, applies what the tool found
and nothing else (its own DDL, and the cures of the lines that it named), and sends the same
requests to both copies by turns: what else the machine does is then in both. The least of each
number counts: all that other processes do is add to it.

Exit code 1 when the slow requests together are not ten times faster on SQLite, five on PostgreSQL:
there on the same machine the database answers at once, and what one statement instead of hundreds
saves is more where it is farther away.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

from planted import cures, judging, watching  # noqa: E402
from planted.costs import GROWING, RUN_DDL, Cost, proposed, replaying  # noqa: E402
from projects import warm  # noqa: E402
from servers import postgres  # noqa: E402

LEAST = {"sqlite": 10, "postgresql": 5}
ROUNDS = 3
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
Costs = dict[str, Cost]


def python(project: Path, *arguments: str, url: str) -> None:
    environment = {**os.environ, "DATABASE_URL": url}
    ended = warm.completed(*arguments, cwd=project, environment=environment, warnings="default")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def compare(folder: Path, urls: list[str]) -> tuple[Costs, Costs]:
    """What each request costs before and after; `urls`: two databases with the same rows."""
    plain, indexed = urls
    forum = judging.copy_without_tags(folder / "forum")
    replay = ("--app", "app.main:app", "--requests", "requests.txt", "--url-env", "DATABASE_URL")
    findings = watching.findings(forum, *replay, DATABASE_URL=plain)
    found = {
        one.planted.name
        for one in judging.judge(judging.read_planted(), {"run": findings})
        if one.all_found
    }
    cured = judging.copy_without_tags(folder / "cured")
    cures.apply(cured, [name for name in cures.EDITS if name in found])
    python(forum, "-c", RUN_DDL, *proposed(findings), url=indexed)
    with replaying(forum, plain) as ask_before, replaying(cured, indexed) as ask_after:
        paths = [
            *(path.format(n) for path, pair in GROWING.items() for n in pair),
            *INDEXED,
            *OTHERS,
        ]
        both = {
            path: best([(ask_before(path), ask_after(path)) for _ in range(ROUNDS)])
            for path in paths
        }
    return {path: pair[0] for path, pair in both.items()}, {p: pair[1] for p, pair in both.items()}


def best(rounds: list[tuple[Cost, Cost]]) -> tuple[Cost, Cost]:
    before, after = (
        {name: min(one[name] for one in costs) for name in costs[0]}
        for costs in zip(*rounds, strict=True)
    )
    return before, after


def ratio(before: Costs, after: Costs, paths: list[str], measure: str) -> float:
    return sum(before[one][measure] for one in paths) / sum(after[one][measure] for one in paths)


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


def main() -> int:
    slow = [*(path.format(pair[1]) for path, pair in GROWING.items()), *INDEXED]
    wrong = 0
    with tempfile.TemporaryDirectory() as name, postgres.running_postgres() as server:
        folder = Path(name)
        for dialect, least in LEAST.items():
            own = folder / dialect
            seeding = judging.copy_without_tags(own / "seeding")
            if dialect == "sqlite":
                files = [own / "plain.db", own / "indexed.db"]
                urls = [f"sqlite+aiosqlite:///{file}" for file in files]
                watching.fill(seeding, urls[0], "large")
                shutil.copy(*files)
            else:
                server.create_database("plain")
                urls = [server.url(name) for name in ("plain", "indexed")]
                watching.fill(seeding, urls[0], "large")
                server.create_database("indexed", template="plain")
            before, after = compare(own, urls)
            print(as_table(dialect, before, after, slow), flush=True)
            wrong += any(
                ratio(before, after, slow, measure) < least for measure in ("database_ms", "ms")
            )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
