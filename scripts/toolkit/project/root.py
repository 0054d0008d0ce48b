"""Where the project is: its root, its import root, its package manager."""

import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.files.reading import Unreadable, source_of, text_of
from toolkit.project.errors import ambiguous, no_project
from toolkit.project.facts import PackageManager
from toolkit.project.walk import Files, list_files

_FASTAPI = re.compile(r"^\s*(?:from|import)\s+fastapi\b", re.MULTILINE)
_IMPORT = re.compile(
    r"^\s*(?:from\s+([A-Za-z_][\w.]*)\s+import\s+(\w+)|import\s+([A-Za-z_][\w.]*))", re.M
)


@dataclass(frozen=True)
class Location:
    """Where a project is and what it may consist of."""

    root: Path
    import_root: Path
    package_manager: PackageManager
    dependency_file: Path | None
    files: Files


def locate(directory: Path) -> Location:
    """Find the one FastAPI project in (or around) `directory`.

    Raises ProjectError when there is none, or several.
    """
    directory = directory.resolve()
    if not directory.is_dir():
        raise no_project(directory)
    top = list_files(directory)
    texts = {path: read_text(path) for path in top.python}
    users = [path for path, text in texts.items() if _FASTAPI.search(text)]
    if not users:
        raise no_project(directory)
    root = _project_root(directory, users)
    files = top if root == directory else list_files(root)
    inside = {path: texts.get(path) or read_text(path) for path in files.python}
    return Location(
        root=root,
        import_root=_import_root(root, inside, [path for path in users if path in inside]),
        package_manager=package_manager(root, directory),
        dependency_file=dependency_file(root),
        files=files,
    )


def read_text(path: Path) -> str:
    """The text of a file; empty when it is none, or cannot be read.

    Where that may hide a table, `read_project` stops; see `files.reading`.
    """
    if path.suffix != ".py":
        return text_of(path)
    try:
        return source_of(path)
    except (OSError, Unreadable):
        return ""


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict; empty when it is missing or broken."""
    try:
        return tomllib.loads(text_of(path))
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def remembered_servers(root: Path) -> tuple[str, ...]:
    """Servers that pyproject.toml allows proofs on: one name, or a list of names."""
    tools = read_toml(root / "pyproject.toml").get("tool", {})
    own = tools.get("async-sqlalchemy-patterns") if isinstance(tools, dict) else None
    found = own.get("scratch-on", []) if isinstance(own, dict) else []
    names = [found] if isinstance(found, str) else found
    return tuple(str(name) for name in names)


def dependency_file(root: Path) -> Path | None:
    """The file where a new dependency has to be written, None if there is none."""
    if _declares_project(root / "pyproject.toml"):
        return root / "pyproject.toml"
    names = ["Pipfile", "requirements.txt", "requirements/base.txt", "requirements/prod.txt"]
    names += sorted(path.name for path in root.glob("requirements*.txt"))
    names += ["setup.cfg", "setup.py"]
    return next((root / name for name in names if (root / name).is_file()), None)


def package_manager(root: Path, top: Path) -> PackageManager:
    """Who installs the dependencies; a workspace keeps its lock file further up."""
    tool = read_toml(root / "pyproject.toml").get("tool", {})
    locks: list[tuple[str, PackageManager]] = [
        ("uv.lock", "uv"),
        ("poetry.lock", "poetry"),
        ("pdm.lock", "pdm"),
        ("Pipfile.lock", "pipenv"),
        ("Pipfile", "pipenv"),
    ]
    for folder in [root, *_between(root, top)]:
        for name, manager in locks:
            if (folder / name).is_file():
                return manager
    named: list[PackageManager] = ["uv", "poetry", "pdm"]
    return next((manager for manager in named if manager in tool), "pip")


def _between(root: Path, top: Path) -> list[Path]:
    """The parents of `root` up to `top`; none when `top` lies below `root`."""
    return [p for p in root.parents if p == top or top in p.parents]


def _project_root(directory: Path, users: Iterable[Path]) -> Path:
    homes = {_nearest(path.parent, directory) for path in users}
    if directory in homes:
        return directory
    found = sorted(home for home in homes if home is not None)
    if len(found) > 1:
        names = [str(path.relative_to(directory)) for path in found]
        raise ambiguous(
            "several-projects", f"several FastAPI projects in {directory}", names, "--project DIR"
        )
    if found:
        return found[0]
    for parent in directory.parents:
        if _declares_dependencies(parent):
            return parent
        if (parent / ".git").exists():
            break
    return directory


def _nearest(folder: Path, top: Path) -> Path | None:
    """The closest folder from `folder` up to `top` that lists dependencies."""
    chain = [folder, *_between(folder, top)]
    strong = next((path for path in chain if _declares_dependencies(path)), None)
    return strong or next((path for path in chain if (path / "pyproject.toml").is_file()), None)


def _declares_dependencies(folder: Path) -> bool:
    return (folder / "uv.lock").is_file() or dependency_file(folder) is not None


def _declares_project(pyproject: Path) -> bool:
    content = read_toml(pyproject)
    tool = content.get("tool", {})
    return "project" in content or "poetry" in tool or "pdm" in tool


def _import_root(root: Path, texts: dict[Path, str], users: list[Path]) -> Path:
    """The folder under which most of the project's absolute imports resolve.

    Asking the imports themselves settles every layout at once; a project that
    imports nothing of its own falls back on where its packages begin.
    """
    names = [_imported(text) for text in texts.values()]
    imported = [pair for found in names for pair in found]
    candidates = {root, root / "src"}
    for path in users:
        candidates.update(p for p in path.parents if p == root or root in p.parents)
    scores = {
        folder: sum(_resolves(folder, module, name) for module, name in imported)
        for folder in candidates
        if folder.is_dir()
    }
    best = max(scores.values())
    if best:
        return min((p for p, s in scores.items() if s == best), key=lambda p: len(p.parts))
    return _package_start(root, min(users, key=lambda p: (len(p.parts), p)))


def _package_start(root: Path, file: Path) -> Path:
    folder = file.parent
    while folder != root and (folder / "__init__.py").exists():
        folder = folder.parent
    if folder != root and folder.name != "src" and folder.parent in (root, root / "src"):
        # `app/main.py` without `__init__.py` is run as `app.main:app`.
        folder = folder.parent
    return folder


def _imported(text: str) -> set[tuple[str, str | None]]:
    found = {(m[1] or m[3], m[2] or None) for m in _IMPORT.finditer(text)}
    return {pair for pair in found if pair[0].split(".")[0] not in sys.stdlib_module_names}


def _resolves(folder: Path, module: str, name: str | None) -> bool:
    path = folder.joinpath(*module.split("."))
    return (
        path.with_suffix(".py").is_file()
        or (path / "__init__.py").is_file()
        or (name is not None and (path / f"{name}.py").is_file())
    )
