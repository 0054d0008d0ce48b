"""Which files belong to a project: everything but what others put there."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.project.errors import ambiguous

MAX_PYTHON_FILES = 4000

_SKIPPED = {
    "__pycache__",
    "node_modules",
    "bower_components",
    "site-packages",
    "venv",
    "virtualenv",
    "build",
    "dist",
    "test",
    "tests",
    "htmlcov",
}
_COPIED = {
    "third_party",
    "thirdparty",
    "third-party",
    "3rdparty",
    "_vendor",
    "_vendored",
    "vendored",
}
"""Where other people's libraries are copied to."""


@dataclass(frozen=True)
class Files:
    """The files of a folder that can matter, sorted by path."""

    python: tuple[Path, ...]
    configuration: tuple[Path, ...]
    """`*.ini` and `pyproject.toml`."""
    passed_over: tuple[Path, ...] = ()
    """Folders that this user may not look into, such as a database server's data."""


def list_files(directory: Path) -> Files:
    """List source and configuration below `directory`.

    Left out: hidden folders (virtual environments and installed skills among
    them), copied libraries, tests, migration versions, build output, and any folder that is a
    skill of its own. Raises ProjectError when there are too many Python files
    for this to be one service.
    """
    python: list[Path] = []
    configuration: list[Path] = []
    closed: list[Path] = []
    for path in _walk(directory, closed):
        if path.suffix == ".py" and not _is_test(path.name):
            python.append(path)
            if len(python) > MAX_PYTHON_FILES:
                raise ambiguous(
                    "too-many-files",
                    f"more than {MAX_PYTHON_FILES} Python files in one folder",
                    [str(directory)],
                    "--project DIR (the folder of one service)",
                )
        elif path.suffix == ".ini" or path.name == "pyproject.toml":
            configuration.append(path)
    return Files(tuple(sorted(python)), tuple(sorted(configuration)), tuple(sorted(closed)))


def _walk(directory: Path, closed: list[Path]) -> Iterator[Path]:
    """Files, links among them unless they lead nowhere; folders to pass over go to `closed`."""
    for folder, folders, files in os.walk(directory):
        here = Path(folder)
        wanted = [name for name in folders if not _is_skipped(name)]
        closed += [here / name for name in wanted if not _may_enter(here / name)]
        folders[:] = [
            name for name in wanted if _may_enter(here / name) and not _is_foreign(here / name)
        ]
        yield from (here / name for name in files if _leads_somewhere(here / name))


def _may_enter(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK)


def _leads_somewhere(path: Path) -> bool:
    """Not a link to nothing; one to where this user may not look is no such link."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _is_skipped(name: str) -> bool:
    return (
        name.startswith(".")
        or name in _SKIPPED
        or name in _COPIED
        or name.endswith((".egg-info", ".dist-info"))
        or "{{" in name  # what cookiecutter fills in: a template for a project, and none
    )


def _is_foreign(folder: Path) -> bool:
    return (
        (folder / "pyvenv.cfg").exists()
        or (folder / "conda-meta").is_dir()
        or (folder / "SKILL.md").exists()
        or (folder.name == "vendor" and _holds_copies(folder))
        or (folder.name == "versions" and (folder.parent / "env.py").exists())
    )


def _holds_copies(folder: Path) -> bool:
    """Packages side by side, as `pip install --target vendor` leaves them; `app/vendor/models.py`
    is about those who sell something."""
    return not any(path.suffix == ".py" for path in folder.iterdir())


def _is_test(name: str) -> bool:
    return name == "conftest.py" or name.startswith("test_") or name.endswith("_test.py")
