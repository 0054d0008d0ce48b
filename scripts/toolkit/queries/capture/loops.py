"""Which loops of the source a line is in, and whether their number of turns can grow."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from toolkit.files.reading import Unreadable, source_of
from toolkit.project.imports import parse
from toolkit.queries.capture.record import Frame

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
_WRAPPERS = {"enumerate", "sorted", "reversed", "zip", "list", "tuple", "set", "iter"}


@dataclass(frozen=True)
class Loop:
    """One loop around a line."""

    file: str
    line: int
    text: str
    """`for post in posts`."""
    kind: str
    """`for` (comprehensions, too) or `while`."""
    constant: bool
    """The source says how often it turns: `for name in ("a", "b")`, `range(3)`."""


class Sources:
    """The project's source, each file parsed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[str, _Source | None] = {}

    def source(self, file: str) -> "_Source | None":
        if file not in self._files:
            try:
                path = self.root / file
                self._files[file] = _Source(
                    file, parse(path, file).tree, source_of(path).splitlines()
                )
            except (OSError, SyntaxError, Unreadable):
                self._files[file] = None
        return self._files[file]

    def loops(self, frames: Sequence[Frame]) -> list[Loop]:
        """All loops around the lines of a call chain, the innermost first."""
        found: list[Loop] = []
        for frame in frames:
            source = self.source(frame.file)
            if source is not None:
                found += source.loops(frame.line)
        return found

    def makes_once(self, frame: Frame) -> bool:
        """Does the function around this line keep what it makes (a cache, a global name)?"""
        source = self.source(frame.file)
        return source is not None and source.makes_once(frame.line)

    def first_arguments(self, frame: Frame, *functions: str) -> list[str]:
        """Of the calls of these functions around a line, as they are written: `self.model`."""
        source = self.source(frame.file)
        return source.first_arguments(frame.line, functions) if source is not None else []

    def has_name(self, frame: Frame, name: str) -> bool:
        """Does the file of this frame know a class by this name?"""
        source = self.source(frame.file)
        return source is not None and name in source.names


class _Source:
    def __init__(self, file: str, tree: ast.Module, lines: list[str]) -> None:
        self.file = file
        self.tree = tree
        self.lines = lines

    @cached_property
    def names(self) -> set[str]:
        return {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)}

    @cached_property
    def constants(self) -> set[str]:
        """Names of the module whose value is written there, and classes that list their members."""
        found: set[str] = set()
        for node in self.tree.body:
            value = getattr(node, "value", None)
            targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
            if isinstance(node, ast.Assign | ast.AnnAssign) and value and self.is_constant(value):
                found |= {one.id for one in targets if isinstance(one, ast.Name)}
            if isinstance(node, ast.ClassDef) and any("Enum" in ast.unparse(b) for b in node.bases):
                found.add(node.name)
        return found

    def function(self, line: int) -> ast.AST:
        """The innermost function with this line, else the module."""
        functions = [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.lineno <= line <= (node.end_lineno or 0)
        ]
        return max(functions, key=lambda node: node.lineno, default=self.tree)

    def loops(self, line: int) -> Iterator[Loop]:
        """Those of the line's own function, the innermost first."""
        around = [
            node
            for node in _own_nodes(self.function(line))
            if isinstance(node, (ast.For, ast.AsyncFor, ast.While, *_COMPREHENSIONS))
        ]
        found: list[tuple[int, Loop]] = []
        for node in around:
            if isinstance(node, ast.While) and _within(line, node.test, *node.body):
                found.append((node.lineno, self.loop(node.lineno, "while", False)))
            elif isinstance(node, ast.For | ast.AsyncFor) and _within(line, *node.body):
                constant = self.is_constant(node.iter)
                found.append((node.lineno, self.loop(node.lineno, "for", constant)))
            elif isinstance(node, _COMPREHENSIONS) and _turns(line, node):
                constant = all(self.is_constant(one.iter) for one in node.generators)
                found.append(
                    (node.lineno, self.loop(node.generators[0].target.lineno, "for", constant))
                )
        return iter([loop for _, loop in sorted(found, key=lambda pair: -pair[0])])

    def loop(self, line: int, kind: str, constant: bool) -> Loop:
        return Loop(self.file, line, self.lines[line - 1].strip().rstrip(":"), kind, constant)

    def is_constant(self, node: ast.expr) -> bool:
        """Is its length in the source?"""
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return not any(isinstance(one, ast.Starred) for one in node.elts)
        if isinstance(node, ast.Dict):
            return None not in node.keys
        if isinstance(node, ast.Constant):
            return True
        if isinstance(node, ast.Name):
            return node.id in self.constants or (node.id.isupper() and len(node.id) > 1)
        if isinstance(node, ast.Attribute):
            return node.attr.isupper()
        if isinstance(node, ast.Call):
            return self.is_constant_call(node)
        return False

    def is_constant_call(self, node: ast.Call) -> bool:
        function = node.func
        if isinstance(function, ast.Name) and function.id == "range":
            return all(self.is_constant(one) for one in node.args)
        if isinstance(function, ast.Name) and function.id in _WRAPPERS:
            return bool(node.args) and all(self.is_constant(one) for one in node.args)
        if isinstance(function, ast.Attribute) and function.attr in ("items", "keys", "values"):
            return self.is_constant(function.value)
        return False

    def first_arguments(self, line: int, functions: Sequence[str]) -> list[str]:
        """Those of calls on the line itself; if it has none, its function's."""
        calls = [
            (node, ast.unparse(node.args[0]).rpartition(".")[2])
            for node in _own_nodes(self.function(line))
            if isinstance(node, ast.Call)
            and ast.unparse(node.func).rpartition(".")[2] in functions
            and node.args
            # `@app.get("/path")`
            and not isinstance(node.args[0], ast.Constant)
        ]
        return [name for node, name in calls if _within(line, node)] or [name for _, name in calls]

    def makes_once(self, line: int) -> bool:
        function = self.function(line)
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            return True
        decorated = " ".join(ast.unparse(one) for one in function.decorator_list)
        if "cache" in decorated or "singleton" in decorated.lower():
            return True
        for node in _own_nodes(function):
            if isinstance(node, ast.Global | ast.Nonlocal):
                return True
            targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
            assigned = isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr)
            if (
                assigned
                and _within(line, node)
                and any(isinstance(one, ast.Attribute | ast.Subscript) for one in targets)
            ):
                return True
        return False


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, without those of functions in it."""
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def _within(line: int, *nodes: ast.AST) -> bool:
    return any(
        getattr(node, "lineno", 0) <= line <= (getattr(node, "end_lineno", 0) or 0)
        for node in nodes
    )


def _turns(line: int, node: ast.AST) -> bool:
    """Is the line in what a comprehension repeats? The first iterable is evaluated once."""
    first, *others = node.generators  # type: ignore[attr-defined]
    repeated = [getattr(node, name) for name in ("elt", "key", "value") if hasattr(node, name)]
    return _within(line, *repeated, *first.ifs, *[one.iter for one in others])
