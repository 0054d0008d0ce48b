"""Is an application synchronous throughout? Then nobody tells it to become asynchronous (#12)."""

import ast
from collections.abc import Iterator

from toolkit.project.imports import Module, Resolver

_ASYNC = ("sqlalchemy.ext.asyncio", "sqlmodel.ext.asyncio", "databases.")
_ASYNC_WORDS = ("sqlalchemy.ext", "sqlmodel.ext", "databases", "advanced_alchemy")
_HARMLESS = {"sqlalchemy.ext.asyncio.AsyncAttrs"}
_MAKERS = {"create_engine", "engine_from_config", "sessionmaker", "scoped_session", "Session"}
_LIBRARIES = {"sqlalchemy", "sqlmodel"}


def is_synchronous(resolver: Resolver) -> bool:
    """Does the source use synchronous engines or sessions, and no asynchronous ones?"""
    for module in resolver.having(_may_be_async):
        if any(map(_is_async, _used(module, resolver))):
            return False
    makers = resolver.naming(_MAKERS)
    return any(_is_sync(name) for module in makers for name in _used(module, resolver))


def _may_be_async(text: str) -> bool:
    return any(word in text for word in _ASYNC_WORDS)


def _used(module: Module, resolver: Resolver) -> Iterator[str]:
    """Full names of what it imports, and of what it reaches through a library's name."""
    imports = resolver.bindings(module).imports
    yield from imports.values()
    libraries = {name: full for name, full in imports.items() if full.split(".")[0] in _LIBRARIES}
    if not libraries:
        return
    for node in module.nodes:
        head = node.value if isinstance(node, ast.Attribute) else None
        if isinstance(node, ast.Attribute) and isinstance(head, ast.Name) and head.id in libraries:
            yield f"{libraries[head.id]}.{node.attr}"


def _is_async(name: str) -> bool:
    if name in _HARMLESS:
        return False
    return name.startswith(_ASYNC) or (name.startswith("advanced_alchemy.") and "Async" in name)


def _is_sync(name: str) -> bool:
    return name.partition(".")[0] in _LIBRARIES and name.rpartition(".")[2] in _MAKERS
