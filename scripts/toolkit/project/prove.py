"""Import a project in a process of its own, and see which tables really exist.

Importing runs whatever the project does at import, so it happens under a time
limit, away from this process, and with its output thrown away.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.database.folders import own_folder
from toolkit.fence.environment import fenced
from toolkit.fence.process import run_worker
from toolkit.project.facts import Project
from toolkit.report.masking import mask, secrets_of

_WORKER = Path(__file__).with_name("import_worker.py")


@dataclass(frozen=True)
class ImportFailure:
    """A module that does not import. The message holds no secret."""

    module: str
    path: str | None
    """Innermost line of the project's own code; None when no such line is involved."""
    line: int
    type: str
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}: " if self.path else ""
        return f"{place}{self.type}: {self.message} (importing {self.module})"


@dataclass(frozen=True)
class ImportReport:
    """What importing showed."""

    tables: dict[str, tuple[str, ...]]
    """Metadata reference -> keys of its tables (`name` or `schema.name`)."""
    classes: dict[str, str | None]
    """`module:Class` of each mapped class -> full table name."""
    errors: tuple[ImportFailure, ...] = ()
    mapper_error: str | None = None
    """Why the relationships do not resolve, when everything was imported."""
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        return not self.errors and not self.timed_out and self.mapper_error is None


def import_models(
    project: Project,
    modules: Iterable[str],
    timeout: float = 20.0,
    environment: Mapping[str, str] | None = None,
) -> ImportReport:
    """Import `modules` of `project` under the running interpreter.

    `timeout` is in seconds; when it passes, the process and its children are
    killed. `environment` adds to this process's own. Failures are in the report;
    nothing is raised for them.
    """
    with own_folder() as folder:
        answer = folder / "answer.json"
        child = fenced(project.root, folder, environment or {})
        request = {
            "root": str(project.root),
            "import_root": str(project.import_root),
            "modules": list(modules),
            "metadata": [
                {"reference": source.reference, "module": source.module, "name": source.name}
                for source in project.metadata
            ],
            "answer": str(answer),
            "fence": child.order,
        }
        code, _ = run_worker(_WORKER, request, child.environment, project.root, timeout)
        if code is None:
            return _broken("Timeout", f"importing took longer than {timeout:g} s", timed_out=True)
        try:
            content = json.loads(answer.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            return _broken("ProcessExit", f"the importing process ended with code {code}")
    return _report(content)


def _report(content: dict[str, Any]) -> ImportReport:
    return ImportReport(
        tables={name: tuple(tables) for name, tables in content["tables"].items()},
        classes=content["classes"],
        errors=tuple(
            ImportFailure(**{**error, "message": hidden(error["message"])})
            for error in content["errors"]
        ),
        mapper_error=content["mapper_error"] and hidden(content["mapper_error"]),
    )


def hidden(text: str) -> str:
    """Without the passwords of this environment: that process was not told them."""
    return mask(text, secrets_of(os.environ))


def _broken(kind: str, message: str, *, timed_out: bool = False) -> ImportReport:
    failure = ImportFailure("(all)", None, 0, kind, message)
    return ImportReport({}, {}, (failure,), timed_out=timed_out)
