"""Who owns a MetaData: declarative bases, registries, SQLModel, Core MetaData."""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, replace

from toolkit.project.facts import MetadataKind, MetadataSource
from toolkit.project.imports import Module, Resolver, assignments, dotted
from toolkit.project.looks import tables

_LIBRARIES = {"sqlalchemy", "sqlmodel", "advanced_alchemy"}
_DECLARATIVE = {"DeclarativeBase", "DeclarativeBaseNoMeta"}
_MAKERS = {"registry", "MetaData", "SQLModel", "DeclarativeMeta", "as_declarative"}
_FACTORIES = {"declarative_base", "automap_base", "generate_base", "dynamic_declarative_base"}


@dataclass(frozen=True)
class ClassInfo:
    """A class statement with its bases under their full names."""

    qualified: str
    module: Module
    node: ast.ClassDef
    bases: tuple[str, ...]

    def own(self, name: str) -> ast.expr | ast.stmt | None:
        """What the class body binds `name` to: a value, or a function."""
        for target, value, annotation in assignments(self.node.body):
            if target == name:
                return value or annotation
        for statement in self.node.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == name:
                return statement
        return None

    def keyword(self, name: str) -> ast.expr | None:
        """A keyword of the class statement, such as `table=True`."""
        return next((k.value for k in self.node.keywords if k.arg == name), None)


def library_name(qualified: str) -> tuple[str, str]:
    """`("sqlalchemy", "MetaData")` for any spelling; `("", …)` for other packages."""
    top, last = qualified.partition(".")[0], qualified.rpartition(".")[2]
    return (top if top in _LIBRARIES else ""), last


