"""Run a unit of work again after a deadlock or a lost connection. Copy it if you need that.

```python
from sqlalchemy import String, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from .base_model import Base
from .retries import run_in_transaction
from .session_manager import DatabaseConfig, DatabaseSessionManager


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)


async def main() -> None:
    async with DatabaseSessionManager(DatabaseConfig.from_env()) as database:
        async with database.engine.begin() as connection:  # in a project: its migrations
            await connection.run_sync(Base.metadata.create_all)

        async def rename(session: AsyncSession) -> None:
            customer = await session.scalar(select(Customer).where(Customer.id == 1))
            if customer is not None:
                customer.email = "new@example.com"

        await run_in_transaction(database, rename)
```

It costs nothing while nothing fails. It needs SQLAlchemy only: in place of the manager, anything
does whose `session()` gives a new AsyncSession.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

logger = logging.getLogger(__name__)
T = TypeVar("T")


class CommitOutcomeUnknownError(RuntimeError):
    """The connection was lost during COMMIT: the work may have been saved, or not."""


class OpensSessions(Protocol):
    """A DatabaseSessionManager, or your own."""

    def session(self) -> AsyncSession: ...


_SERIALIZATION = {"40001", "40P01"}  # PostgreSQL: serialization failure, deadlock
_SERVER_GOES = {"57P01", "57P02", "57P03"}  # shut down, crashed, not ready yet
_MYSQL_CONFLICT = {1213, 1205, 1020}  # deadlock, lock wait timeout, record has changed
_MYSQL_LOST = {2002, 2003, 2006, 2013}
_SQLITE_BUSY = {5, 6}  # busy, locked


async def run_in_transaction(
    manager: OpensSessions,
    work: Callable[[AsyncSession], Awaitable[T]],
    *,
    attempts: int = 4,
    base_delay: float = 0.05,
    max_delay: float = 1.0,
    isolation_level: str | None = None,
    repeatable: bool = False,
) -> T:
    """Run `work(session)` in a transaction of its own, commit, and return its result.

    The whole of `work` runs again, `attempts` times at most and after random pauses (seconds), on
    a serialization failure, a deadlock, MySQL's lock timeout, a busy SQLite or a lost connection.
    So it must load what it changes, and touch nothing but its session. Other errors,
    IntegrityError among them, are raised at once.

    A connection lost during COMMIT leaves open whether the work was saved. That raises
    CommitOutcomeUnknownError, unless `repeatable` says that saving it twice does no harm (because
    of an idempotency key, say).

    It takes the manager, never a session: a transaction under way cannot start again from its
    middle. Do not call it where the caller holds locks on the same rows: it would wait for them.
    """
    if isinstance(manager, AsyncSession):
        raise TypeError("run_in_transaction needs the manager: it opens its own session")
    for attempt in range(1, attempts + 1):
        try:
            return await _attempt(manager, work, isolation_level, repeatable)
        except DBAPIError as error:
            if attempt == attempts or not _is_transient(error):
                raise
            logger.info("attempt %d of a transaction: %s", attempt, type(error).__name__)
        ceiling = min(max_delay, base_delay * 2 ** (attempt - 1))
        await asyncio.sleep(random.uniform(0, ceiling))  # it hides nothing
    raise ValueError("attempts must be at least 1")


async def _attempt(
    manager: OpensSessions,
    work: Callable[[AsyncSession], Awaitable[T]],
    isolation_level: str | None,
    repeatable: bool,
) -> T:
    options: dict[str, Any] = {}
    async with manager.session() as session:
        # SQLite is always serializable, and the option would undo its `isolation_level = None`.
        if isolation_level and session.get_bind().dialect.name != "sqlite":
            options = {"isolation_level": isolation_level}
        try:
            # Before `work`, whose own ConnectionErrors are not the database's.
            await session.connection(execution_options=options)
        except Exception as error:
            # SQLAlchemy 2.1 makes both an OperationalError itself.
            if isinstance(error, OSError) or getattr(error, "sqlstate", None) in _SERVER_GOES:
                raise OperationalError(None, None, error, connection_invalidated=True) from error
            raise
        result = await work(session)
        await session.flush()
        try:
            await session.commit()
        except DBAPIError as error:
            if repeatable or not _is_lost(error):
                raise
            raise CommitOutcomeUnknownError(
                "the connection was lost during COMMIT: the work may have been saved, or not"
            ) from error
        return result


def _is_transient(error: DBAPIError) -> bool:
    return (
        _is_lost(error)
        or getattr(error.orig, "sqlstate", None) in _SERIALIZATION
        or _mysql_code(error) in _MYSQL_CONFLICT
        # A deadlock in begin_nested() has rolled back all, and the savepoint with it.
        or (_mysql_code(error) == 1305 and "SAVEPOINT" in (error.statement or ""))
        # The low byte is the kind; the rest tells one sort of busy from another.
        or getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_BUSY
    )


def _is_lost(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or ""
    return (
        error.connection_invalidated
        or state in _SERVER_GOES
        or state.startswith("08")
        or _mysql_code(error) in _MYSQL_LOST
        or isinstance(error.orig, OSError)
        or isinstance(getattr(error.orig, "__cause__", None), OSError)
    )


def _mysql_code(error: DBAPIError) -> object:
    return next(iter(getattr(error.orig, "args", ())), None)
