"""Where the project's source says a table, a column, an index."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from toolkit.database.urls import Kind
from toolkit.project.facts import MappedClass, Project
from toolkit.project.imports import assignments, dotted, parse

Place = tuple[str | None, int | None]
NOWHERE: Place = (None, None)
DIALECT_OPTIONS = ("postgresql_", "mysql_", "mariadb_", "sqlite_", "mssql_", "oracle_")


def locate(project: Project | None, table: str, column: str | None = None) -> Place:
    """File (relative to the root) and line of a column, else of its class; none if unknown."""
    return Locator(project).place(table, column)


class Locator:
    """The same for many questions about one project: each file is parsed once."""

    def __init__(self, project: Project | None) -> None:
        self.project = project
        self._trees: dict[Path, ast.Module | None] = {}

    @cached_property
    def mapped(self) -> dict[str, list[MappedClass]]:
        found: dict[str, list[MappedClass]] = defaultdict(list)
        for item in self.project.mapped if self.project else ():
            if item.table is not None:
                found[item.table].append(item)
        return found

    def place(self, table: str, column: str | None = None, index: str | None = None) -> Place:
        """The line of the index, else of the column, else of the class."""
        assert self.project is not None or not self.mapped
        items = self.mapped.get(table, [])
        for item in items:
            line = self._line_in(item, column, index)
            if line is not None:
                return self._relative(item.path), line
        for item in items:
            return self._relative(item.path), item.line
        return NOWHERE

    def foreign_options(self, index: str, kind: Kind) -> frozenset[str]:
        """What the source says of an index that only other databases than `kind` mind:
        `postgresql_where='x > 0'`. Where the models are unknown, nothing.
        """
        own = {"mysql": ("mysql_", "mariadb_")}.get(kind, (f"{kind}_",))
        found = set()
        for path in {item.path for items in self.mapped.values() for item in items}:
            for call in index_calls(self._tree(path), index):
                for keyword in call.keywords:
                    name = keyword.arg or "**"
                    of_other = name.startswith(DIALECT_OPTIONS) and not name.startswith(own)
                    if (of_other and not name.endswith("_concurrently")) or name == "**":
                        found.add(f"{name}={ast.unparse(keyword.value)}")
        return frozenset(found)

    def _line_in(self, item: MappedClass, column: str | None, index: str | None) -> int | None:
        node = self._node(item)
        if node is None:
            return None
        if index is not None:
            named = (n for n in ast.walk(node) if isinstance(n, ast.Constant) and n.value == index)
            found = next(named, None)
            if found is not None:
                return found.lineno
            if column is None:
                return item.line
        return None if column is None else column_line(node, column)

    def _node(self, item: MappedClass) -> ast.AST | None:
        """The class statement, or the call of `Table`."""
        tree = self._tree(item.path)
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, ast.ClassDef) and node.name == item.name:
                return node
            if is_table(node) and getattr(node, "lineno", 0) == item.line:
                return node
        return None

    def _tree(self, path: Path) -> ast.Module | None:
        if path not in self._trees:
            try:
                self._trees[path] = parse(path, path.stem).tree
            except (OSError, SyntaxError):
                self._trees[path] = None
        return self._trees[path]

    def _relative(self, path: Path) -> str:
        assert self.project is not None
        root = self.project.root
        return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def column_line(node: ast.AST, column: str) -> int | None:
    """The line that declares a column, by its attribute or by the name that it is given."""
    body = node.body if isinstance(node, ast.ClassDef) else []
    for name, value, annotation in assignments(body):
        given = named_column(value) if isinstance(value, ast.Call) else None
        if (given or name) == column:
            line: ast.expr | None = annotation or value
            return line.lineno if line is not None else None
    if isinstance(node, ast.Call):
        for argument in node.args:
            if isinstance(argument, ast.Call) and named_column(argument) == column:
                return argument.lineno
    return None


def index_calls(tree: ast.Module | None, name: str) -> Iterator[ast.Call]:
    """`Index("name", ...)`, wherever it stands."""
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Call) and (dotted(node.func) or "").endswith("Index"):
            first = [*node.args[:1], *(k.value for k in node.keywords if k.arg == "name")]
            inner = (each for one in first for each in ast.walk(one))
            if any(isinstance(each, ast.Constant) and each.value == name for each in inner):
                yield node


def is_table(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and (dotted(node.func) or "").rpartition(".")[2] == "Table"


def named_column(call: ast.Call) -> str | None:
    """`Column("id", ...)`, `mapped_column("id", ...)`."""
    if (dotted(call.func) or "").rpartition(".")[2] not in {"Column", "mapped_column"}:
        return None
    first = call.args[0] if call.args else None
    for keyword in call.keywords:
        if keyword.arg == "name":
            first = keyword.value
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        return first.value
    return None
