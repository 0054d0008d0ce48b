"""Break the templates and the toolkit at places spread over all rooms, and see which tests notice.

Shows what the suite would let through: a mutant that lives is a missing test, a line that is not
needed, or a change that nobody can see (#10). Costs about a CPU minute for each mutant.

Conditions are turned round, `and` and `or`, comparisons, numbers and truth values exchanged, lines
dropped, which cosmic-ray does not do. That happens in a copy of what is committed. The tests that
name the module are tried first, then those of its room, as `make test` runs them; what lives then
is tried with the cases that only `make sweeps` has. For a module whose tests run in their own
process, `--only FILE --tests FILE...` tries a place in two seconds.
"""

import argparse
import ast
import copy
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLKIT = Path("scripts/toolkit")
TEMPLATES = Path("templates")
# The tests of the scripts as a whole, by the first folder of the room.
ROOMS = {
    "connection": ["scripts/test_connection*", "scripts/test_old_*"],
    "database": ["scripts/test_catalog*", "scripts/test_[grs]*", "harm/test_[egps]*"],
    "fence": ["harm/test_[eg]*", "scripts/test_guard*", "scripts/test_project_prove*"],
    "files": ["harm/test_files*", "scripts/test_setup_apply*"],
    "migration": ["scripts/test_[emrt]*", "scripts/test_generate*", "scripts/test_several*"],
    "project": ["scripts/test_[fpsw]*"],
    "queries": ["scripts/test_queries*", "scripts/test_planted*"],
    "report": ["scripts/test_[dfmpt]*", "harm/test_secrets*"],
    "setup": ["scripts/test_[fs]*", "demo/test_*"],
    "templates": ["templates/test_*", "examples/test_*", "faults/test_*"],
}
AT_ONCE = ["-n", "2", "--dist", "worksteal"]
OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}


