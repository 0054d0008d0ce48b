"""Five reviewers of migrations on one corpus: hazards right, for a wrong reason, missed; false
alarms, CPU time.

    python tests/benchmarks/bench_migrations.py

Ours runs each revision on PostgreSQL; squawk reads the SQL that this captured; alembic-guard and
zdm read the Python, alembic-migration-linter the SQL of an offline run. Each gets its best:
squawk without its rules of style, in one frame per revision, zdm without what it says of
downgrades. It is right where one of its rules names a hazard of the revision (`other_tools.py` says
which does), whatever else it says; ours has to name all of them, each with its verdict, and nothing
else. A finding above style in a safe form is a false alarm.

Exit code 1 when ours is not right everywhere or takes too long, or a tool's rule is not known.
"""

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

from benchmarks.other_tools import Marks, marks  # noqa: E402
from corpus.runner import CORPUS, URLS, Case, Workplace, cases, copy_of  # noqa: E402
from servers.postgres import PostgresServer, running_postgres  # noqa: E402
from toolkit.migration.review import findings_of  # noqa: E402
from toolkit.migration.review.squawk import STYLE, find_squawk, opinions  # noqa: E402
from toolkit.report.finding import Verdict  # noqa: E402

GUARD = "alembic-guard==0.1.1"
ZDM = "zdm==0.9.1"
LINTER = "alembic-migration-linter==0.1.4"
LIMIT = 60.0
"""CPU milliseconds a revision, beyond the process's start."""
HISTORY = 40
"""Revisions of the project of which the door reviews one, and all."""
ROUNDS = 5
AIMS = {"--review": 1.0, "--all": 0.25}
"""CPU seconds: for one revision with the start, and for each further one."""


@dataclass
class Score:
    """How one reviewer did."""

    name: str
    marks: Marks = field(default_factory=Marks)
    milliseconds: float | None = None
    note: str = ""


def main() -> int:
    # What a comment allows is for our tests: others can't know that comment.
    corpus = [
        case
        for case in cases(CORPUS / "postgresql")
        if "migration-review: allow" not in case.path.read_text(encoding="utf-8")
    ]
    with running_postgres() as server, tempfile.TemporaryDirectory() as folder:
        place = Workplace(Path(folder, "p"), CORPUS / "postgresql")
        print(
            f"PostgreSQL {server.version}, Python {sys.version.split()[0]}, {os.cpu_count()} CPUs"
        )
        traces, milliseconds = run_all(server, place, corpus)
        scores = [
            ours(corpus, traces, milliseconds),
            by_squawk(corpus, traces),
            by_guard(place, corpus, Path(folder, "guard")),
            by_zdm(place, corpus, Path(folder, "zdm")),
            by_linter(place, corpus, Path(folder, "linter")),
        ]
        code = show(corpus, scores)
        show_doors(Path(folder, "door"), server)
    return code


def show_doors(root: Path, server: PostgresServer) -> None:
    """What a person waits for: `generate-migration.sh` on a history, its processes together. The
    database server is somebody else's, and not counted."""
    place = Workplace(root, CORPUS, url=URLS["postgresql"])  # a folder without revisions
    for file in place.versions.glob("*.py"):
        file.unlink()
    parent, call = "None", 'op.create_table("parcels", sa.Column("id", sa.Integer))'
    back = 'op.drop_table("parcels")'
    for number in range(HISTORY):
        text = REVISION.format(number=number, parent=parent, up=call, down=back)
        (place.versions / f"r{number}.py").write_text(text, encoding="utf-8")
        parent = f'"r{number}"'
        call = f'op.add_column("parcels", sa.Column("c{number}", sa.String))'
        back = f'op.drop_column("parcels", "c{number}")'
    variables = {**os.environ, "VIRTUAL_ENV": sys.prefix}
    variables["SCRATCH_DATABASE_URL"] = server.url("postgres")
    door = ["bash", str(ROOT / "scripts" / "generate-migration.sh")]

    def seconds(option: str) -> float:
        def once() -> None:
            subprocess.run(
                [*door, option], cwd=root, env=variables, capture_output=True, check=True
            )

        return statistics.median(timed(once)[0] for _ in range(ROUNDS)) / 1000

    one, everything = seconds("--review"), seconds("--all")
    further = (everything - one) / (HISTORY - 1)
    print(f"\nThe door on {HISTORY} revisions, CPU s, median of {ROUNDS}:")
    for option, took in (("--review", one), ("--all", further)):
        title = "one revision" if option == "--review" else "each further one"
        print(f"{option:10}{title:18}{took:>6.2f} (the aim: {AIMS[option]})")


