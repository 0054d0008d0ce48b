"""The FastAPI application: an instance, or a factory that makes one."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.project.errors import ambiguous, bad_option
from toolkit.project.facts import Problem
from toolkit.project.imports import FunctionNode, Module, dotted
from toolkit.project.metadata import MetadataIndex
from toolkit.project.root import Location, read_text

_MAIN = ("main", "app", "server", "asgi", "api", "application", "__init__")
_APART = {"scripts", "script", "tools", "bin", "examples", "example", "docs", "docs_src", "demo"}
_APART |= {"demos", "samples", "benchmarks", "benchmark", "dev", "notebooks", "testing"}
_STARTERS: tuple[str, ...] = (
    "*ockerfile*",
    "Procfile",
    "*compose*.y*ml",
    "Makefile",
    "justfile",
    "*.sh",
)
_STARTERS += ("pyproject.toml", "gunicorn*.py", "*.service", "fly.toml", "render.yaml")
Candidate = tuple[str, bool]
"""`module:attribute`, and is it a factory?"""


@dataclass(frozen=True)
class Application:
    """Which application is meant."""

    reference: str | None = None
    """`module:attribute`; None where there is none."""
    is_factory: bool = False
    problem: Problem | None = None
    """Why this is only one of several that are equally good."""


def find_application(index: MetadataIndex, given: str | None, location: Location) -> Application:
    """The application, by how it is started, where it is and what it is called.

    `given` is `--app`, with or without the attribute. Raises ProjectError when the project
    has no such name.
    """
    finder = _Finder(index)
    found = finder.candidates()
    if given is not None:
        given = given.removesuffix("()")
        matches = [c for c in found if given in (c[0], c[0].partition(":")[0])]
        matches = matches or list(finder.named(given))
        if not matches:
            names = ", ".join(reference for reference, _ in found) or "none"
            raise bad_option("--app", f"{given} is no FastAPI application", f"found: {names}")
        found = matches
    if not found:
        return Application()
    started = _started(found, location) if len(found) > 1 else set()
    ranks = {one: (one[0] not in started, *_rank(one)) for one in found}
    ranked = sorted(found, key=lambda one: (ranks[one], one))
    best = [one for one in ranked if ranks[one] == ranks[ranked[0]]]
    if len(best) == 1:
        return Application(*best[0])
    rivals = [reference for reference, _ in best]
    refusal = ambiguous("several-apps", "several FastAPI applications", rivals, "--app MODULE:NAME")
    return Application(*best[0], problem=refusal.problem)


def _started(found: list[Candidate], location: Location) -> set[str]:
    """Those that the files name with which it is started: containers, scripts, `uvicorn.run`."""
    folders = dict.fromkeys([location.root, location.here, *location.here.parents])
    inside = [f for f in folders if f == location.root or location.root in f.parents]
    files = [path for folder in inside for form in _STARTERS for path in folder.glob(form)]
    text = "\n".join(read_text(path) for path in files if path.is_file())
    text += "\n".join(t for t in map(read_text, location.files.python) if "uvicorn" in t)
    return {
        reference
        for reference, _ in found
        if re.search(rf"(?<!\w){re.escape(reference)}\b", text)
        or re.search(rf"fastapi\W+(?:run|dev)\b.*{re.escape(_path(reference))}\b", text)
    }


def _path(reference: str) -> str:
    return reference.partition(":")[0].replace(".", "/") + ".py"


def _rank(item: Candidate) -> tuple[bool, bool, bool, int, int]:
    module, _, name = item[0].partition(":")
    parts = module.split(".")
    place = _MAIN.index(parts[-1]) if parts[-1] in _MAIN else len(_MAIN)
    apart = not _APART.isdisjoint(parts[:-1])
    return apart, item[1], name not in {"app", "application"}, len(parts), place


class _Finder:
    def __init__(self, index: MetadataIndex) -> None:
        self.index = index
        self.resolver = index.resolver

    def candidates(self) -> list[Candidate]:
        """What is an application, or makes one, but for those that another one mounts."""
        found: list[Candidate] = []
        mounted: set[str] = set()
        for module in self._modules():
            mounted |= set(self._mounted(module))
            bound = self.resolver.bindings(module)
            for name, value in bound.values.items():
                if self._is_typed(module, bound.annotations.get(name)) or self._makes(
                    module, value
                ):
                    found.append((f"{module.name}:{name}", False))
            found += [
                (f"{module.name}:{name}", True)
                for name, function in bound.functions.items()
                if self._is_factory(module, function)
            ]
        return [one for one in found if one[0].replace(":", ".") not in mounted] or found

    def named(self, given: str) -> Iterator[Candidate]:
        """What `--app` names, if the project has such a name: its owner knows it better."""
        name, _, attribute = given.partition(":")
        module = self.resolver.modules.get(name)
        bound = self.resolver.bindings(module) if module is not None else None
        head = attribute.partition(".")[0]
        if bound is not None and (
            head in {*bound.values, *bound.functions, *bound.classes, *bound.imports}
            or (head and bound.stars)
        ):
            yield given, head in bound.functions

    def _mounted(self, module: Module) -> Iterator[str]:
        """Full names of sub-applications: the second argument of `app.mount("/path", sub)`."""
        for node in module.nodes:
            if isinstance(node, ast.Call) and (dotted(node.func) or "").endswith(".mount"):
                given = [k.value for k in node.keywords if k.arg == "app"] or node.args[1:2]
                names = [name for one in given if (name := dotted(one))]
                yield from (self.resolver.qualify(module, name) for name in names)

    def _modules(self) -> list[Module]:
        """Those that may make one: by the class or by a function that gives one (#12)."""
        names = self.resolver.derived({"FastAPI"})
        makers = {
            name
            for module in self.resolver.naming(names)
            for name, function in self.resolver.bindings(module).functions.items()
            if self._gives(module, function)
        }
        return self.resolver.naming({"mount", *names, *makers})

    def _makes(self, module: Module, value: ast.expr) -> bool:
        """Is it an application: made here, wrapped in something, or had from a factory?"""
        if not isinstance(value, ast.Call):
            return False
        if any(self._is_class(module, node) for node in ast.walk(value)):
            return True
        place = self.resolver.locate(self.resolver.qualify(module, dotted(value.func) or "?"))
        function = self.resolver.bindings(place[0]).functions.get(place[1]) if place else None
        return bool(place and function and self._gives(place[0], function))

    def _is_factory(self, module: Module, function: FunctionNode) -> bool:
        """Can a server start it by its name?"""
        return not _needs_arguments(function) and self._gives(module, function)

    def _gives(self, module: Module, function: FunctionNode) -> bool:
        if isinstance(function, ast.AsyncFunctionDef):
            return False
        if self._is_typed(module, function.returns):
            return True
        makes = any(self._is_class(module, node) for node in ast.walk(function))
        returns = any(isinstance(n, ast.Return) and n.value is not None for n in ast.walk(function))
        return makes and returns

    def _is_typed(self, module: Module, annotation: ast.expr | None) -> bool:
        """Does an annotation say that it is an application?"""
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            name: str | None = annotation.value
        else:
            name = dotted(annotation) if annotation is not None else None
        return name is not None and self._derives(self.resolver.qualify(module, name))

    def _is_class(self, module: Module, node: ast.AST) -> bool:
        """Is it a call of `FastAPI`, or of a subclass?"""
        name = dotted(node.func) if isinstance(node, ast.Call) else None
        return name is not None and self._derives(self.resolver.qualify(module, name))

    def _derives(self, qualified: str, depth: int = 0) -> bool:
        if qualified.startswith("fastapi.") and qualified.endswith(".FastAPI"):
            return True
        info = self.index.classes.get(qualified)
        return (
            depth < 20
            and info is not None
            and any(self._derives(base, depth + 1) for base in info.bases)
        )


def _needs_arguments(function: FunctionNode) -> bool:
    arguments = function.args
    positional = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    return positional > 0 or any(default is None for default in arguments.kw_defaults)
