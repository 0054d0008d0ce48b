"""Every call in the project with the place where it stands."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.project.imports import FunctionNode, Module, Resolver, dotted


@dataclass(frozen=True)
class Place:
    """Where an expression stands: its names mean what they mean here."""

    module: Module
    functions: tuple[FunctionNode, ...] = ()
    """Enclosing functions, the innermost last."""
    owner: ast.ClassDef | None = None
    """Class of the enclosing method."""


@dataclass(frozen=True)
class CallSite:
    """One call."""

    call: ast.Call
    place: Place
    assigned: str | None = None
    """Module-level name that the result is bound to."""

    @property
    def label(self) -> str:
        return f"{self.place.module.path}:{self.call.lineno}"


class CallIndex:
    """Calls by the full name of what they call."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.by_name: dict[str, list[CallSite]] = defaultdict(list)
        for module in resolver.modules.values():
            for site in module_calls(module):
                name = dotted(site.call.func)
                if name:
                    self.by_name[self.resolver.qualify(module, name)].append(site)

    def callers(self, module: Module, function: str) -> list[CallSite]:
        """Calls of a function, or of a class, of this project."""
        return self.by_name.get(f"{module.name}.{function}", [])


def module_calls(module: Module) -> Iterator[CallSite]:
    """All calls of one module in source order."""
    names: dict[int, str] = {}
    for statement in module.nodes:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    names[id(statement.value)] = target.id
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names[id(statement.value)] = statement.target.id
    stack: list[tuple[ast.AST, Place]] = [(module.tree, Place(module))]
    while stack:
        node, place = stack.pop()
        if isinstance(node, ast.Call):
            top = not place.functions and place.owner is None
            yield CallSite(node, place, names.get(id(node)) if top else None)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            place = Place(module, (*place.functions, node), place.owner)
        elif isinstance(node, ast.ClassDef):
            place = Place(module, (), node)
        stack.extend((child, place) for child in reversed(list(ast.iter_child_nodes(node))))
