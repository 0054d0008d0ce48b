"""SQLite's ATTACH: a second file is a copy of it, beside the scratch database."""

# ruff: noqa: ANN401  (what the DB-API leaves open)

import hashlib
import os
import re
import shutil
import sqlite3
from typing import Any

from .hook import Fence, sqlite_path

LARGEST = 256 * 2**20
ATTACH = re.compile(
    r"(\bATTACH\s+(?:DATABASE\s+)?)('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\?\d*|[:@$]\w+)(?=\s*AS\b)",
    re.IGNORECASE,
)


def connection_class(fence: Fence, folder: str) -> type[sqlite3.Connection]:
    """For sqlite3.connect(factory=...): what it attaches is in `folder`."""

    def rewritten(statement: Any, parameters: Any) -> tuple[Any, Any]:
        if not isinstance(statement, str):
            return statement, parameters

        # A parameter becomes a literal, too: of what it is, the fence is not told.
        def literal(found: "re.Match[str]") -> str:
            nonlocal parameters
            quote, path, rest = found[2][0], None, parameters
            if quote in "'\"":
                path = found[2][1:-1].replace(quote * 2, quote)
            elif isinstance(parameters, dict):
                path = parameters.get(found[2][1:])
            elif found[2] == "?" and parameters:
                path, *rest = parameters
            if not isinstance(path, str | bytes):
                return found[0]
            parameters = rest
            return found[1] + "'" + copied(fence, folder, path).replace("'", "''") + "'"

        return ATTACH.sub(literal, statement), parameters

    class Cursor(sqlite3.Cursor):
        def execute(self, statement: str, parameters: Any = ()) -> Any:
            return super().execute(*rewritten(statement, parameters))

        def executescript(self, script: str) -> sqlite3.Cursor:
            return super().executescript(rewritten(script, ())[0])

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def execute(self, statement: str, parameters: Any = ()) -> sqlite3.Cursor:
            return super().execute(*rewritten(statement, parameters))

        def executescript(self, script: str) -> sqlite3.Cursor:
            return super().executescript(rewritten(script, ())[0])

    return Connection


def copied(fence: Fence, folder: str, given: Any) -> str:
    """The path of the copy, which the run's other processes share; what is ours stays."""
    name = os.fsdecode(given)
    path = sqlite_path(name)
    if fence.may_open(path):
        return name
    real = os.path.realpath(path)
    mark = hashlib.sha256(real.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    copy = os.path.join(folder, f"attached-{mark}-{os.path.basename(real)}")
    if not os.path.exists(copy) and os.path.isfile(real):
        if os.path.getsize(real) > LARGEST:
            return name  # which is refused, by its name
        shutil.copyfile(real, copy)
        if os.path.isfile(f"{real}-wal"):
            shutil.copyfile(f"{real}-wal", f"{copy}-wal")
    return copy
