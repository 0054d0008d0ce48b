"""The drivers' own ways to connect: closed, but for the guard.

A driver that connects in C is not seen by Python's audit hook; of one that does not, the
name of the server is better than the number that the hook sees.
"""

# ruff: noqa: ANN401  (functions of many drivers)

import importlib.abc
import importlib.machinery
import re
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from .hook import Fence, sqlite_path

# Where all ways of a driver meet: module -> function, or class and method.
GATES = {
    "asyncpg.connect_utils": ("_connect",),
    "psycopg.generators": ("connect",),
    "psycopg2": ("_connect",),
    "pymysql.connections": ("Connection.connect",),
    "aiomysql.connection": ("Connection._connect",),
    "aiosqlite": ("connect",),
    "asyncmy": ("connect",),
    "MySQLdb.connections": ("Connection.__init__",),
    "mariadb": ("connect",),
}


class Gates(importlib.abc.MetaPathFinder):
    """Closes what is imported already, and what will be, as soon as it is."""

    def __init__(self, fence: Fence) -> None:
        self.fence = fence

    def install(self) -> None:
        for name in GATES:
            if name in sys.modules:
                self.close(sys.modules[name])
        sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in GATES:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                run = spec.loader.exec_module
                spec.loader.exec_module = self.closing(run)  # type: ignore[assignment,method-assign]
                return spec
        return None

    def closing(self, run: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
        def run_and_close(module: ModuleType) -> None:
            run(module)
            self.close(module)

        return run_and_close

    def close(self, module: ModuleType) -> None:
        for way in GATES[module.__name__]:
            owner: Any = module
            *outer, name = way.split(".")
            for one in outer:
                owner = getattr(owner, one, None)
            function = getattr(owner, name, None)
            if function is not None:
                setattr(owner, name, self.gate(module.__name__.split(".")[0], function))

    def gate(self, driver: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def connect(*arguments: Any, **options: Any) -> Any:
            ours = driver == "aiosqlite" and self.fence.may_open(file_of(arguments, options))
            if not self.fence.is_opening and not ours:
                server = server_of(arguments, options)
                raise self.fence.database(f"connect{server} with {driver}, past SQLAlchemy")
            return function(*arguments, **options)

        return connect


def file_of(arguments: Sequence[Any], options: dict[str, Any]) -> str:
    return sqlite_path(options["database"] if "database" in options else arguments[0])


def server_of(arguments: Sequence[Any], options: dict[str, Any]) -> str:
    """The server's name where it is easily told, never a password."""
    host = options.get("host") or getattr(next(iter(arguments), None), "host", None)
    if host is None:
        texts = [one for one in (*arguments, options.get("dsn")) if isinstance(one, str)]
        for text in texts:
            found = re.search(r"\bhost=(\S+)|://(?:[^/?]*@)?([\w.:-]+)", text)
            host = host or (found and (found[1] or found[2]))
    return f" to {host}" if isinstance(host, str) and host else ""
