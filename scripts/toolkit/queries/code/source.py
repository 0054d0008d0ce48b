"""The application's source, parsed, and which of it serves requests."""

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from toolkit.project.facts import Project
from toolkit.project.imports import (
    FunctionNode,
    Module,
    Resolver,
    children_of,
    dotted,
    module_name,
    read,
)
from toolkit.project.metadata import MetadataIndex
from toolkit.project.reach import reachable

# A person or a clock starts these: one statement for each item is how they work.
_APART = re.compile(
    r"(?i)(^|/)(alembic|migrations?|scripts?|tools?|cli|commands?|management|bench(marks?)?|"
    r"examples?|docs?|seeds?|seeders?|fixtures|factories|load_?tests?|tests?_?data)/"
    r"|(^|/)(manage|cli|seed\w*|\w+_seed(er)?|initial_data|init_data|prestart|populate\w*|"
    r"backfill\w*|create_(admin|superuser|first_\w+)|locustfile|noxfile|tasks)\.py$"
)
_BACKGROUND = re.compile(r"(?i)(^|/)(tasks?|workers?|jobs?|crons?|schedul\w+|consumers?)(/|\.py$)")
_ABOUT_QUERIES = re.compile(r"sqlalchemy|sqlmodel|session|\bdb\b|awaitable_attrs")
_COMMANDS = {"command", "group", "callback", "task", "shared_task", "actor", "cron"}
_COMMANDS |= {"scheduled_job", "periodic_task", "repeat_every", "subscriber", "on_event"}
_TEMPLATES = Path(__file__).resolve().parents[4] / "templates"
NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(frozen=True)
class Function:
    """A function or method with the names around it."""

    module: Module
    node: FunctionNode
    owner: ast.ClassDef | None
    file: str
    """Relative to the project's root, with `/`."""
    background: bool
    """A person, a queue or a clock calls it, and nobody waits for the answer."""

    @property
    def name(self) -> str:
        return f"{self.owner.name}.{self.node.name}" if self.owner else self.node.name

    @property
    def is_async(self) -> bool:
        return isinstance(self.node, ast.AsyncFunctionDef)


class Sources:
    """All modules of a project that belong to its application."""

    def __init__(self, project: Project) -> None:
        self.project = project
        modules: dict[str, Module] = {}
        for path in project.files:
            name = module_name(path, project.import_roots, project.root)
            if name is None:
                continue
            try:
                modules.setdefault(name, read(path, name))
            except (SyntaxError, FileNotFoundError):
                # Whoever read the project has told about it.
                continue
        self.resolver = Resolver(modules)
        self.index = MetadataIndex(self.resolver)
        self._lines: dict[Path, list[str]] = {}

    @cached_property
    def application(self) -> list[Module]:
        """The modules that serve requests, in order of their names.

        Scripts count where the application imports them.
        """
        modules = self.resolver.modules
        apart = {
            name
            for name, module in modules.items()
            if _APART.search(self.relative(module)) or runs_alone(module)
        }
        start = [self.project.app.partition(":")[0]] if self.project.app and apart else []
        reached = reachable(self.project.import_roots, start)
        return [modules[name] for name in sorted(modules) if name not in apart or name in reached]

    @cached_property
    def functions(self) -> list[Function]:
        """Every function of the modules that have to do with queries, in source order."""
        about = (module for module in self.application if _ABOUT_QUERIES.search(module.text))
        return [one for module in about if not is_copied(module) for one in self._functions(module)]

    def relative(self, module: Module) -> str:
        path = module.path
        inside = path.is_relative_to(self.project.root)
        return (path.relative_to(self.project.root) if inside else path).as_posix()

    def line(self, module: Module, number: int) -> str:
        """A line of source, without its indent."""
        lines = self.lines(module)
        return lines[number - 1].strip() if 0 < number <= len(lines) else ""

    def lines(self, module: Module) -> list[str]:
        if module.path not in self._lines:
            self._lines[module.path] = module.text.splitlines()
        return self._lines[module.path]

    def full_name(self, module: Module, node: ast.expr | None) -> str:
        """The full name of a dotted expression (`sqlalchemy.select`); empty for others."""
        text = dotted(node) if node is not None else None
        return self.resolver.qualify(module, text) if text else ""

    def _functions(self, module: Module) -> Iterator[Function]:
        file = self.relative(module)
        background = bool(_BACKGROUND.search(file) or _APART.search(file))
        waiting: list[tuple[ast.AST, ast.ClassDef | None]] = [(module.tree, None)]
        while waiting:
            node, owner = waiting.pop()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                apart = background or any(map(is_command, node.decorator_list))
                yield Function(module, node, owner, file, apart)
            inside = node if isinstance(node, ast.ClassDef) else None
            waiting.extend((child, inside) for child in reversed(blocks_of(node)))


def is_copied(module: Module) -> bool:
    """Is it a template of this skill as it came? That is no place where a person went wrong."""
    own = _TEMPLATES / module.path.name
    return own.is_file() and own.read_text(encoding="utf-8") == module.text


def runs_alone(module: Module) -> bool:
    """Does it end with `if __name__ == "__main__":`, and is it no application's module?"""
    return "__name__" in module.words and any(
        isinstance(statement, ast.If) and "__name__" in ast.dump(statement.test)
        for statement in module.tree.body
    )


def is_command(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (dotted(called) or "").rpartition(".")[2] in _COMMANDS


def annotations_of(function: FunctionNode) -> dict[str, ast.expr]:
    """What the parameters are said to be."""
    given = function.args
    every = (*given.posonlyargs, *given.args, *given.kwonlyargs)
    return {one.arg: one.annotation for one in every if one.annotation is not None}


def blocks_of(node: ast.AST) -> list[ast.AST]:
    """The statements directly in one: no function begins within an expression."""
    found: list[ast.AST] = []
    for name in ("body", "handlers", "cases", "orelse", "finalbody"):
        inner = getattr(node, name, None)
        found += inner if isinstance(inner, list) else []
    return found


@functools.cache
def own_nodes(function: FunctionNode) -> tuple[ast.AST, ...]:
    """The nodes of a function's body in source order, without nested functions and classes."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = list(reversed(function.body))
    while waiting:
        node = waiting.pop()
        found.append(node)
        if not isinstance(node, NESTED):
            waiting.extend(reversed(children_of(node)))
    return tuple(found)


def inner_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and what is in it, without nested functions and classes."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        if one is node or not isinstance(one, NESTED):
            waiting.extend(reversed(children_of(one)))


def names_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
