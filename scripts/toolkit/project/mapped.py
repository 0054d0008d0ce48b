"""Every class and Core table in the source that should own a database table."""

import ast
from collections.abc import Iterator

from toolkit.project.facts import MappedClass
from toolkit.project.imports import Module, dotted
from toolkit.project.metadata import ClassInfo, MetadataIndex, library_name


def find_mapped(index: MetadataIndex) -> tuple[MappedClass, ...]:
    """Mapped classes and `Table` objects, in file order.

    Mixins, abstract classes and plain SQLModel schemas are not mapped. A class
    of a single-table hierarchy has its parent's table; a computed name is None.
    """
    finder = _Finder(index)
    found = [*finder.classes(), *finder.tables()]
    return tuple(sorted(found, key=lambda item: (str(item.path), item.line, item.name)))


def find_unowned(index: MetadataIndex, mapped: tuple[MappedClass, ...]) -> list[str]:
    """`path:line name` of classes that name a table but whose base nobody recognises."""
    known = {f"{item.module}.{item.name}" for item in mapped}
    classes = index.classes.within(index.modules)
    parents = {base for info in classes for base in info.bases}
    return [
        f"{info.module.path}:{info.node.lineno} {info.node.name}"
        for info in classes
        if info.qualified not in known | parents
        and info.bases
        and isinstance(info.own("__tablename__"), ast.Constant)
        and not _is_true(info.own("__abstract__"))
    ]


class _Finder:
    def __init__(self, index: MetadataIndex) -> None:
        self.index = index
        self.resolver = index.resolver

    def classes(self) -> Iterator[MappedClass]:
        for info in self.index.classes.within(self.index.modules):
            owner = self.index.owner(info.qualified)
            if owner and self._is_mapped(info, owner):
                yield self._mapped(
                    info.node.name, info.module, info.node.lineno, self._table(info), owner
                )

    def tables(self) -> Iterator[MappedClass]:
        for module in self.resolver.naming({"Table"}):
            for name, call in _module_calls(module.tree):
                function = dotted(call.func)
                if function is None or len(call.args) < 2:
                    continue
                if library_name(self.resolver.qualify(module, function))[1:] != ("Table",):
                    continue
                owner = self.index.of_expression(module, call.args[1])
                if owner:
                    table = self._text(module, call.args[0])
                    label = name or table or "Table"
                    yield self._mapped(label, module, call.lineno, table, owner)

    def _mapped(
        self, name: str, module: Module, line: int, table: str | None, owner: str
    ) -> MappedClass:
        reference = self.index.sources[owner].reference
        return MappedClass(name, module.name, module.path, line, table, reference)

    def _is_mapped(self, info: ClassInfo, owner: str) -> bool:
        if self.index.is_mapping_base(info.qualified) or _is_true(info.own("__abstract__")):
            return False
        if self._is_sqlmodel(owner):
            return _is_true(info.keyword("table"))
        return (
            self._decorated(info)
            or self._names_table(info)
            or any(self._is_mapped(parent, owner) for parent in self._parents(info))
            or owner.startswith("advanced_alchemy.")
        )

    def _table(self, info: ClassInfo) -> str | None:
        own = info.own("__tablename__")
        if own is not None:
            return self._text(info.module, own) if isinstance(own, ast.expr) else None
        table = info.own("__table__")
        if isinstance(table, ast.Call) and table.args:
            return self._text(info.module, table.args[0])
        if isinstance(table, ast.expr):
            return self._table_variable(info.module, table)
        owner = self.index.owner(info.qualified) or ""
        computed = any(map(self._computes_name, self._ancestors(info)))
        if self._is_sqlmodel(owner):
            return None if computed else info.node.name.lower()
        mapped = [p for p in self._ancestors(info) if self._is_mapped(p, owner)]
        if mapped and not computed:
            return self._table(mapped[0])
        inherited = (self._literal_name(parent) for parent in self._ancestors(info))
        return next((name for name in inherited if name), None)

    def _literal_name(self, info: ClassInfo) -> str | None:
        own = info.own("__tablename__")
        return self._text(info.module, own) if isinstance(own, ast.expr) else None

    def _table_variable(self, module: Module, node: ast.expr) -> str | None:
        place = self.resolver.locate(self.resolver.qualify(module, dotted(node) or "?"))
        value = self.resolver.bindings(place[0]).values.get(place[1]) if place else None
        if place and isinstance(value, ast.Call) and value.args:
            return self._text(place[0], value.args[0])
        return None

    def _names_table(self, info: ClassInfo) -> bool:
        """Does the class, a mixin or its base say which table it has?"""
        chain = [info, *self._ancestors(info)]
        return any(
            c.own("__tablename__") is not None
            or c.own("__table__") is not None
            or self._computes_name(c)
            for c in chain
        )

    def _computes_name(self, info: ClassInfo) -> bool:
        if isinstance(info.own("__tablename__"), ast.stmt):
            return True
        hook = info.own("__init_subclass__")
        return isinstance(hook, ast.stmt) and "__tablename__" in ast.dump(hook)

    def _decorated(self, info: ClassInfo) -> bool:
        return any("mapped" in ast.dump(node) for node in info.node.decorator_list)

    def _is_sqlmodel(self, owner: str) -> bool:
        return self.index.sources[owner].kind == "sqlmodel"

    def _parents(self, info: ClassInfo) -> list[ClassInfo]:
        found = (self.index.classes.get(base) for base in info.bases)
        return [parent for parent in found if parent is not None and parent is not info]

    def _ancestors(self, info: ClassInfo, seen: frozenset[str] = frozenset()) -> list[ClassInfo]:
        found: list[ClassInfo] = []
        for parent in self._parents(info):
            if parent.qualified not in seen:
                seen |= {parent.qualified}
                found += [parent, *self._ancestors(parent, seen)]
        return found

    def _text(self, module: Module, node: ast.expr) -> str | None:
        """A string literal, also behind a module-level constant."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        place = self.resolver.locate(self.resolver.qualify(module, dotted(node) or "?"))
        value = self.resolver.bindings(place[0]).values.get(place[1]) if place else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
        return None


def _is_true(node: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _module_calls(tree: ast.Module) -> Iterator[tuple[str | None, ast.Call]]:
    """Calls that run at import, outside functions and classes, with the name they get."""
    named: dict[int, str] = {}
    stack: list[ast.AST] = list(reversed(tree.body))
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(getattr(node, "value", None), ast.Call):
                named[id(getattr(node, "value"))] = target.id  # noqa: B009
        if isinstance(node, ast.Call):
            yield named.get(id(node)), node
        if isinstance(node, ast.ClassDef):
            # `__table__ = Table(…)` belongs to the class; `secondary=Table(…)` does not.
            stack.extend(s for s in node.body if "__table__" not in named_targets(s))
        else:
            stack.extend(reversed(list(ast.iter_child_nodes(node))))


def named_targets(statement: ast.stmt) -> set[str]:
    """Plain names that an assignment statement binds."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}
