"""The bash entry points: from anywhere, with any interpreter the project has."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import run_toolkit
from projects import warm
from projects.layouts import Layout
from projects.setup_door import SCRIPTS
from toolkit.report import interrupt
from toolkit.report.exits import Exit
from toolkit.setup import command

pytestmark = pytest.mark.any_sqlalchemy

DOORS = [
    "setup-alembic.sh",
    "generate-migration.sh",
    "test-connection.sh",
    "optimize-queries.sh",
]
BASH = shutil.which("bash") or "/bin/bash"
Factory = Callable[[str], Layout]


def run(
    *command: str | Path, cwd: Path, path: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path or os.environ["PATH"], "HOME": "/nonexistent", **variables}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def warm_environment() -> str:
    """A virtualenv for what is not about starting: the tests below start a cold one."""
    return warm.environment()["VIRTUAL_ENV"]


def fake_python(place: Path, version: str = "3.12.1") -> Path:
    """An interpreter that says its version, and then which arguments it was given."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = -I ] || exit 9; shift; if [ "$1" = -c ]; then echo {version}; exit; fi\n'
        'if [ "$1" = -B ]; then shift; fi\n'
        'echo "ran $0"; for word in "$@"; do echo "[$word]"; done\n'
    )
    place.chmod(0o755)
    return place


@pytest.mark.parametrize("door", DOORS)
def test_help_lists_the_exit_codes(door: str, tmp_path: Path) -> None:
    ended = run(BASH, SCRIPTS / door, "--help", cwd=tmp_path, VIRTUAL_ENV=warm_environment())
    assert ended.returncode == 0
    for code in Exit:
        assert f"{code.value:>3}  {code.meaning}" in ended.stdout
    assert "using" in ended.stderr


@pytest.mark.parametrize("door", DOORS)
def test_bad_usage_is_2_and_one_usage_line(door: str, tmp_path: Path) -> None:
    ended = run(BASH, SCRIPTS / door, "--wrong", cwd=tmp_path, VIRTUAL_ENV=warm_environment())
    assert ended.returncode == Exit.USAGE
    assert "usage: " + door in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("door", DOORS)
