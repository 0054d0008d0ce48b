"""The worker's action `trace`: a command as given, each statement of it looked at.

Loaded by path into the process that runs the project's code, like the guard.
"""

# ruff: noqa: ANN401  (the worker is a module that has no name here)

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

# Not `trace`, which the standard library has; nor a name that a project could have.
PACKAGE = "_migration_trace"
READERS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite"}


def load(name: str) -> ModuleType:
    """A module of the folder `trace`, which is on no path here."""
    if PACKAGE not in sys.modules:
        folder = Path(__file__).with_name("trace")
        spec = importlib.util.spec_from_file_location(
            PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[PACKAGE] = package
        spec.loader.exec_module(package)
    return importlib.import_module(f"{PACKAGE}.{name}")


def reader_for(url: str, guard: ModuleType) -> tuple[str, ModuleType]:
    """The dialect's name, and the module that asks its database."""
    family: str = guard.FAMILY[url.partition("+")[0].partition(":")[0]]
    load("recorder")
    return family, load(READERS[family])


def run(
    config: Any, request: dict[str, Any], report: dict[str, Any], guard: ModuleType, worker: Any
) -> None:
    """Run the command under a recorder; `report["trace"]` is there also when it fails."""
    family, reader = reader_for(request["scratch"], guard)
    recorder = load("recorder").Recorder(
        reader.make_reader, worker["describe_operation"], family, request.get("only")
    )
    report["trace"] = recorder.trace
    recorder.install()
    worker["run_command"](config, request, report, guard)
