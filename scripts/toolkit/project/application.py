"""The FastAPI application: an instance, or a factory that makes one."""

import ast

from toolkit.project.errors import ambiguous, bad_option
from toolkit.project.imports import FunctionNode, Module, dotted
from toolkit.project.metadata import MetadataIndex

_MAIN = ("main", "app", "server", "asgi", "api", "application", "__init__")


def find_application(index: MetadataIndex, given: str | None) -> tuple[str | None, bool]:
    """`(module:attribute, is_factory)`; `(None, False)` when there is none.

    `given` is `--app`, with or without the attribute. Raises ProjectError when
    two candidates are equally good, or `given` is not among them.
    """
    finder = _Finder(index)
    found = finder.candidates()
    if given is not None:
        matches = [c for c in found if given in (c[0], c[0].partition(":")[0])]
        if not matches:
            names = ", ".join(reference for reference, _ in found) or "none"
            raise bad_option("--app", f"{given} is no FastAPI application", f"found: {names}")
        found = matches
    if not found:
        return None, False
    ranked = sorted(found, key=_rank)
    best = [item for item in ranked if _rank(item)[:-1] == _rank(ranked[0])[:-1]]
    if len(best) > 1:
        rivals = [reference for reference, _ in best]
        raise ambiguous("several-apps", "several FastAPI applications", rivals, "--app MODULE:NAME")
    return ranked[0]


def _rank(item: tuple[str, bool]) -> tuple[bool, bool, int, int, str]:
    module, _, name = item[0].partition(":")
    stem = module.rsplit(".", 1)[-1]
    place = _MAIN.index(stem) if stem in _MAIN else len(_MAIN)
    return item[1], name not in {"app", "application"}, module.count("."), place, item[0]


class _Finder:
    def __init__(self, index: MetadataIndex) -> None:
        self.index = index
        self.resolver = index.resolver

    def candidates(self) -> list[tuple[str, bool]]:
        found: list[tuple[str, bool]] = []
        for module in self.resolver.modules.values():
            bound = self.resolver.bindings(module)
            for name, value in bound.values.items():
                if self._makes_application(module, value):
                    found.append((f"{module.name}:{name}", False))
            if any(self._is_class(module, node) for node in module.nodes):
                found += [
                    (f"{module.name}:{name}", True)
                    for name, function in bound.functions.items()
                    if self._is_factory(module, function)
                ]
        return found

    def _makes_application(self, module: Module, value: ast.expr) -> bool:
        if not isinstance(value, ast.Call):
            return False
        if self._is_class(module, value):
            return True
        place = self.resolver.locate(self.resolver.qualify(module, dotted(value.func) or "?"))
        function = self.resolver.bindings(place[0]).functions.get(place[1]) if place else None
        return bool(place and function and self._is_factory(place[0], function))

    def _is_factory(self, module: Module, function: FunctionNode) -> bool:
        makes = any(self._is_class(module, node) for node in ast.walk(function))
        returns = any(isinstance(n, ast.Return) and n.value is not None for n in ast.walk(function))
        return makes and returns

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
