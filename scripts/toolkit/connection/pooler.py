"""Is somebody between the driver and the server, and does the driver suit it?

The server tells a client its process at login (PostgreSQL's BackendKeyData, MySQL's thread
number). A pooler tells a number of its own, so that it differs from what a query says.
"""

import asyncio
import datetime
import importlib.metadata
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from toolkit.connection.address import Target
from toolkit.connection.connecting import close, make_engine
from toolkit.connection.load import Load, described
from toolkit.connection.steps import Layer, Status, Step, Verdict, judged, ok, stop
from toolkit.report.quoting import identifier

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

MINE = "%/* test-connection */%"
HOLD_SECONDS = 0.1
CLEANING_SECONDS = 4.0
LEFT = """
SELECT name FROM pg_prepared_statements WHERE statement LIKE :mine
OR prepare_time >= :since AND lower(statement) IN (
  'select pg_catalog.version()', 'show standard_conforming_strings',
  'show transaction isolation level', 'select current_schema()')
"""


async def pid_of_login(connection: "AsyncConnection") -> int | None:
    """The number that the other side gave at login; None where the driver does not tell."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    if hasattr(driver, "get_server_pid"):
        return int(driver.get_server_pid())
    if hasattr(driver, "info"):  # psycopg
        return int(driver.info.backend_pid)
    thread = getattr(driver, "server_thread_id", None)
    return int(thread[0]) if thread else None


def between(facts: Mapping[str, Any], given: int | None) -> str | None:
    """Why there is a pooler, in words; None if there is none."""
    said = str(facts.get("comment", ""))
    named = re.search(r"(?i)proxysql|maxscale|vitess", f"{said} {facts['version']}")
    if named:
        return f"the server calls itself {named[0]}"
    if given is not None and given != facts["pid"]:
        return f"at login the process was {given}, a query says {facts['pid']}"
    return None


def judge_pooler(target: Target, why: str, load: Load) -> Step:
    """Raises Broken where the driver's prepared statements do not survive it."""
    lines = [why]
    shared = {error for error in load.failures if PREPARED.search(error)}
    failed = sum(load.failures[error] for error in shared)
    data: dict[str, Any] = {
        "between": True,
        "mode": "transaction" if load.moves else "session",
        "failed": failed,
    }
    if failed:
        data["mode"] = "transaction"
        stop(
            Layer.POOLER,
            f"A pooler in transaction mode is in between, and {failed} of {load.tasks} tasks"
            f" failed: {target.driver} keeps prepared statements, which another client's"
            " connection has or has not.",
            cure(target),
            [*lines, *described(load.failures)],
            **data,
        )
    if target.kind == "mysql":
        message = "A proxy is in between: SET, GET_LOCK and temporary tables may not last."
        remedy = "Set what a session needs in each transaction."
        return judged(
            Layer.POOLER, message, [Verdict(Status.WARNING, message, remedy)], lines, **data
        )
    if not load.moves:
        return ok(Layer.POOLER, "a pooler in session mode is in between", lines, **data)
    lines.append("SET, session advisory locks, LISTEN and WITH HOLD do not last a transaction")
    lines.append("alembic upgrade wants an address that leads to PostgreSQL itself")
    return ok(
        Layer.POOLER,
        f"a pooler in transaction mode is in between, and {target.driver} is set for it"
        f" ({load.tasks} tasks, no failure)",
        lines,
        **data,
    )


PREPARED = re.compile(
    r"(?i)prepared statement|DuplicatePrepared|InvalidSQLStatementName|cached statement"
    r"|bind message|ProtocolViolation|InvalidCachedStatement"
)


def cure(target: Target) -> str:
    if target.driver == "psycopg":
        return 'create_async_engine(..., connect_args={"prepare_threshold": None})'
    version = tuple(int(n) for n in re.findall(r"\d+", importlib.metadata.version("asyncpg"))[:2])
    if version >= (0, 31):
        return 'create_async_engine(..., connect_args={"statement_cache_size": 0})'
    return (
        'create_async_engine(..., connect_args={"statement_cache_size": 0,'
        ' "prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda:'
        ' f"s{uuid4()}"}), or better asyncpg 0.31'
    )


async def forget_statements(target: Target, connections: int, since: datetime.datetime) -> None:
    """Take away the statements that the load left on the pooler's connections.

    Another client would meet them. Only those with our own mark, and what SQLAlchemy asks at
    its first connect if it was asked `since` then. As many transactions as the load had
    connections are open at once, so that they meet the same of the server's processes.
    """
    engine = make_engine(target, own=True, pool_size=connections, max_overflow=0)
    try:
        async with asyncio.timeout(CLEANING_SECONDS):
            await asyncio.gather(*(clean(engine, since) for _ in range(connections)))
    except (SQLAlchemyError, OSError, TimeoutError):
        pass  # busy with others' work, which is not to wait for this
    finally:
        await engine.dispose()


async def clean(engine: "AsyncEngine", since: datetime.datetime) -> None:
    connection = await engine.connect()
    try:
        rows = await connection.execute(text(LEFT), {"mine": MINE, "since": since})
        for name in list(rows.scalars()):
            await connection.exec_driver_sql(f"DEALLOCATE {identifier(name)}")
        await asyncio.sleep(HOLD_SECONDS)
    finally:
        await close(connection)
