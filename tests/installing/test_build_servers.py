"""What build servers and pre-commit read of this repository: the workflow, and the hook."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from projects import warm
from projects.shop import ADDRESS, Shop

pytestmark = pytest.mark.any_sqlalchemy

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PRE_COMMIT = [sys.executable, "-m", "pre_commit"]


def run(*command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def jobs() -> dict[str, dict[str, Any]]:
    return {
        name: job
        for path in WORKFLOWS
        for name, job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items()
    }


def commands() -> list[str]:
    return [step["run"] for job in jobs().values() for step in job["steps"] if "run" in step]


def test_the_workflow_runs_what_ci_runs() -> None:
    assert "bash .ci/run" in commands()
    assert "make check" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_each_command_of_the_workflow_is_one(command: str) -> None:
    program, *words = command.split()
    if program == "bash":
        assert run("bash", "-n", *words, cwd=ROOT).returncode == 0
        return
    assert program == "make"
    # -n: what would be done; a target that is not there fails.
    shown = run("bash", "-c", f"make -n PYTHON=python3 {' '.join(words)}", cwd=ROOT)
    assert shown.returncode == 0, shown.stderr
    given = re.search(r'PYTEST_ARGS="(.*)"', command)
    if given:
        ended = run(warm.python(), "-m", "pytest", "--co", "-q", *given[1].split(), cwd=ROOT)
        assert ended.returncode == 0, ended.stdout


def test_the_workflow_has_no_secret_and_few_rights() -> None:
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
        assert "secrets." not in text
        assert "pull_request_target" not in text
        assert not re.search(r"\$\{\{ *github\.event", text), "others write that"


def test_the_pythons_of_the_workflow_are_those_that_are_supported() -> None:
    wanted = jobs()["python"]["strategy"]["matrix"]["python"]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lowest = re.search(r'requires-python = ">=3\.(\d+)"', text)
    assert lowest
    assert wanted == [f"3.{minor}" for minor in range(int(lowest[1]), int(lowest[1]) + 4)]


def test_the_variables_of_the_workflow_are_those_that_the_tests_read() -> None:
    named = {name for job in jobs().values() for name in job.get("env", {})}
    servers = "".join(path.read_text() for path in (ROOT / "tests" / "servers").glob("*.py"))
    assert named == {"TEST_POSTGRES_URL", "TEST_MYSQL_URL"}
    assert all(f'"{name}"' in servers for name in named)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What a hook needs of ours, in a repository of its own: the commit is not made here."""
    folder = tmp_path / "hooks of others"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("scripts", "templates"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", folder)
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "--all"], [*who, "commit", "-qm", "all"]):
        ended = run("git", *words, cwd=folder)
        assert ended.returncode == 0, ended.stderr


def test_the_manifest_of_hooks_is_valid(tmp_path: Path) -> None:
    manifest = str(ROOT / ".pre-commit-hooks.yaml")
    ended = run(*PRE_COMMIT, "validate-manifest", manifest, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout


def test_the_hook_stops_a_commit_whose_models_have_no_migration(
    repository: Path, tmp_path: Path
) -> None:
    shop = Shop(tmp_path / "a shop")
    shop.add_first(named=True)
    commit(shop.root)
    attempt = [*PRE_COMMIT, "try-repo", str(repository), "migrations-agree", "--all-files"]
    variables = {
        **warm.environment(),
        "DATABASE_URL": ADDRESS["sqlite"],
        "PRE_COMMIT_HOME": str(tmp_path / "home"),
    }
    good = run(*attempt, cwd=shop.root, **variables)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "Passed" in good.stdout

    shop.edit("app/models.py", "String(20)", "String(21)")
    bad = run(*attempt, cwd=shop.root, **variables)
    assert bad.returncode == 1
    assert "exit code: 15" in bad.stdout
