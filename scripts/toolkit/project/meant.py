"""Which metadata an env.py hands to Alembic, as far as its source tells (#12)."""

import ast
from collections.abc import Iterable, Iterator

from toolkit.project.imports import FunctionNode, Module, Resolver, dotted
from toolkit.project.metadata import MetadataIndex

_NAME = "target_metadata"


def metadata_of_env(index: MetadataIndex, env: Module) -> tuple[str, ...]:
    """References of the sources that `target_metadata` speaks of, however it puts them together:
    one, a list or a dict of them, a function of the project. Empty where nothing is said.
    """
    given = list(_given(env))
    reader = _Reader(index)
    found = reader.sources(given, env)
    if not found and any(not isinstance(node, ast.Constant) for node in given):
        # It is made here of what env.py mentions: copied together, say.
        found = reader.sources([n for n in env.nodes if isinstance(n, ast.expr)], env)
    return tuple(sorted({index.sources[one].reference for one in found}))


def library_bases(resolver: Resolver, envs: Iterable[Module]) -> set[str]:
    """Full names of the bases that an env.py imports from packages which are not the project's.

    What they are made of is not read; but one of the project's own metadatas, which have other
    tables, must not be taken in their place (#12).
    """
    tops = {name.partition(".")[0] for name in resolver.modules}
    found = set()
    for env in envs:
        for node in _given(env):
            text = dotted(node) or ""
            qualified = resolver.qualify(env, text)
            if text.endswith(".metadata") and qualified.partition(".")[0] not in tops:
                found.add(qualified.removesuffix(".metadata"))
    return {name for name in found if "." in name}


def _given(env: Module) -> Iterator[ast.expr]:
    for node in env.nodes:
        if (
            (isinstance(node, ast.keyword) and node.arg == _NAME)
            or (isinstance(node, ast.Assign) and _NAME in map(dotted, node.targets))
            or (isinstance(node, ast.AnnAssign) and dotted(node.target) == _NAME)
        ):
            yield node.value or ast.Constant(None)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == _NAME:
                    yield value


class _Reader:
    def __init__(self, index: MetadataIndex) -> None:
        self.index = index
        self.seen: set[tuple[str, str]] = set()

    def sources(self, nodes: Iterable[ast.AST], module: Module) -> set[str]:
        """Full names of the sources that the expressions mention, at first or second hand."""
        found: set[str] = set()
        waiting = list(nodes)
        while waiting:
            node = waiting.pop()
            name = dotted(node) if isinstance(node, ast.Name | ast.Attribute) else None
            owner = self.index.of_expression(module, node) if name else None  # type: ignore[arg-type]
            if owner:
                found.add(owner)
            elif name:
                found |= self._behind(name, module)
            else:
                waiting += ast.iter_child_nodes(node)
        return found

    def _behind(self, name: str, module: Module) -> set[str]:
        """What a variable or a function stands for, here or in the module that has it."""
        if (module.name, name) in self.seen:
            return set()
        self.seen.add((module.name, name))
        place = self._place(name, module)
        if place is None:
            return set()
        home, symbol = place
        bound = self.index.resolver.bindings(home)
        value: ast.expr | FunctionNode | None = bound.functions.get(symbol)
        value = value or bound.values.get(symbol)
        if isinstance(value, ast.FunctionDef | ast.AsyncFunctionDef):
            return self.sources(value.body, home)
        return self.sources([value], home) if value else set()

    def _place(self, name: str, module: Module) -> tuple[Module, str] | None:
        head = name.partition(".")[0]
        bound = self.index.resolver.bindings(module)
        if head in bound.functions or head in bound.values:
            return module, head
        found = self.index.resolver.locate(self.index.resolver.qualify(module, name))
        return (found[0], found[1]) if found else None
