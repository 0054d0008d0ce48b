"""The evals: their form, and that each checker tells a right answer from a wrong one."""

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from projects import warm

pytestmark = pytest.mark.any_sqlalchemy

EVALS = Path(__file__).resolve().parents[2] / "evals"
TASKS = json.loads((EVALS / "evals.json").read_text(encoding="utf-8"))["evals"]


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"evals_{name}", EVALS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


runner = loaded("run")
checkers = loaded("checkers")


def run_warm(arguments: Sequence[str], project: Path) -> tuple[int, str]:
    with tempfile.TemporaryFile() as errors:  # warnings of the project
        return warm.run(
            arguments, cwd=project, environment=os.environ, stderr=errors, warnings="default"
        )


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task["name"])
def test_a_checker_tells_right_from_wrong(task: dict[str, object]) -> None:
    """The project as it is given is wrong as well: else nothing is asked."""
    seen = runner.prove(task, run_warm)
    assert seen["good"] == ""
    for answer in ("given", "bad"):
        assert seen[answer], f"{answer} passes"
        assert "Error" not in seen[answer] or task["name"] in BREAKS, seen[answer]


# Where what is given or wrong cannot run at all.
BREAKS = {
    "set-up-alembic",
    "a-column-that-is-required",
    "a-column-with-another-name",
}


def test_the_tasks_have_the_published_form() -> None:
    document = json.loads((EVALS / "evals.json").read_text(encoding="utf-8"))
    assert document["skill_name"] == "async-sqlalchemy-patterns"
    assert len(TASKS) >= 12
    assert {task["name"] for task in TASKS} == checkers.TASKS.keys() == runner.SOLUTIONS.keys()
    for task in TASKS:
        assert task.keys() == {"id", "name", "prompt", "expected_output", "files", "assertions"}
        assert task["assertions"]
        assert all((EVALS.parent / name).is_dir() for name in task["files"])
        assert "skill" not in task["prompt"], "it would help one of the two arms"


def test_the_queries_are_half_near_misses() -> None:
    queries = json.loads((EVALS / "triggers.json").read_text(encoding="utf-8"))
    assert len({one["query"] for one in queries}) == len(queries) >= 20
    assert all(one.keys() == {"query", "should_trigger"} for one in queries)
    assert sum(one["should_trigger"] for one in queries) * 2 == len(queries)
    near = ("SQL", "ORM", "migration", "FastAPI", "async", "PgBouncer", "deadlock", "Prisma")
    for one in queries:
        assert any(word.lower() in one["query"].lower() for word in near) or one["should_trigger"]


AGENT = """
import pathlib, sys
assert pathlib.Path("app/main.py").exists()
print("skill" if pathlib.Path(".claude/skills").exists() else "none", sys.argv[-1][:11])
if "right" in sys.argv:
    sys.path.insert(0, sys.argv[1])
    import solutions
    solutions.apply(solutions.SOLUTIONS["no-hash-in-answers"]["good"], pathlib.Path())
"""


@pytest.mark.parametrize("with_skill", [True, False])
def test_the_runner_gives_an_agent_the_project_and_judges_what_it_leaves(
    with_skill: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "agent.py"
    program.write_text(AGENT)
    (task,) = (one for one in TASKS if one["name"] == "no-hash-in-answers")
    answer = "right" if with_skill else "wrong"
    command = f'"{sys.executable}" "{program}" "{EVALS}" {answer}'
    seen = runner.attempt(task, command, with_skill, 600)
    assert bool(seen) is not with_skill, seen
    said = capfd.readouterr().out
    assert said == f"{'skill' if with_skill else 'none'} {task['prompt'][:11]}\n"
