"""Which project modules get imported when some are? Read from the source, run nothing."""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from toolkit.project.facts import AlembicSetup, MappedClass, Project
from toolkit.project.imports import parse
from toolkit.project.root import read_text

_RULE = re.compile(r"\b(?:import_module|walk_packages|iter_modules|__import__|find_modules)\b")


def unimported_models(project: Project, setup: AlembicSetup) -> tuple[MappedClass, ...]:
    """Mapped classes that env.py certainly does not import, so whose tables it would drop; not
    those that share the table of one that it imports.

    Empty where any module that it does import may import others by a rule of its own.
    """
    text = read_text(setup.env)
    reached = _reached(text, project, setup)
    if reaches_by_rule(text, project, reached):
        return ()
    kept = {item.table for item in project.models if item.module in reached} - {None}
    left_out = (item for item in project.models if item.module not in reached)
    return tuple(item for item in left_out if item.table not in kept)


def missing_modules(
    text: str, project: Project, needed: Sequence[str], setup: AlembicSetup | None
) -> tuple[list[str], bool]:
    """Modules with models that neither env.py (its `text`) nor what it imports imports; and
    whether any of these may import them by a rule of its own.
    """
    reached = _reached(text, project, setup)
    missing = [name for name in needed if name not in reached]
    return missing, bool(missing) and reaches_by_rule(text, project, reached)


def reaches_by_rule(text: str, project: Project, reached: Iterable[str]) -> bool:
    """Does env.py, or a module that it imports, import others by a rule of its own?"""
    files = [module_file(project.import_roots, name) for name in reached]
    return any(map(imports_by_rule, [text, *(read_text(one) for one in files if one)]))


def _reached(text: str, project: Project, setup: AlembicSetup | None) -> set[str]:
    start = list(setup.imported_modules) if setup is not None else []
    if project.base is not None and project.base.path is not None and project.base.module in text:
        start.append(project.base.module)
    return reachable(project.import_roots, start)


def imports_by_rule(text: str) -> bool:
    """Does this source import modules whose names it does not spell out?"""
    return _RULE.search(text) is not None


def reachable(import_roots: Sequence[Path], start: Iterable[str]) -> set[str]:
    """Every module of the project that importing `start` imports, `start` included."""
    seen: set[str] = set()
    asked: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name in asked:
            continue
        asked.add(name)
        file = module_file(import_roots, name)
        if file is None:
            continue
        seen.add(name)
        parent = name.rpartition(".")[0]
        if parent:
            waiting.append(parent)
        waiting.extend(imported_names(file, name))
    return seen


def module_file(import_roots: Sequence[Path], name: str) -> Path | None:
    """The file (or, for a package without `__init__.py`, the folder) of a module."""
    paths = [root.joinpath(*name.split(".")) for root in import_roots]
    for path in paths:
        for candidate in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if candidate.is_file():
                return candidate
    return next((path for path in paths if path.is_dir()), None)


def imported_names(file: Path, name: str) -> Iterator[str]:
    """Names that could be modules in the import statements that run when `file` does."""
    if file.is_dir():
        return
    try:
        tree = parse(file, name).tree
    except (SyntaxError, OSError):
        return
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for statement in _executed(tree.body):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            parts = package.split(".") if statement.level else []
            kept = parts[: len(parts) - statement.level + 1] if statement.level else parts
            base = ".".join([*kept, statement.module] if statement.module else kept)
            yield base
            yield from (f"{base}.{alias.name}" for alias in statement.names)


def _executed(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run at import: in blocks too, but not under TYPE_CHECKING."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test):
            yield from _executed(statement.orelse)
        elif isinstance(statement, ast.If | ast.For | ast.While | ast.Try | ast.With):
            for field in ("body", "orelse", "finalbody"):
                yield from _executed(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from _executed(handler.body)
        elif isinstance(statement, ast.ClassDef):
            yield from _executed(statement.body)
