"""The same way down for SQLite, which has no server: the file, its locks, its pool."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.pool import NullPool

from toolkit.connection import timing
from toolkit.connection.address import Target
from toolkit.connection.connecting import make_engine
from toolkit.connection.expected import Expected
from toolkit.connection.failures import words_of
from toolkit.connection.ladder import revision_step, within
from toolkit.connection.load import judge_pool, run_load
from toolkit.connection.revision import read_history
from toolkit.connection.sqlite_file import (
    file_step,
    find_file,
    is_memory,
    look_at,
    memory_step,
    require_unlocked,
    require_writable,
)
from toolkit.connection.steps import Layer, Step, ok, stop
from toolkit.database.sqlite_reading import Unreadable, readable, with_uri
from toolkit.project.commands import alembic_line
from toolkit.report.quoting import word

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

ONE = "SELECT 1 + 0 * :n /* test-connection */"
CONNECTIONS = 5
LAYERS = (
    *(Layer.SOURCE, Layer.DRIVER, Layer.URL, Layer.DATABASE, Layer.SERVER, Layer.LATENCY),
    *(Layer.POOL, Layer.REVISION),
)


async def descend(target: Target, expected: Expected, add: Callable[[Step], None]) -> None:
    """Raises Broken at the first layer that is broken."""
    query = {name: str(value) for name, value in target.url.query.items()}
    if is_memory(target.url.database, query):
        add(memory_step())
        return
    path, read_only = find_file(str(target.url.database), expected.folder)
    read_only = read_only or query.get("mode") == "ro" or "immutable" in query
    setups = expected.project.alembic if expected.project else ()
    upgrade = None
    if expected.project and len(setups) == 1:
        upgrade = alembic_line(expected.project, setups[0], ["upgrade", "head"])
    file = look_at(path, upgrade)
    add(file_step(file))
    if not expected.read_only:
        if read_only:
            stop(
                Layer.SERVER,
                "The URL opens the file read-only: every write fails.",
                "Take mode=ro or immutable=1 out of the URL (--read-only if it is meant).",
            )
        require_writable(path)
    require_unlocked(file, expected.left())
    if file.empty:
        # SQLite has nothing to read in it, and would write the first page.
        add(ok(Layer.SERVER, f"SQLite {sqlite3.sqlite_version}"))
        return
    try:
        with readable(file.path) as uri:
            reader = replace(target, url=with_uri(target.url, uri))
            await look_inside(reader, expected, file.path, add)
    except Unreadable as error:
        stop(Layer.SERVER, f"{error}.", "Run it again, with TMPDIR where there is room.")


async def look_inside(
    target: Target, expected: Expected, path: Path, add: Callable[[Step], None]
) -> None:
    """`path` is the file, of which `target` may be a copy."""
    engine = make_engine(target, own=True, poolclass=NullPool)
    try:
        try:
            connection = await engine.connect()
        except Exception as error:
            not_readable(error, path)
        try:
            add(await within(Layer.SERVER, server_step(connection, path), expected.left()))
            asked = await timing.queries(connection, expected.left())
            add(
                ok(
                    Layer.LATENCY,
                    timing.worded("SELECT 1", asked),
                    query_ms=timing.summary(asked),
                )
            )
            many = min(CONNECTIONS, expected.settings.capacity, expected.load)
            load = await run_load(target, expected, many, ONE, expected.left())
            add(judge_pool(load, expected))
            add(await revision_step(connection, read_history(expected.project), expected))
        finally:
            await connection.close()
    finally:
        await engine.dispose()


async def server_step(connection: "AsyncConnection", path: Path) -> Step:
    facts: dict[str, Any] = {}
    try:
        for name in ("encoding", "journal_mode", "user_version"):
            facts[name] = (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
        tables = "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
        facts["tables"] = (await connection.execute(text(tables))).scalar_one()
    except Exception as error:
        not_readable(error, path)
    await connection.rollback()
    return ok(
        Layer.SERVER,
        f"SQLite {sqlite3.sqlite_version}, {facts['encoding']}, journal {facts['journal_mode']},"
        f" {facts['tables']} tables",
        **facts,
    )


def not_readable(error: Exception, path: Path) -> None:
    """Raise Broken for what SQLite says of a file that looked like a database."""
    said = words_of(error)
    if "locked" in said:
        stop(
            Layer.SERVER,
            "The file is locked by another program.",
            f"fuser -v {word(path)}   # end the program's transaction",
            [said],
        )
    stop(
        Layer.DATABASE,
        "The file is not a database that SQLite can read: it is damaged or cut off.",
        f"sqlite3 {word(path)} 'PRAGMA integrity_check'   # then restore it from a backup",
        [said],
    )