REVISION = """import sqlalchemy as sa
from alembic import op

revision, down_revision = "r{number}", {parent}


def upgrade() -> None:
    {up}


def downgrade() -> None:
    {down}
"""


def run_all(
    server: PostgresServer, place: Workplace, corpus: list[Case]
) -> tuple[dict[str, Any], dict[str, float]]:
    """Every revision's trace, and what it took beyond the same command with nothing to do:
    the process, env.py, the connection."""
    traces: dict[str, Any] = {}
    spent: dict[str, float] = {}
    with base_database(server, place) as template:
        base = server.url(template)
        start = min(timed(lambda: place.run("upgrade", "before", url=base))[0] for _ in range(5))
        for case in corpus:
            with copy_of(server, template, "bench_copy") as url:
                whole, report = timed(
                    lambda case=case, url=url: place.run("upgrade", case.name, url=url)
                )
            traces[case.name] = report["trace"]
            spent[case.name] = max(0.0, whole - start)
    return traces, spent


@contextmanager
def base_database(server: PostgresServer, place: Workplace) -> Iterator[str]:
    server.create_database("bench_base")
    try:
        report = place.run("upgrade", "before", url=server.url("bench_base"))
        assert "error" not in report, report["error"]
        yield "bench_base"
    finally:
        server.drop_database("bench_base")


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of the processor, of this process and those that it waited for; the result.

    Not of the clock: the machine may do something else as well."""
    start = spent_so_far()
    result = call()
    return 1000 * (spent_so_far() - start), result


def spent_so_far() -> float:
    """Also of children that live on, such as the one that forks for each command of Alembic."""
    ended = sum(
        one.ru_utime + one.ru_stime
        for one in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    ticks = 0
    for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split():
        words = Path(f"/proc/{child}/stat").read_text("utf-8").rpartition(")")[2].split()
        ticks += sum(map(int, words[11:15]))  # its own, and those of what it waited for
    return ended + ticks / os.sysconf("SC_CLK_TCK")


def ours(corpus: list[Case], traces: dict[str, Any], spent: dict[str, float]) -> Score:
    squawk, note = find_squawk()
    score = Score("ours", note=note)
    judging = 0.0
    for case in corpus:
        took, findings = timed(lambda case=case: findings_of(traces[case.name]))
        judging += took
        loud = {(f.rule, str(f.verdict)) for f in findings if f.verdict.rank < Verdict.STYLE.rank}
        if case.is_safe:
            score.marks.false |= {case.name} if loud else set()
        elif loud == set(case.expected):
            score.marks.right.add(case.name)
        else:
            (score.marks.wrong if loud else score.marks.missed).add(case.name)
    # squawk's second opinion is asked for all revisions at once, as the program does.
    if squawk is not None:
        together = {"dialect": "postgresql", "revisions": [
            revision for trace in traces.values() for revision in trace["revisions"]
        ]}  # fmt: skip
        took, findings = timed(lambda: findings_of(together, squawk=squawk))
        judging += took
    score.milliseconds = (sum(spent.values()) + judging) / len(corpus)
    slowest = max(spent, key=lambda name: spent[name])
    score.note = note or f"slowest: {slowest} {spent[slowest]:.0f} ms"
    return score


def marked(
    tool: str, corpus: list[Case], said: Mapping[str, set[str]], milliseconds: float
) -> Score:
    name, _, version = tool.partition(" ")
    expected = {case.name: {rule for rule, _ in case.expected} for case in corpus}
    style = SQUAWK_STYLE if name == "squawk" else ()
    return Score(f"{name} {version}", marks(name, expected, said, style), milliseconds)


# What it says of a type's look or of a name's length; `adding a value without BEFORE or AFTER`.
SQUAWK_STYLE = {*STYLE, "require-enum-value-ordering"} - {"ban-create-domain-with-constraint"}


def by_squawk(corpus: list[Case], traces: dict[str, Any]) -> Score:
    squawk, note = find_squawk()
    if squawk is None:
        return Score("squawk", note=note)
    revisions = [revision for trace in traces.values() for revision in trace["revisions"]]
    took, opinion = timed(lambda: opinions(revisions, squawk))
    said = defaultdict[str, set[str]](set)
    for index, rule, _ in opinion:
        said[revisions[index]["revision"]].add(rule)
    return marked(f"squawk {squawk.version}", corpus, said, took / len(revisions))


def environment_with(requirement: str, folder: Path) -> Path | None:
    """The `bin` of an environment made for this run, which has the tool; None without one."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    installed = subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-input", requirement],
        capture_output=True,
        check=False,
    )
    return None if installed.returncode else folder / "bin"


