"""Where the project is: its root, its import root, its package manager."""

import os
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.files.reading import Unreadable, source_of, text_of
from toolkit.project.errors import no_project
from toolkit.project.facts import PackageManager
from toolkit.project.homes import choose_home, is_set_up, makers
from toolkit.project.walk import Files, list_files

_is_file = os.path.isfile
_FASTAPI = re.compile(r"^\s*(?:from|import)\s+fastapi\b", re.MULTILINE)
_SETUPTOOLS = re.compile(r"\b(?:setuptools|distutils|skbuild)\b")
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
    here: Path
    """The folder that was looked into, which may lie in the project or around it."""
    choices: tuple[str, ...] = ()
    """What was taken where there were others, and why: a line each."""
    other_roots: tuple[Path, ...] = ()
    """More folders like the import root: of the packages of a workspace that import each other."""


def locate(directory: Path) -> Location:
    """Find the one FastAPI project in (or around) `directory`.

    A folder with an Alembic set-up of its own is a project, too: what Alembic works with, we
    do. Raises ProjectError when there is none, or several.
    """
    directory = directory.resolve()
    if not directory.is_dir():
        raise no_project(directory)
    top = list_files(directory)
    texts = {path: read_text(path) for path in top.python}
    users = [path for path, text in texts.items() if _FASTAPI.search(text)]
    configuration = {path: read_text(path) for path in top.configuration}
    set_up = any(
        path.parent == directory and is_set_up(path, text) for path, text in configuration.items()
    )
    if not users and not set_up:
        raise no_project(directory)
    makes = makers(texts, users)
    homes = {_nearest(path.parent, directory) for path in makes}
    named = {home for home in homes if home is not None}
    root, why = directory, None
    if set_up or directory in homes or not named:
        # What is deeper may be an example, or a plug-in.
        root = _home_or_above(directory)
    else:
        root, why = choose_home(directory, homes, texts, configuration)
    files = top if root == directory else list_files(root)
    inside = {path: texts.get(path) or read_text(path) for path in files.python}
    if root != directory and makes:
        inside = _of_one_service(directory, root, inside)
        files = replace(files, python=tuple(sorted(inside)))
    import_root = _import_root(root, inside, [path for path in users if path in inside] or inside)
    return Location(
        root=root,
        import_root=import_root,
        package_manager=package_manager(root, directory),
        dependency_file=dependency_file(root),
        files=files,
        here=directory,
        choices=(why,) if why else (),
        other_roots=_other_roots(import_root, inside),
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
    names += ["setup.cfg"]
    found = next((root / name for name in names if (root / name).is_file()), None)
    # An application may have a module of that name (#12).
    script = root / "setup.py"
    return found or (script if _SETUPTOOLS.search(read_text(script)) else None)


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


def _of_one_service(directory: Path, root: Path, texts: dict[Path, str]) -> dict[Path, str]:
    """What is in `directory` and what that imports, where applications elsewhere have a
    repository in common with the one there (#12); else everything.
    """
    users = [path for path, text in texts.items() if _FASTAPI.search(text)]
    own = {path for path in texts if directory in path.parents}
    making = set(makers(texts, users))
    if making <= own or not making & own:
        return texts
    import_root = _import_root(root, texts, users)
    waiting, kept = list(own), set(own)
    while waiting:
        for module, name in _imported(texts[waiting.pop()]):
            path = import_root.joinpath(*module.split("."))
            files = [path.with_suffix(".py"), path / "__init__.py", path / f"{name}.py"]
            found = {file for file in files if file in texts} - kept
            kept |= found
            waiting += found
    return {path: text for path, text in texts.items() if path in kept}


def _home_or_above(directory: Path) -> Path:
    """The nearest folder from `directory` upwards, in its repository, that lists dependencies."""
    for folder in (directory, *directory.parents):
        if _declares_dependencies(folder):
            return folder
        if (folder / ".git").exists():
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


def _import_root(root: Path, texts: dict[Path, str], users: Collection[Path]) -> Path:
    """The folder under which most of the project's absolute imports resolve.

    Asking the imports themselves settles every layout at once; a project that
    imports nothing of its own falls back on where its packages begin.
    """
    imported = Counter(pair for text in texts.values() for pair in _imported(text))
    candidates = {root, root / "src"}
    for path in users:
        candidates.update(p for p in path.parents if p == root or root in p.parents)
    scores = {folder: _resolved(folder, imported) for folder in candidates if folder.is_dir()}
    best = max(scores.values())
    if best or not users:
        return min((p for p, s in scores.items() if s == best), key=lambda p: len(p.parts))
    return _package_start(root, min(users, key=lambda p: (len(p.parts), p)))


def _other_roots(import_root: Path, texts: dict[Path, str]) -> tuple[Path, ...]:
    """Where packages begin that are imported and are not below the import root (#12)."""
    packages: dict[str, set[Path]] = {}
    for path in texts:
        package = path.parent
        top = path.name == "__init__.py" and package.parent / "__init__.py" not in texts
        if top and import_root not in package.parents:
            packages.setdefault(package.name, set()).add(package.parent)
    if not packages:
        return ()
    modules = {module for text in texts.values() for module, _ in _imported(text)}
    imported = {module.partition(".")[0] for module in modules}
    places = {
        folder
        for name, folders in packages.items()
        if name in imported and len(folders) == 1 and not _resolves(import_root, name, None)
        for folder in folders
    }
    return tuple(
        sorted(
            folder
            for folder in places
            if folder.name == "src" or _declares_dependencies(folder) or str(folder) in sys.path
        )
    )


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


def _resolved(folder: Path, imported: Counter[tuple[str, str | None]]) -> int:
    """How many of the imports are there. Of most, the first name is not (#12)."""
    try:
        there = {path.name.partition(".")[0] for path in folder.iterdir()}
    except OSError:
        return 0
    return sum(
        times
        for (module, name), times in imported.items()
        if module.partition(".")[0] in there and _resolves(folder, module, name)
    )


def _resolves(folder: Path, module: str, name: str | None) -> bool:
    path = os.path.join(folder, *module.split("."))  # noqa: PTH118  (thousands of them)
    return (
        _is_file(f"{path}.py")
        or _is_file(f"{path}/__init__.py")
        or (name is not None and _is_file(f"{path}/{name}.py"))
    )
