"""Try tasks with an agent, or prove the checkers without one.

    python evals/run.py                              the checkers, on right and wrong answers
    python evals/run.py --agent "COMMAND"            each task, with the skill
    python evals/run.py --agent "COMMAND" --without-skill --only set-up-alembic

COMMAND is run without a shell in the project's folder, the task as its last argument, or in place
of `{prompt}`. With the skill, it lies in `.claude/skills/` and `.agents/skills/` there. The
agent does what it likes with the rights of the one who starts this: take a container.

Exit code 0: every checker told right from wrong, or every task was done; 1: not; 2: wrong usage.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

from solutions import SOLUTIONS, apply  # noqa: E402

Task = Mapping[str, Any]
Run = Callable[[Sequence[str], Path], tuple[int, str]]
CHECKERS = str(HERE / "checkers.py")
NOT_SHIPPED = {"tests", "evals", "demo", "dist", "AGENTS.md", "Makefile"}


def not_shipped(folder: str, names: list[str]) -> set[str]:
    """For copytree: what the slim skill does not have either."""
    left_out = NOT_SHIPPED if Path(folder) == ROOT else set()
    return {one for one in names if one in left_out or one == "__pycache__" or one[0] == "."}


def tasks() -> list[Task]:
    found: list[Task] = json.loads((HERE / "evals.json").read_text(encoding="utf-8"))["evals"]
    return found


@contextmanager
def project_of(task: Task) -> Iterator[Path]:
    """What the agent is given, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="eval-") as folder:
        project = Path(folder) / "shop"
        for name in task["files"]:
            shutil.copytree(ROOT / name, project, ignore=not_shipped, dirs_exist_ok=True)
        yield project


def run_cold(arguments: Sequence[str], project: Path) -> tuple[int, str]:
    """The project's interpreter is the one that runs this."""
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return ended.returncode, ended.stdout or ended.stderr


def verdict(task: Task, project: Path, run: Run) -> str:
    """Empty if the project does what the task says, else what was seen."""
    code, said = run([CHECKERS, task["name"]], project)
    lines = said.strip().splitlines()
    return "" if code == 0 else (lines[-1] if lines else f"the checker ended with {code}")


def prove(task: Task, run: Run = run_cold) -> dict[str, str]:
    """The verdicts on the project as it is given, on a wrong answer, and on a right one."""
    verdicts = {}
    for answer in ("given", "bad", "good"):
        with project_of(task) as project:
            apply(SOLUTIONS[task["name"]].get(answer, []), project)
            verdicts[answer] = verdict(task, project, run)
    return verdicts


def install(project: Path) -> None:
    for agent in (".claude", ".agents"):
        skill = project / agent / "skills" / "async-sqlalchemy-patterns"
        shutil.copytree(ROOT, skill, ignore=not_shipped)


def attempt(task: Task, command: str, with_skill: bool, seconds: float) -> str:
    """What the checker says of what the agent left."""
    words = shlex.split(command)
    if any("{prompt}" in word for word in words):
        words = [word.replace("{prompt}", task["prompt"]) for word in words]
    else:
        words.append(task["prompt"])
    with project_of(task) as project:
        if with_skill:
            install(project)
        environment = {**os.environ, "DATABASE_URL": "sqlite+aiosqlite:///shop.db"}
        try:
            subprocess.run(
                words, cwd=project, env=environment, stdin=subprocess.DEVNULL, timeout=seconds,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"the agent was not done after {seconds:.0f} s"
        return verdict(task, project, run_cold)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--agent", metavar="COMMAND")
    parser.add_argument("--without-skill", action="store_true")
    parser.add_argument("--only", metavar="TASK", action="append")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=1800)
    options = parser.parse_args()
    chosen = [task for task in tasks() if not options.only or task["name"] in options.only]
    if not chosen:
        parser.error(f"no such task; there are {', '.join(task['name'] for task in tasks())}")
    right = 0
    for task in chosen:
        if options.agent:
            seen = attempt(task, options.agent, not options.without_skill, options.timeout)
            right += not seen
            print(f"{task['name']:<30} {seen or 'done'}", flush=True)
        else:
            seen_of = prove(task)
            is_right = not seen_of["good"] and bool(seen_of["bad"]) and bool(seen_of["given"])
            right += is_right
            good = seen_of["good"] or "passes"
            print(f"{task['name']:<30} right answer: {good}", flush=True)
            for answer, words in (("wrong", "bad"), ("given", "given")):
                print(f"{'':<30} {answer}: {seen_of[words] or 'PASSES'}", flush=True)
    what = "tasks were done" if options.agent else "checkers tell right from wrong"
    print(f"{right} of {len(chosen)} {what}")
    return 0 if right == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