def tool(requirement: str) -> str:
    return requirement.replace("==", " ")


def ended(*words: str | Path, cwd: Path | None = None) -> str:
    """What a tool prints; that it found something is no failure."""
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False
    )
    return done.stdout


def by_guard(place: Workplace, corpus: list[Case], folder: Path) -> Score:
    programs = environment_with(GUARD, folder)
    if programs is None:
        return Score(tool(GUARD), note="could not be installed here")
    guard = (programs / "python", "-m", "alembic_guard", "--format", "json")
    files = [str(place.versions / case.path.name) for case in corpus]
    start, _ = timed(lambda: ended(*guard, "--list-rules"))
    took, text = timed(lambda: ended(*guard, *files))
    said = json.loads(text)
    listed = said["findings"] if isinstance(said, dict) else said
    found = defaultdict[str, set[str]](set)
    for one in listed:
        found[Path(one["path"]).stem].add(one["name"])
    return marked(tool(GUARD), corpus, found, max(0.0, took - start) / len(files))


def by_zdm(place: Workplace, corpus: list[Case], folder: Path) -> Score:
    programs = environment_with(ZDM, folder)
    if programs is None:
        return Score(tool(ZDM), note="could not be installed here")
    start, _ = timed(lambda: ended(programs / "zdm", "--list-rules"))
    took, text = timed(
        lambda: ended(programs / "zdm", "--output-format", "json", "alembic", cwd=place.root)
    )
    down = {case.name: line_of_downgrade(case.path) for case in corpus}
    found = defaultdict[str, set[str]](set)
    for one in json.loads(text)["diagnostics"]:
        name = Path(one["path"]).stem
        if name in down and one["line"] < down[name]:
            found[name].add(one["rule_name"])
    return marked(tool(ZDM), corpus, found, max(0.0, took - start) / len(corpus))


def line_of_downgrade(path: Path) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.startswith("def downgrade"))


def by_linter(place: Workplace, corpus: list[Case], folder: Path) -> Score:
    """It runs Alembic offline, so this env.py needs a way for that."""
    programs = environment_with(LINTER, folder)
    if programs is None:
        return Score(tool(LINTER), note="could not be installed here")
    env = place.root / "alembic" / "env.py"
    text = env.read_text(encoding="utf-8")
    env.write_text(OFFLINE, encoding="utf-8")
    linter = (programs / "alembic-lint", "--no-cache", "-d", "postgresql")
    try:
        start, _ = timed(lambda: ended(programs / "alembic-lint", "--help"))
        found, spent = dict[str, set[str]](), 0.0
        for case in corpus:
            took, said = timed(lambda case=case: ended(*linter, "-r", case.name, cwd=place.root))
            spent += max(0.0, took - start)
            found[case.name] = set(re.findall(r"^\t([A-Z_]+)$", said, re.MULTILINE))
    finally:
        env.write_text(text, encoding="utf-8")
    return marked(tool(LINTER), corpus, found, spent / len(corpus))


OFFLINE = """
from alembic import context

context.configure(dialect_name="postgresql", literal_binds=True)
with context.begin_transaction():
    context.run_migrations()
"""


def show(corpus: list[Case], scores: list[Score]) -> int:
    hazards = sum(not case.is_safe for case in corpus)
    print(
        f"\n{hazards} hazards, {len(corpus) - hazards} safe forms; CPU ms a revision, without the"
        f" start\n\n{'':32}{'right':>7}{'wrong reason':>14}{'missed':>8}{'false alarms':>14}"
        f"{'ms':>7}"
    )
    for score in scores:
        took = "-" if score.milliseconds is None else f"{score.milliseconds:.1f}"
        found = score.marks
        print(
            f"{score.name:32}{len(found.right):>7}{len(found.wrong):>14}{len(found.missed):>8}"
            f"{len(found.false):>14}{took:>7}  {score.note}"
        )
    problems = []
    for score in scores:
        found = score.marks
        for title, names in (
            ("wrong", found.wrong), ("misses", found.missed), ("false", found.false)
        ):  # fmt: skip
            if names:
                print(f"\n{score.name} {title}: {', '.join(sorted(names))}")
        if found.unknown:
            rules = ", ".join(sorted(found.unknown))
            problems.append(f"{score.name}: tests/benchmarks/other_tools.py does not know {rules}")
    mine = scores[0]
    if mine.marks.wrong or mine.marks.missed or mine.marks.false:
        problems.append("ours is not right everywhere")
    if mine.milliseconds is None or mine.milliseconds > LIMIT:
        problems.append(f"more than {LIMIT:.0f} ms per revision")
    for problem in problems:
        print(f"\nFAILED: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
