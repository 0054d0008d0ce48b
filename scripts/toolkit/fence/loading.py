"""How a program that runs a project's code comes by the fence. Loaded by its path.

Such a program must not find this toolkit on its path: a project may have a package of the
same name.
"""

import contextlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = "_alembic_scratch_fence"
"""A name that no project has."""


def load_fence(name: str) -> ModuleType:
    """A module of this folder."""
    if PACKAGE not in sys.modules:
        folder = Path(__file__).resolve().parent
        spec = importlib.util.spec_from_file_location(
            PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None and spec.loader is not None
        sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[PACKAGE])
    return importlib.import_module(f"{PACKAGE}.{name}")


def enter_to_import(request: dict[str, Any]) -> None:
    """Put the project on the path, and reach no database from here on.

    The interpreter was started without the project's folders. What it needs itself, and what
    any program with SQLAlchemy imports, is loaded before they are there: a project may have a
    `platform.py`.
    """
    with contextlib.suppress(ImportError):
        import sqlalchemy.ext.asyncio  # noqa: PLC0415
        import sqlalchemy.orm  # noqa: F401, PLC0415
    child = load_fence("child")
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = list(dict.fromkeys([request["import_root"], request["root"], *paths]))
    child.enter(request["fence"])