def test_seed_49_it_needs_no_run_bit_and_works_from_a_path_with_spaces(
    door: str, tmp_path: Path
) -> None:
    skill = tmp_path / "my skills" / "a skill"
    shutil.copytree(SCRIPTS, skill / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(SCRIPTS.parent / "templates", skill / "templates")
    for path in (skill / "scripts").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    here = tmp_path / "my project"
    here.mkdir()
    before = files(skill)
    # Relative path, CDPATH set: the two things that make `cd` print or go elsewhere.
    ended = run(
        BASH,
        Path("..", "my skills", "a skill", "scripts", door),
        "--help",
        cwd=here,
        VIRTUAL_ENV=sys.prefix,
        CDPATH="/tmp:/",
    )
    assert ended.returncode == 0, ended.stderr
    assert files(skill) == before


def files(skill: Path) -> list[Path]:
    """All but the compiled ones: without those, each run would compile the toolkit again."""
    return sorted(path for path in skill.rglob("*") if "__pycache__" not in path.parts)


def test_the_run_bit_works_too(tmp_path: Path) -> None:
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    shutil.copytree(SCRIPTS.parent / "templates", tmp_path / "templates")
    door = tmp_path / "scripts" / "setup-alembic.sh"
    door.chmod(0o755)
    assert run(door, "--help", cwd=tmp_path, VIRTUAL_ENV=sys.prefix).returncode == 0


def test_the_active_virtualenv_wins(tmp_path: Path) -> None:
    active = fake_python(tmp_path / "active" / "bin" / "python")
    fake_python(tmp_path / "p" / ".venv" / "bin" / "python")
    ended = run(BASH, SCRIPTS / DOORS[0], cwd=tmp_path / "p", VIRTUAL_ENV=str(tmp_path / "active"))
    assert ended.stdout.splitlines()[0] == f"ran {active}"
    assert f"using {active} (Python 3.12.1, the active virtualenv)" in ended.stderr


@pytest.mark.parametrize("name", [".venv", "venv"])
def test_then_the_projects_own_also_from_below_and_by_project(name: str, tmp_path: Path) -> None:
    own = fake_python(tmp_path / "a project" / name / "bin" / "python")
    below = tmp_path / "a project" / "src" / "deep"
    below.mkdir(parents=True)
    for cwd, arguments in (
        (tmp_path / "a project", []),
        (below, []),
        (tmp_path, ["--project", "a project"]),
        (tmp_path, ["--project=a project", "--dry-run"]),
    ):
        ended = run(BASH, SCRIPTS / DOORS[0], *arguments, cwd=cwd)
        assert ended.stdout.splitlines()[0] == f"ran {own}", (cwd, ended.stderr)
        given = [f"[{word}]" for word in ["setup", *arguments]]
        assert ended.stdout.splitlines()[2:] == given


def test_then_the_one_of_the_package_manager(tmp_path: Path) -> None:
    """uv is not started, since that makes and fills an environment; poetry only says where."""
    python = fake_python(tmp_path / "managed" / "bin" / "python")
    calls = tmp_path / "calls"
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("uv", "poetry"):
        (tools / tool).write_text(
            f'#!/bin/sh\necho {tool} "$@" >> {calls}\necho {python.parents[1]}\n'
        )
        (tools / tool).chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    for tool in ("uv", "poetry"):
        project = tmp_path / tool
        project.mkdir()
        assert "managed" not in run(BASH, SCRIPTS / DOORS[0], cwd=project, path=path).stderr
        (project / f"{tool}.lock").write_text("")
        more = {"UV_PROJECT_ENVIRONMENT": "../managed"} if tool == "uv" else {}
        ended = run(BASH, SCRIPTS / DOORS[0], cwd=project, path=path, **more)
        assert f"managed/bin/python (Python 3.12.1, {tool}'s environment)" in ended.stderr
    assert calls.read_text() == "poetry --no-plugins --no-interaction env info --path\n"


def test_a_virtualenv_without_python_is_said_and_passed_over(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    own = fake_python(tmp_path / ".venv" / "bin" / "python")
    ended = run(BASH, SCRIPTS / DOORS[0], cwd=tmp_path, VIRTUAL_ENV=str(tmp_path / "gone"))
    assert ended.stdout.splitlines()[0] == f"ran {own}"
    assert "has no python" in ended.stderr


def test_a_virtualenv_above_the_repository_is_of_something_else(tmp_path: Path) -> None:
    fake_python(tmp_path / ".venv" / "bin" / "python")
    on_path = fake_python(tmp_path / "bin" / "python3")
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    path = f"{on_path.parent}:{os.environ['PATH']}"
    ended = run(BASH, SCRIPTS / DOORS[0], cwd=tmp_path / "repository", path=path)
    assert ended.stdout.splitlines()[0] == f"ran {on_path}"


@pytest.mark.parametrize("version", ["2.7.18", "3.9.2", "3.10.13"])
def test_an_old_python_is_refused(version: str, tmp_path: Path) -> None:
    fake_python(tmp_path / ".venv" / "bin" / "python", version)
    ended = run(BASH, SCRIPTS / DOORS[0], cwd=tmp_path)
    assert ended.returncode == Exit.MISSING_DEPENDENCY
    assert f"Python {version}; 3.11 or newer is needed" in ended.stderr
    assert ended.stdout == ""


def test_a_python_of_windows_is_refused_in_one_line(tmp_path: Path) -> None:
    """From Git Bash: it has no forks and no owners of files, which the proofs need."""
    fake_python(tmp_path / ".venv" / "bin" / "python", "3.12.1 nt")
    ended = run(BASH, SCRIPTS / DOORS[0], cwd=tmp_path)
    assert ended.returncode == Exit.MISSING_DEPENDENCY
    assert "run this in WSL" in ended.stderr
    assert ended.stdout == ""


def test_no_python_at_all_is_one_clear_line(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("dirname", "basename"):
        (tools / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")
    ended = run(BASH, SCRIPTS / DOORS[0], cwd=tmp_path, path=str(tools))
    assert ended.returncode == Exit.MISSING_DEPENDENCY
    assert ended.stderr == (
        "setup-alembic: no Python found: activate the project's virtualenv, "
        "or install Python 3.11 or newer\n"
    )


def test_a_project_package_called_toolkit_is_not_confused_with_ours(
    project_factory: Factory,
) -> None:
    layout = project_factory("own_toolkit")
    ended = run(
        BASH,
        SCRIPTS / DOORS[0],
        "--dry-run",
        cwd=layout.directory,
        VIRTUAL_ENV=sys.prefix,
        PYTHONPATH=str(layout.directory),
        PYTHONSAFEPATH="1",
    )
    assert ended.returncode == 0, ended.stderr
    assert "toolkit.db.base:Base" in ended.stdout


@pytest.mark.any_sqlalchemy
def test_a_name_that_would_steer_the_terminal_is_written_out(tmp_path: Path) -> None:
    ended = run(BASH, SCRIPTS / DOORS[0], "--help", cwd=tmp_path, VIRTUAL_ENV="/no\x1b[31m\nvenv")
    assert "looking further" in ended.stderr
    assert "\x1b" not in ended.stderr
    assert "\\E[31m\\nvenv" in ended.stderr


def test_a_bug_is_told_without_a_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bug(_arguments: list[str]) -> int:
        raise LookupError("mysql+none://app:p@ss/w#rd@db.example/shop")

    monkeypatch.setattr(command, "main", bug)
    # Handlers of signals belong to the process, which is the test's here.
    monkeypatch.setattr(interrupt, "listen", lambda: None)
    assert run_toolkit.main(["setup"]) == Exit.INTERNAL
    told = capsys.readouterr().err
    assert "LookupError: mysql+none://app:***@db.example/shop" in told
    assert "please report it" in told
    assert "w#rd" not in told


def test_seed_44_the_environment_is_never_printed(project_factory: Factory) -> None:
    layout = project_factory("app")
    for content in ("", "# only a comment\n", "N=[\"qq zz\", 'c']\nIT=don't # so\r\nX=1\r\n"):
        (layout.root / ".env").write_text(content)
        ended = run(
            BASH,
            SCRIPTS / DOORS[0],
            "--dry-run",
            cwd=layout.root,
            VIRTUAL_ENV=warm_environment(),
            MY_SECRET="planted-value",
        )
        assert ended.returncode == 0, ended.stderr
        assert "planted-value" not in ended.stdout + ended.stderr
        assert "qq zz" not in ended.stdout + ended.stderr
