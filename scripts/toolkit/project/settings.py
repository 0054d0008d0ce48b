"""Settings classes, the objects made of them, and which attributes hold a database URL."""

import ast
import re
from collections.abc import Iterator

from toolkit.project.facts import SettingsObject
from toolkit.project.imports import FunctionNode, Module, assignments, dotted
from toolkit.project.looks import SETTINGS, plain_settings
from toolkit.project.metadata import ClassInfo, MetadataIndex

URL_NAME = re.compile(
    r"^(?=.*(DATABASE|DB|SQL|POSTGRES|PG|MARIA))(?!.*(REDIS|MONGO|TEST|ELASTIC|CELERY)).*(URL|URI|DSN)"
    r"|^(DATABASE|DSN|DB_CONNECTION(_STRING)?|CONNECTION_STRING)$",
    re.IGNORECASE,
)


def find_settings(index: MetadataIndex) -> tuple[SettingsObject, ...]:
    """Objects that hold settings, those that know a database URL first."""
    finder = _Finder(index)
    found = list(finder.objects())
    found.sort(key=lambda item: (not item.url_expressions, item.module.count("."), item.reference))
    return tuple(found)


class _Finder:
    def __init__(self, index: MetadataIndex) -> None:
        self.index = index
        self.resolver = index.resolver
        self.settings = self._classes()

    def _classes(self) -> dict[str, ClassInfo]:
        modules = self.resolver.modules.values()
        # Without bases a class says nothing but its name.
        plain = self.resolver.having(plain_settings)
        named = {name for one in modules for name, _ in one.classes if SETTINGS.search(name)}
        derived = self.resolver.derived({"BaseSettings", *named})
        wanted = [
            one for one in modules if one in plain or any(n in derived for n, _ in one.classes)
        ]
        found = self.index.classes.within(wanted)
        return {info.qualified: info for info in found if self._is_settings(info)}

    def _modules(self) -> list[Module]:
        """Those that may make such an object, by the class or by a function that gives one."""
        names = {info.node.name for info in self.settings.values()}
        makers = {
            name
            for module in self.resolver.naming(names)
            for name, function in self.resolver.bindings(module).functions.items()
            if self._class_of_function(module, function)
        }
        return self.resolver.naming(names | makers)

    def objects(self) -> Iterator[SettingsObject]:
        used: set[str] = set()
        for module in self._modules():
            bound = self.resolver.bindings(module)
            for name, value in bound.values.items():
                info = self._class_of_value(module, name, value)
                if info:
                    used.add(info.qualified)
                    yield self._object(module, name, value.lineno, info)
            for name, function in bound.functions.items():
                info = self._class_of_function(module, function)
                if info and not _required(function):
                    used.add(info.qualified)
                    yield self._object(module, f"{name}()", function.lineno, info)
        families = {name for qualified in used for name in self._family(qualified)}
        for qualified, info in self.settings.items():
            if not families & self._family(qualified) and not self._is_parent(qualified):
                plain = not self._is_base_settings(qualified)
                text = info.node.name if plain else f"{info.node.name}()"
                made = self._object(info.module, text, info.node.lineno, info)
                if made.url_expressions:
                    yield made

    def _object(self, module: Module, text: str, line: int, info: ClassInfo) -> SettingsObject:
        urls = tuple(f"{text}{suffix}" for suffix in self._url_suffixes(info))
        return SettingsObject(module.name, text, info.qualified, module.path, line, urls)

    def _is_settings(self, info: ClassInfo) -> bool:
        if self._is_base_settings(info.qualified):
            return True
        named = SETTINGS.search(info.node.name)
        return bool(named) and any(True for _ in self._url_members(info))

    def _is_base_settings(self, qualified: str, depth: int = 0) -> bool:
        top, last = qualified.partition(".")[0], qualified.rpartition(".")[2]
        if top in {"pydantic", "pydantic_settings"} and last == "BaseSettings":
            return True
        info = self.index.classes.get(qualified)
        return (
            depth < 20
            and info is not None
            and any(self._is_base_settings(base, depth + 1) for base in info.bases)
        )

    def _family(self, qualified: str) -> set[str]:
        """A settings class with those that it extends: one instance speaks for all."""
        info = self.settings.get(qualified)
        if info is None:
            return set()
        return {qualified}.union(*(self._family(base) for base in info.bases if base != qualified))

    def _is_parent(self, qualified: str) -> bool:
        return any(qualified in info.bases for info in self.settings.values())

    def _class_of_value(self, module: Module, name: str, value: ast.expr) -> ClassInfo | None:
        annotation = self.resolver.bindings(module).annotations.get(name)
        named = self._named_class(module, annotation)
        if named:
            return named
        if not isinstance(value, ast.Call):
            return None
        info = self._named_class(module, value.func)
        if info:
            return info
        place = self.resolver.locate(self.resolver.qualify(module, dotted(value.func) or "?"))
        function = self.resolver.bindings(place[0]).functions.get(place[1]) if place else None
        return self._class_of_function(place[0], function) if place and function else None

    def _class_of_function(self, module: Module, function: FunctionNode) -> ClassInfo | None:
        info = self._named_class(module, function.returns)
        if info:
            return info
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
                info = self._named_class(module, node.value.func)
                if info:
                    return info
        return None

    def _named_class(self, module: Module, node: ast.expr | None) -> ClassInfo | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text: str | None = node.value
        else:
            text = dotted(node) if node is not None else None
        if not text or not text.replace(".", "").isidentifier():
            return None
        return self.settings.get(self.resolver.qualify(module, text))

    def _url_suffixes(self, info: ClassInfo) -> Iterator[str]:
        """`.database_url`, `.dsn()`, `.url.get_secret_value()`, in order of promise."""
        members = sorted(self._url_members(info), key=lambda item: _promise(item[0]))
        for name, node in members:
            if isinstance(node, ast.FunctionDef):
                attribute = any("property" in ast.dump(d) for d in node.decorator_list)
                if attribute or not _required(node, method=True):
                    yield f".{name}" + ("" if attribute else "()")
            else:
                secret = node is not None and "SecretStr" in ast.dump(node)
                yield f".{name}" + (".get_secret_value()" if secret else "")

    def _url_members(
        self, info: ClassInfo
    ) -> Iterator[tuple[str, ast.expr | ast.FunctionDef | None]]:
        seen: set[str] = set()
        chain = [info]
        for current in chain:
            chain += [
                p for b in current.bases if (p := self.index.classes.get(b)) and p not in chain
            ]
            for name, _, annotation in assignments(current.node.body):
                group = self._is_project_class(current.module, annotation)
                if URL_NAME.search(name) and name not in seen and not group:
                    seen.add(name)
                    yield name, annotation
            for statement in current.node.body:
                if not isinstance(statement, ast.FunctionDef) or statement.name in seen:
                    continue
                validates = any("validator" in ast.dump(d) for d in statement.decorator_list)
                if URL_NAME.search(statement.name) and not validates:
                    seen.add(statement.name)
                    yield statement.name, statement

    def _is_project_class(self, module: Module, annotation: ast.expr | None) -> bool:
        """`database: DatabaseSettings` is a group of settings, not a URL."""
        text = dotted(annotation) if annotation is not None else None
        return bool(text) and self.resolver.qualify(module, text or "") in self.index.classes


def _promise(name: str) -> tuple[bool, bool, bool]:
    upper = name.upper()
    return "SYNC" in upper and "ASYNC" not in upper, "READ" in upper, "ASYNC" not in upper


def _required(function: FunctionNode, *, method: bool = False) -> bool:
    """Does a call of it need arguments?"""
    arguments = function.args
    positional = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    keywords = any(default is None for default in arguments.kw_defaults)
    return keywords or positional > (1 if method else 0)