class Classes:
    """The classes of the project by their full names, looked up where they are asked for (#12)."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._known: dict[str, ClassInfo | None] = {}

    def get(self, qualified: str) -> ClassInfo | None:
        if qualified not in self._known:
            place = self.resolver.locate(qualified)
            found = self._read(place[0], place[1]) if place and not place[2] else None
            self._known[qualified] = found
        return self._known[qualified]

    def __contains__(self, qualified: str) -> bool:
        return self.get(qualified) is not None

    def within(self, modules: Iterable[Module]) -> list[ClassInfo]:
        """All classes of these modules, in order."""
        names = (f"{m.name}.{name}" for m in modules for name in self.resolver.bindings(m).classes)
        return [info for info in map(self.get, names) if info is not None]

    def _read(self, module: Module, name: str) -> ClassInfo | None:
        node = self.resolver.bindings(module).classes.get(name)
        if node is None:
            return None
        # `Generic[T]`-style bases count as the class that is subscripted.
        plain = [b.value if isinstance(b, ast.Subscript) else b for b in node.bases]
        bases = [self.resolver.qualify(module, text) for text in map(dotted, plain) if text]
        return ClassInfo(f"{module.name}.{name}", module, node, tuple(bases))


def with_tables(resolver: Resolver) -> list[Module]:
    """The modules that may define a MetaData, a base, or a class that is made of one."""
    makers = resolver.other_names(_DECLARATIVE | _FACTORIES | _MAKERS)
    found = {
        module.name: module
        for module in resolver.modules.values()
        if tables(module.text) or not makers.isdisjoint(module.words)
    }
    # A base may have any name: those that are made in these files, and all that is made of them.
    names = [name for one in found.values() for name in resolver.bindings(one).values]
    bases = [name for one in found.values() for name in resolver.bindings(one).classes]
    derived = resolver.derived([*names, *bases])
    for module in resolver.modules.values():
        if any(name in derived for name, _ in module.classes):
            found[module.name] = module
    return [module for module in resolver.modules.values() if module.name in found]


class MetadataIndex:
    """All metadata sources of a project, and which of them a class or name belongs to."""

    def __init__(
        self, resolver: Resolver, extra_base: str | None = None, of_libraries: Iterable[str] = ()
    ) -> None:
        self.resolver = resolver
        self.classes = Classes(resolver)
        self.modules = with_tables(resolver)
        self.sources: dict[str, MetadataSource] = {}
        self._same: dict[str, str] = {}
        self._find_values()
        self._find_classes()
        if extra_base and extra_base not in self.sources:
            self._add_named(extra_base)
        for qualified in of_libraries:
            if self.owner(qualified) is None:
                module, _, name = qualified.rpartition(".")
                self._add_library(module, name, "declarative")
        self._join()

    def owner(self, qualified: str, seen: frozenset[str] = frozenset()) -> str | None:
        """Full name of the source that a class (by its full name) maps into."""
        if qualified in self.sources:
            return self._same.get(qualified, qualified)
        info = self.classes.get(qualified)
        if info is None:
            return self._library_owner(qualified)
        if qualified in seen:
            return None
        registry = self._registry_of(info)
        if registry:
            return registry
        owners = (self.owner(base, seen | {qualified}) for base in info.bases)
        return next((owner for owner in owners if owner), None)

    def of_expression(self, module: Module, node: ast.expr | None) -> str | None:
        """The source that an expression for a MetaData or registry denotes."""
        text = dotted(node) if node is not None else None
        if text is None:
            return None
        qualified = self.resolver.qualify(module, text)
        for name in (qualified, qualified.removesuffix(".metadata")):
            owner = self.owner(name)
            if owner:
                return owner
        return None

    def is_mapping_base(self, qualified: str) -> bool:
        """Is this the root of a declarative hierarchy (and no table itself)?"""
        return qualified in self.sources

    def _find_values(self) -> None:
        for module in self.modules:
            for name, value in self.resolver.bindings(module).values.items():
                if not isinstance(value, ast.Call):
                    continue
                kind = self._value_kind(module, value)
                if kind:
                    self._add(module, name, kind, value.lineno)

    def _value_kind(self, module: Module, call: ast.Call) -> MetadataKind | None:
        text = dotted(call.func)
        if text is None:  # `registry().generate_base()`
            attribute = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            return "declarative_base" if attribute == "generate_base" else None
        library, name = library_name(self.resolver.qualify(module, text))
        if name == "generate_base":
            return "declarative_base"
        if not library:
            return None
        if name == "MetaData":
            return "core"
        return "declarative_base" if name in _FACTORIES or name == "registry" else None

    def _find_classes(self) -> None:
        for info in self.classes.within(self.modules):
            kind = self._class_kind(info)
            if kind:
                self._add(info.module, info.node.name, kind, info.node.lineno)

    def _class_kind(self, info: ClassInfo) -> MetadataKind | None:
        names = [library_name(base) for base in info.bases]
        if any(library and name in _DECLARATIVE for library, name in names):
            return (
                "dataclass"
                if self._inherits(info.qualified, "MappedAsDataclass")
                else "declarative"
            )
        meta = dotted(info.keyword("metaclass") or ast.Constant(None))
        if meta and meta.split(".")[-1] == "DeclarativeMeta":
            return "declarative_base"
        if any(
            (dotted(_called(d)) or "").split(".")[-1] == "as_declarative"
            for d in info.node.decorator_list
        ):
            return "declarative_base"
        fresh = isinstance(info.own("metadata"), ast.Call) or info.keyword("registry")
        owner = next((o for o in map(self._library_owner, info.bases) if o), None)
        if fresh and (owner or any(base in self.sources for base in info.bases)):
            return "sqlmodel" if owner == "sqlmodel.SQLModel" else "declarative"
        return None

    def _inherits(self, qualified: str, name: str, depth: int = 0) -> bool:
        if qualified.rsplit(".", 1)[-1] == name:
            return True
        info = self.classes.get(qualified)
        return (
            depth < 20
            and info is not None
            and any(self._inherits(base, name, depth + 1) for base in info.bases)
        )

    def _library_owner(self, qualified: str) -> str | None:
        library, name = library_name(qualified)
        if library == "sqlmodel" and name in {"SQLModel", "metadata"}:
            return self._add_library("sqlmodel", "SQLModel", "sqlmodel")
        if qualified.startswith("advanced_alchemy.") and name.endswith("Base"):
            # All its ready-made bases share this one registry.
            return self._add_library("advanced_alchemy.base", "orm_registry", "declarative")
        return None

    def _registry_of(self, info: ClassInfo) -> str | None:
        """The registry of a `@reg.mapped` or `@reg.mapped_as_dataclass` class."""
        for decorator in info.node.decorator_list:
            function = _called(decorator)
            if isinstance(function, ast.Attribute) and function.attr.startswith("mapped"):
                return self.of_expression(info.module, function.value)
            if isinstance(decorator, ast.Call) and decorator.args:
                name = library_name(self.resolver.qualify(info.module, dotted(function) or "?"))
                if name[0] and name[1].startswith("mapped_as"):
                    return self.of_expression(info.module, decorator.args[0])
        return None

    def _join(self) -> None:
        """Two names for one MetaData (`metadata = shared` in a Base) are one source."""
        order = sorted(self.sources.items(), key=lambda item: (item[1].kind == "core", item[0]))
        for qualified, source in order:
            module = self.resolver.modules.get(source.module)
            if module is None:
                continue
            for node in self._metadata_arguments(module, qualified, source.name):
                other = self.of_expression(module, node)
                if other and other != qualified:
                    chosen = self._same.get(other, qualified)
                    self._same[other] = self._same[qualified] = chosen

    def _metadata_arguments(self, module: Module, qualified: str, name: str) -> list[ast.expr]:
        info = self.classes.get(qualified)
        if info is not None:
            nodes = [info.own("metadata"), info.own("registry"), info.keyword("registry")]
            return [node for node in nodes if isinstance(node, ast.expr)]
        value = self.resolver.bindings(module).values.get(name)
        if not isinstance(value, ast.Call):
            return []
        found = [k.value for k in value.keywords if k.arg == "metadata"]
        if isinstance(value.func, ast.Attribute) and value.func.attr == "generate_base":
            found.append(value.func.value)
        return found

    def _add(self, module: Module, name: str, kind: MetadataKind, line: int) -> None:
        source = MetadataSource(kind, module.name, name, module.path, line)
        self.sources[f"{module.name}.{name}"] = source

    def _add_library(self, module: str, name: str, kind: MetadataKind) -> str:
        qualified = f"{module}.{name}"
        self.sources.setdefault(qualified, MetadataSource(kind, module, name, None, 0))
        return qualified

    def _add_named(self, qualified: str) -> None:
        """A base that only its owner recognises, given with `--base`."""
        place = self.resolver.locate(qualified)
        if place is not None and not place[2]:
            self._add(place[0], place[1], "declarative_base", 0)

    def canonical(self) -> list[MetadataSource]:
        """Each distinct source once."""
        names = {self._same.get(name, name) for name in self.sources}
        return [replace(self.sources[name]) for name in sorted(names)]


def _called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node