@dataclass(frozen=True)
class Mutant:
    """One change of one file, whose path counts from the skill's root."""

    file: Path
    line: int
    was: str
    becomes: str
    text: str
    """The whole file."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--places", type=int, default=60, help="how many mutants")
    parser.add_argument("--seed", type=int, default=10, help="which ones")
    parser.add_argument("--only", default="", help="of files whose path has this in it")
    parser.add_argument("--tests", nargs="+", default=[], help="try these alone: seconds each")
    parser.add_argument("--after", type=int, default=0, help="go on after this many of them")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leaves no folder and no tests
    noticed = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        skill = Path(folder, "skill")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(skill)], check=True)
        chosen = choose(skill, options.places, random.Random(options.seed), options.only)
        for number, mutant in list(enumerate(chosen, 1))[options.after :]:
            started = time.monotonic()
            failure = failure_with(skill, mutant, options.tests)
            noticed += bool(failure)
            print(
                f"{number}. {mutant.file}:{mutant.line}: {mutant.was} -> {mutant.becomes}\n"
                f"   {failure or 'LIVES'} ({time.monotonic() - started:.0f} s)",
                flush=True,
            )
    print(f"{noticed} of {len(chosen) - options.after} mutants were noticed")
    return 0


def choose(skill: Path, places: int, by: random.Random, only: str) -> list[Mutant]:
    """As many of each room as of each other, and twelve times as many of the templates."""
    rooms: dict[Path, list[Path]] = {}
    for top in (TOOLKIT, TEMPLATES):
        for path in sorted((skill / top).rglob("*.py")):
            if only in str(file := path.relative_to(skill)) and path.read_text("utf-8").strip():
                rooms.setdefault(file.parent, []).append(file)
    for files in rooms.values():
        by.shuffle(files)
    order = [room for room in rooms for _ in range(12 if room == TEMPLATES else 1)]
    found: dict[str, Mutant] = {}
    for turn in range(places * 3):
        files = rooms[order[turn % len(order)]]
        files.append(file := files.pop(0))
        if possible := list(mutants_of(skill, file)):
            mutant = by.choice(possible)
            found[mutant.text] = mutant
        if len(found) == places:
            break
    return list(found.values())


def mutants_of(skill: Path, file: Path) -> Iterator[Mutant]:
    text = (skill / file).read_text(encoding="utf-8")
    lines = text.encode().splitlines(keepends=True)
    for node in ast.walk(ast.parse(text)):
        becomes = changed(node)
        if becomes is None or not isinstance(node, ast.stmt | ast.expr):
            continue
        assert node.end_lineno is not None and node.end_col_offset is not None
        before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
        end = node.end_lineno - 1
        after = lines[end][node.end_col_offset :] + b"".join(lines[end + 1 :])
        mutated = (before + becomes.encode() + after).decode()
        yield Mutant(file, node.lineno, ast.unparse(node), becomes, mutated)


def changed(node: ast.AST) -> str | None:
    """Other code for this node; None where there is none that it could be."""
    match node:
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Continue():
            return "pass"
        case ast.Compare(ops=[operator]):
            other = copy.deepcopy(node)
            other.ops = [OPPOSITES[type(operator)]()]
            return f"({ast.unparse(other)})"
        case ast.BoolOp(op=operator):
            either = copy.deepcopy(node)
            either.op = ast.Or() if isinstance(operator, ast.And) else ast.And()
            return f"({ast.unparse(either)})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return f"bool({ast.unparse(operand)})"
        case ast.Constant(value=bool(value)):
            return str(not value)
        case ast.Constant(value=int(number)):
            return str(number + 1)
    return None


def failure_with(skill: Path, mutant: Mutant, given: list[str]) -> str:
    """The first test that fails, and does not without the mutant; empty if none does.

    Of all that are about the module, or of those `given`.
    """
    path = skill / mutant.file
    before = path.read_text(encoding="utf-8")
    path.write_text(mutant.text, encoding="utf-8")
    try:
        for arguments in [given] if given else runs_of(skill, mutant.file):
            if failure := first_failure(skill, arguments):
                break
    finally:
        path.write_text(before, encoding="utf-8")
        shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
    if failure and first_failure(skill, [failure]):
        sys.exit(f"{failure} fails without a mutant, too: mend that first")
    return f"{failure} IN SWEEPS ONLY" if failure and "-m" in arguments else failure


def runs_of(skill: Path, file: Path) -> list[list[str]]:
    """Arguments of pytest, run by run."""
    tests = tests_of(skill, file)
    # PostgreSQL's tests come after all of SQLite's: few files at a time are sooner red.
    few = [tests[:1], tests[1:4], tests[4:]]
    sampled = [["--sample", *AT_ONCE, *some] for some in few if some]
    return [*sampled, ["-m", "sweep", *AT_ONCE, *tests]]


def tests_of(skill: Path, file: Path) -> list[str]:
    """Files of tests, nearest first: those that name the module, and all others of its room."""
    inside = file.relative_to(TOOLKIT) if TOOLKIT in file.parents else file
    module = ".".join(file.with_suffix("").parts).removeprefix("scripts.")
    package, _, name = module.rpartition(".")
    named = re.compile(
        rf"\b{name}\b"
        if file.parent == TEMPLATES
        else rf"\b{module}\b|from {package} import .*\b{name}\b|\b{file.parent.name}/{file.name}"
    )
    words = {word for word in re.split(r"\W|_", str(inside.with_suffix(""))) if len(word) > 2}
    near: list[tuple[int, int, str]] = []
    for test in (skill / "tests").rglob("test_*.py"):
        mentions = len(named.findall(test.read_text("utf-8")))
        patterns = ROOMS[inside.parts[0]]
        place = [n for n, one in enumerate(patterns) if test.match(f"tests/{one}")]
        if mentions or place:
            shared = len(words & set(test.stem.split("_")))
            near.append((-mentions - 5 * shared, min(place, default=9), str(test)))
    return [test for *_, test in sorted(near)]


def first_failure(skill: Path, arguments: list[str]) -> str:
    """The name of the test; empty if all pass."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", *arguments],
        cwd=skill,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode in (0, 5):  # all passed, or none were there
        return ""
    lines = ended.stdout.splitlines()
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    if not failed:
        sys.exit(f"pytest ended with {ended.returncode} and no test's name: {lines[-1:]}")
    return failed[0].partition(" ")[2].partition(" - ")[0]


if __name__ == "__main__":
    sys.exit(main())
