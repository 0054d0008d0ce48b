"""Which expressions are database sessions, and of which kind."""

import ast
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from toolkit.project.expressions import default_of
from toolkit.project.imports import FunctionNode, Module, dotted
from toolkit.project.metadata import library_name
from toolkit.queries.code.source import Function, Sources, own_nodes

Kind = Literal["async", "sync"]

_NAME = re.compile(r"_?(async_)?(db_?)?(session|sess|db)(_?async)?")
READS = {"execute", "scalar", "scalars", "get", "get_one", "stream", "stream_scalars"}
ASYNC_NAMES = {"AsyncSession", "async_scoped_session"}
MAKERS = {"async_sessionmaker", "sessionmaker", "AsyncSession"}
FACTORIES = {"async_sessionmaker", "sessionmaker"}


@dataclass(frozen=True)
class Factory:
    """A call that makes sessions."""

    kind: Kind
    expires: bool | None
    """expire_on_commit; None where the source computes it."""


class Sessions:
    """Answers for one project."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources

    @cached_property
    def expire_on_commit(self) -> bool | None:
        """Do all asynchronous sessions of the application expire what they hold on commit?

        None where no factory is found, or not all say the same.
        """
        found: set[bool | None] = set()
        named = {module.name for module in self.sources.resolver.naming(MAKERS)}
        for module in (one for one in self.sources.application if one.name in named):
            for node in module.nodes:
                if isinstance(node, ast.Call):
                    factory = self.factory(module, node)
                    if factory is not None and factory.kind == "async":
                        found.add(factory.expires)
        return found.pop() if len(found) == 1 else None

    def expires(self, function: Function, node: ast.expr) -> bool | None:
        """The same of one session: what its own factory says, where that is in sight."""
        for inner in own_nodes(function.node):
            for item in inner.items if isinstance(inner, ast.AsyncWith) else ():
                if item.optional_vars is not None and dotted(item.optional_vars) == dotted(node):
                    made = self._maker(function.module, item.context_expr)
                    if made is not None:
                        return made.expires
        return self.expire_on_commit

    def factory(self, module: Module, call: ast.Call) -> Factory | None:
        """What `async_sessionmaker(...)`, `sessionmaker(...)` or `AsyncSession(...)` makes."""
        library, name = library_name(self.sources.full_name(module, call.func))
        if not library or name not in FACTORIES | {"AsyncSession"}:
            return None
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        kind: Kind = "sync"
        if name != "sessionmaker":
            kind = "async"
        elif "class_" in keywords:
            kind = self.of_type(module, keywords["class_"]) or "async"
        given = keywords.get("expire_on_commit")
        if None in keywords:
            return Factory(kind, None)
        if given is None:
            return Factory(kind, True)
        return Factory(kind, bool(given.value) if isinstance(given, ast.Constant) else None)

    def of_type(self, module: Module, node: ast.expr | None, depth: int = 0) -> Kind | None:
        """The kind of session that an annotation names, through aliases of the project."""
        if node is None or depth > 5:
            return None
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                node = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                return None
        if isinstance(node, ast.BinOp):
            return self.of_type(module, node.left, depth) or self.of_type(module, node.right, depth)
        if isinstance(node, ast.Subscript):
            inner = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
            outer = (dotted(node.value) or "").rpartition(".")[2]
            if outer in {"Annotated", "Optional"}:
                return self.of_type(module, inner, depth)
            return self.of_type(module, node.value, depth)
        return self._of_name(self.sources.full_name(module, node), depth)

    def _of_name(self, full: str, depth: int) -> Kind | None:
        library, name = library_name(full)
        if library:
            return "async" if name in ASYNC_NAMES else "sync" if full in SYNC_FULL_NAMES else None
        info = self.sources.index.classes.get(full)
        if info is not None:
            kinds = (self._of_name(base, depth + 1) for base in info.bases if depth < 5)
            return next((kind for kind in kinds if kind), None)
        place = self.sources.resolver.locate(full)
        if place is None or place[2]:
            return None
        bound = self.sources.resolver.bindings(place[0])
        alias = bound.values.get(place[1])
        return self.of_type(place[0], alias, depth + 1) if alias is not None else None

    def of(self, function: Function, node: ast.expr) -> Kind | None:
        """The kind of session that an expression in a function is; None: no session."""
        text = dotted(node)
        if text is None:
            return None
        if text.startswith("self.") and function.owner is not None:
            return self._attribute(function, text.removeprefix("self."))
        if "." in text:
            return None
        known = self._local(function, text)
        if known is not None:
            return known
        return None

    def looks_like(self, function: Function, node: ast.expr) -> bool:
        """Is this an asynchronous session by its type, or else by its name?"""
        kind = self.of(function, node)
        if kind is not None:
            return kind == "async"
        name = (dotted(node) or "").rpartition(".")[2]
        return bool(_NAME.fullmatch(name)) and self._imports_sqlalchemy(function.module)

    def _imports_sqlalchemy(self, module: Module) -> bool:
        imports = self.sources.resolver.bindings(module).imports.values()
        return any(full.partition(".")[0] in {"sqlalchemy", "sqlmodel"} for full in imports)

    def _local(self, function: Function, name: str) -> Kind | None:
        arguments = function.node.args
        for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            if one.arg == name:
                return self.of_type(function.module, one.annotation) or self._injected(
                    function, name
                )
        for node in own_nodes(function.node):
            if isinstance(node, ast.With | ast.AsyncWith):
                for item in node.items:
                    target = item.optional_vars
                    if isinstance(target, ast.Name) and target.id == name:
                        return self._opened(function.module, item.context_expr)
            elif isinstance(node, ast.Assign) and any(dotted(t) == name for t in node.targets):
                return self._opened(function.module, node.value)
        return None

    def _injected(self, function: Function, name: str) -> Kind | None:
        """`= Depends(get_session)`: what that dependency is said to give."""
        default = default_of(function.node, name)
        if not isinstance(default, ast.Call) or not default.args:
            return None
        place = self.sources.resolver.locate(
            self.sources.full_name(function.module, default.args[0])
        )
        node = self.sources.resolver.bindings(place[0]).functions.get(place[1]) if place else None
        returns = node.returns if node is not None else None
        if place is None or not isinstance(returns, ast.Subscript):
            return self.of_type(place[0], returns) if place else None
        inner = returns.slice
        return self.of_type(place[0], inner.elts[0] if isinstance(inner, ast.Tuple) else inner)

    def _opened(self, module: Module, node: ast.expr) -> Kind | None:
        """The kind that `SessionLocal()`, `AsyncSession(engine)` or `.begin()` of it opens."""
        made = self._maker(module, node)
        if made is not None:
            return made.kind
        full = self.sources.full_name(module, node.func) if isinstance(node, ast.Call) else ""
        return self._of_name(full, 0) if full else None

    def _maker(self, module: Module, node: ast.expr) -> Factory | None:
        while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr not in {"begin", "__call__"}:
                break
            node = node.func.value
        if not isinstance(node, ast.Call):
            return None
        direct = self.factory(module, node)
        if direct is not None:
            return direct
        place = self.sources.resolver.locate(self.sources.full_name(module, node.func))
        if place is None or place[2]:
            return None
        value = self.sources.resolver.bindings(place[0]).values.get(place[1])
        return self.factory(place[0], value) if isinstance(value, ast.Call) else None

    def _attribute(self, function: Function, name: str) -> Kind | None:
        """`self.session`: what the class says, or what its `__init__` is given."""
        assert function.owner is not None
        for statement in function.owner.body:
            if isinstance(statement, ast.AnnAssign) and dotted(statement.target) == name:
                return self.of_type(function.module, statement.annotation)
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                kind = self._assigned(function.module, statement, name)
                if kind is not None:
                    return kind
        return None

    def _assigned(self, module: Module, init: FunctionNode, name: str) -> Kind | None:
        annotations = {one.arg: one.annotation for one in init.args.args}
        for node in ast.walk(init):
            given = node.value if isinstance(node, ast.Assign) else None
            if isinstance(node, ast.Assign) and isinstance(given, ast.Name):
                targets = [dotted(target) for target in node.targets]
                if f"self.{name}" in targets:
                    return self.of_type(module, annotations.get(given.id))
        return None


SYNC_FULL_NAMES = {
    "sqlalchemy.orm.Session",
    "sqlalchemy.orm.session.Session",
    "sqlmodel.Session",
    "sqlmodel.orm.session.Session",
}
