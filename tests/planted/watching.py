"""The planted application, watched by optimize-queries.sh: the runs that several tests read."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planted import judging
from projects import warm
from projects.once import once
from toolkit.report.exits import Exit

DOOR = warm.SCRIPTS / "optimize-queries.sh"
Make = Callable[[str], str]
Findings = dict[str, list[dict[str, Any]]]


def runs(tmp_path_factory: pytest.TempPathFactory, make_database: Make) -> Findings:
    """The findings on its own test-suite, and on requests with each database, made once."""

    def make(folder: Path) -> None:
        project = judging.copy_without_tags(folder / "forum")
        found = {"suite": findings(project, "--run", "python -m pytest -q")}
        for dialect in ("sqlite", "postgresql"):
            url = make_database(dialect)
            fill(project, url)
            replay = ("--app", "app.main:app", "--requests", "requests.txt")
            found[dialect] = findings(
                project, *replay, "--url-env", "DATABASE_URL", DATABASE_URL=url
            )
        (folder / "runs.json").write_text(json.dumps(found))

    read: Findings = json.loads((once(tmp_path_factory, "forum", make) / "runs.json").read_text())
    return read


def variables(**more: str) -> dict[str, str]:
    """An environment with this interpreter first, and no database but the given one."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return {**environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **more}


def fill(project: Path, url: str, size: str = "medium") -> None:
    """Data with which a missing index is felt."""
    ended = warm.completed(
        *("-m", "app.seed", size), cwd=project, environment=variables(DATABASE_URL=url)
    )
    assert ended.returncode == 0, ended.stderr


def findings(project: Path, *arguments: str, **environment: str) -> list[dict[str, Any]]:
    ended = warm.door(
        DOOR,
        *("--project", str(project), *arguments, "--json"),
        cwd=project,
        environment=variables(**environment),
    )
    assert ended.returncode == Exit.FINDINGS, ended.stderr
    return list(json.loads(ended.stdout)["findings"])
