"""Every call in the project with the place where it stands."""

import ast
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from toolkit.project.imports import FunctionNode, Module, Resolver, children_of, dotted


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


def promise(site: CallSite, arguments: Iterable[ast.expr]) -> tuple[bool, bool, bool]:
    """Sorts calls that make an engine, or lead to one: the application's is a module's; a tool's
    is made in a function, with a switch in the call that gives the URL.
    """
    switched = any(
        isinstance(argument, ast.Call) and bool(argument.args or argument.keywords)
        for argument in arguments
    )
    return "test" in site.place.module.name, site.assigned is None, switched


class CallIndex:
    """Calls by the full name of what they call; looked for where somebody asks (#12)."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._sites: dict[str, list[tuple[str, CallSite]]] = {}

    def callers(self, module: Module, function: str) -> list[CallSite]:
        """Calls of a function, or of a class, of this project."""
        wanted = f"{module.name}.{function}"
        return [site for name, site in self.called({function}) if name == wanted]

    def method_callers(self, module: Module, owner: str, method: str) -> list[CallSite]:
        """Calls of a method on what a module has made of the class: `manager.init(url)`."""
        return [
            site
            for user in self.resolver.naming({method})
            for name, site in self._calls(user)
            if name.rpartition(".")[2] == method
            and self._class_of(user, name.rpartition(".")[0]) == f"{module.name}.{owner}"
        ]

    def _class_of(self, module: Module, name: str) -> str:
        """The full name of what a module's variable is made of; empty where that is not told."""
        place = self.resolver.locate(self.resolver.qualify(module, name)) if name else None
        if place is None or place[2]:
            return ""
        value = self.resolver.bindings(place[0]).values.get(place[1])
        made = dotted(value.func) if isinstance(value, ast.Call) else None
        return self.resolver.qualify(place[0], made) if made else ""

    def called(self, names: Collection[str]) -> Iterator[tuple[str, CallSite]]:
        """Calls of what has one of these names, with its full name."""
        wanted = self.resolver.other_names(names)
        for module in self.resolver.naming(names):
            for name, site in self._calls(module):
                if name.rpartition(".")[2] in wanted:
                    yield self.resolver.qualify(module, name), site

    def _calls(self, module: Module) -> list[tuple[str, CallSite]]:
        if module.name not in self._sites:
            sites = [(dotted(site.call.func), site) for site in module_calls(module)]
            self._sites[module.name] = [(name, site) for name, site in sites if name]
        return self._sites[module.name]


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
        stack.extend((child, place) for child in reversed(children_of(node)))
