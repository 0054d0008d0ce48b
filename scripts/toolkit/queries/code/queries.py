"""What the variables of one function hold: statements, results, objects of which class."""

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from toolkit.project.metadata import library_name
from toolkit.queries.code.models import Model, Models
from toolkit.queries.code.sessions import READS, Sessions
from toolkit.queries.code.source import Function, own_nodes

Shape = Literal["one", "many", "result", "scalars"]

_ONE = {"scalar_one", "scalar_one_or_none", "one", "one_or_none", "first"}
_MANY = {"all", "fetchall", "unique", "partitions"}
LITERALS = (ast.List, ast.Tuple, ast.Set, ast.Constant, ast.Dict)


@dataclass(frozen=True)
class Select:
    """A `select(Model)` with everything that is called on it in the function."""

    model: Model
    calls: tuple[ast.Call, ...]
    """The methods, in the order of the source."""
    line: int

    def called(self, *names: str) -> list[ast.Call]:
        return [one for one in self.calls if method(one) in names]


@dataclass(frozen=True)
class Held:
    """What an expression is, as far as this function shows."""

    model: Model
    shape: Shape
    select: Select | None
    """None for `session.get` and for new objects."""
    options: tuple[ast.expr, ...]
    """Loader options, also of `session.get`."""
    session: ast.expr | None
    line: int
    made: bool = False
    """A new object, not one that was read."""


@dataclass
class Variable:
    """The assignments of a local name, in source order."""

    values: list[tuple[int, ast.expr]] = field(default_factory=list)
    opaque: bool = False
    """Also bound in a way that is not followed."""


