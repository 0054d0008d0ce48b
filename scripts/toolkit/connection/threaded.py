"""The engine of a synchronous application, with as much of an asynchronous one's face as the
layers need: each call is made in a thread, so that time limits hold (#12).
"""

# ruff: noqa: ANN401  (statements and results of any kind)

from collections.abc import Callable
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Engine, Result
from sqlalchemy.pool import Pool

from toolkit.connection.waiting import in_thread

T = TypeVar("T")


class ThreadedEngine:
    """As AsyncEngine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def pool(self) -> Pool:
        return self.engine.pool

    async def connect(self) -> "ThreadedConnection":
        return ThreadedConnection(await in_thread(self.engine.connect, None))

    async def dispose(self) -> None:
        await in_thread(self.engine.dispose, None)


class ThreadedConnection:
    """As AsyncConnection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def run_sync(self, work: Callable[[Connection], T]) -> T:
        return await in_thread(lambda: work(self.connection), None)

    async def execute(self, statement: Any, parameters: Any = None) -> Result[Any]:
        return await self.run_sync(lambda it: whole(it.execute(statement, parameters)))

    async def exec_driver_sql(self, statement: str) -> Result[Any]:
        return await self.run_sync(lambda it: whole(it.exec_driver_sql(statement)))

    async def execution_options(self, **options: Any) -> Self:
        await self.run_sync(lambda it: it.execution_options(**options))
        return self

    async def get_raw_connection(self) -> Any:
        return await self.run_sync(lambda it: it.connection)

    async def commit(self) -> None:
        await self.run_sync(lambda it: it.commit())

    async def rollback(self) -> None:
        await self.run_sync(lambda it: it.rollback())

    async def close(self) -> None:
        await self.run_sync(lambda it: it.close())


def whole(result: Result[Any]) -> Result[Any]:
    """With all its rows, which are else fetched where they are looked at."""
    return result.freeze()() if getattr(result, "returns_rows", True) else result