class Queries:
    """Follows the local names of one function."""

    def __init__(self, function: Function, models: Models, sessions: Sessions) -> None:
        self.function = function
        self.models = models
        self.sessions = sessions
        self.nodes = list(own_nodes(function.node))
        self._busy: set[str] = set()

    @cached_property
    def variables(self) -> dict[str, Variable]:
        found: dict[str, Variable] = defaultdict(Variable)
        arguments = self.function.node.args
        for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            found[one.arg].opaque = True
        for node in self.nodes:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    bind(found, target, node.value, node.lineno)
            elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
                bind(found, node.target, node.value, node.lineno)
            elif isinstance(node, ast.AugAssign):
                bind(found, node.target, None, node.lineno)
            elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
                line = getattr(node, "lineno", node.target.lineno)
                bind(found, node.target, Item(node.iter), line)
            elif isinstance(node, ast.With | ast.AsyncWith):
                for item in node.items:
                    if item.optional_vars is not None:
                        bind(found, item.optional_vars, None, node.lineno)
        return found

    def select(self, node: ast.expr) -> Select | None:
        """The whole-class select that an expression is, with what is chained to it."""
        calls: list[ast.Call] = []
        while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if self._is_select(node):
                break
            calls.insert(0, node)
            node = node.func.value
        if isinstance(node, ast.Call) and self._is_select(node):
            model = self.models.of(self.function.module, node.args[0]) if node.args else None
            if model is None or len(node.args) != 1:
                return None
            return Select(model, tuple(calls), node.lineno)
        if isinstance(node, ast.Name):
            base = self._named_select(node.id)
            return base and Select(base.model, (*base.calls, *calls), base.line)
        return None

    def _named_select(self, name: str) -> Select | None:
        """The union of all that is assigned to a name that begins as one select."""
        variable = self.variables.get(name)
        if variable is None or variable.opaque or name in self._busy:
            return None
        self._busy.add(name)
        try:
            begun: Select | None = None
            calls: list[ast.Call] = []
            for _, value in variable.values:
                found = self.select(value)
                if found is None:
                    # `statement = statement.where(...)`: the name itself is busy.
                    chained = self._chained(value, name)
                    if chained is None:
                        return None
                    calls += chained
                elif begun is not None and found.model != begun.model:
                    return None
                else:
                    begun = begun or found
                    calls += found.calls
            return begun and Select(begun.model, tuple(calls), begun.line)
        finally:
            self._busy.discard(name)

    def _chained(self, node: ast.expr, name: str) -> list[ast.Call] | None:
        calls: list[ast.Call] = []
        while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            calls.insert(0, node)
            node = node.func.value
        return calls if isinstance(node, ast.Name) and node.id == name else None

    def _is_select(self, call: ast.Call) -> bool:
        full = self.models.sources.full_name(self.function.module, call.func)
        library, name = library_name(full)
        return bool(library) and name == "select"

    def held(self, node: ast.expr) -> Held | None:
        """What an expression holds; None where that cannot be told for certain."""
        if isinstance(node, Item):
            found = self.held(node.iterated)
            many = found is not None and found.shape in {"many", "scalars"}
            return reshape(found, "one") if many else None
        if isinstance(node, ast.Await):
            return self.held(node.value)
        if isinstance(node, ast.Name):
            return self._variable(node.id)
        if not isinstance(node, ast.Call):
            return None
        if isinstance(node.func, ast.Name):
            if node.func.id in {"list", "sorted", "reversed", "tuple", "set"} and node.args:
                found = self.held(node.args[0])
                return reshape(found, "many") if found and found.shape != "one" else None
            return self._made(node)
        if not isinstance(node.func, ast.Attribute):
            return None
        return self._executed(node, node.func) or self._taken(node.func)

    def _variable(self, name: str) -> Held | None:
        variable = self.variables.get(name)
        if variable is None or variable.opaque or len(variable.values) != 1 or name in self._busy:
            return None
        self._busy.add(name)
        try:
            return self.held(variable.values[0][1])
        finally:
            self._busy.discard(name)

    def _made(self, call: ast.Call) -> Held | None:
        model = self.models.of(self.function.module, call.func)
        if model is None:
            return None
        return Held(model, "one", None, (), None, call.lineno, made=True)

    def _executed(self, call: ast.Call, function: ast.Attribute) -> Held | None:
        """`session.scalars(select(Post))`, `session.get(Post, 1, options=[...])`."""
        if function.attr not in READS or not call.args:
            return None
        if not self.sessions.looks_like(self.function, function.value):
            return None
        if function.attr in {"get", "get_one"}:
            model = self.models.of(self.function.module, call.args[0])
            options = tuple(k.value for k in call.keywords if k.arg in {"options", None})
            if model is None:
                return None
            return Held(model, "one", None, options, function.value, call.lineno)
        select = self.select(call.args[0])
        if select is None:
            return None
        shapes: dict[str, Shape] = {"scalar": "one", "scalars": "scalars"}
        shapes["stream_scalars"] = "scalars"
        options = tuple(
            argument
            for one in select.called("options")
            for argument in (*one.args, *(k.value for k in one.keywords))
        )
        shape = shapes.get(function.attr, "result")
        return Held(select.model, shape, select, options, function.value, call.lineno)

    def _taken(self, function: ast.Attribute) -> Held | None:
        """`result.scalars().all()`: what a method of a result gives."""
        found = self.held(function.value)
        if found is None or found.shape == "one":
            return None
        if function.attr == "scalars":
            return reshape(found, "scalars")
        if function.attr == "unique":
            return found
        if function.attr in {"scalar", "scalar_one", "scalar_one_or_none"}:
            return reshape(found, "one")
        if found.shape == "result":  # rows; their first column is the object
            return None
        if function.attr in _ONE:
            return reshape(found, "one")
        return reshape(found, "many") if function.attr in _MANY else None


class Item(ast.expr):
    """One of what is iterated over: not in any source, made here for a loop's target."""

    def __init__(self, iterated: ast.expr) -> None:
        super().__init__()
        self.iterated = iterated


def bind(found: dict[str, Variable], target: ast.expr, value: ast.expr | None, line: int) -> None:
    if isinstance(target, ast.Name):
        if value is None:
            found[target.id].opaque = True
        else:
            found[target.id].values.append((line, value))
    elif isinstance(target, ast.Tuple | ast.List):
        for element in target.elts:
            bind(found, element, None, line)
    elif isinstance(target, ast.Starred):
        bind(found, target.value, None, line)


def reshape(held: Held | None, shape: Shape) -> Held | None:
    if held is None:
        return None
    return Held(held.model, shape, held.select, held.options, held.session, held.line, held.made)


def method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def mentions(options: tuple[ast.expr, ...], name: str) -> bool:
    """Do loader options name this attribute, or could they (a variable, a wildcard)?"""
    for option in options:
        if not isinstance(option, ast.Call | ast.List | ast.Tuple):
            return True
        for node in ast.walk(option):
            if isinstance(node, ast.Attribute) and node.attr == name:
                return True
            if isinstance(node, ast.Constant) and node.value in {"*", name}:
                return True
            if isinstance(node, ast.Starred):
                return True
    return False
