"""Answers for the probes of an orchestrator. Copy it if something probes your application.

```python
from fastapi import FastAPI, Response
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from .base_model import Base
from .health import check_live, check_ready
from .session_manager import Database, lifespan


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)


app = FastAPI(lifespan=lifespan)


@app.get("/live")
async def live() -> dict[str, str]:
    return check_live().checks


@app.get("/ready")
async def ready(database: Database, response: Response) -> dict[str, str]:
    # In a project with migrations: check_ready(database, migrations="alembic.ini")
    health = await check_ready(database)
    response.status_code = health.status_code
    return health.checks
```

A probe asks for two rows of the catalog, on a connection of its own: a pool that is busy is not a
database that is down, and to take the process out of service would make the others busier. It
needs SQLAlchemy only, and an AsyncEngine of any pool, NullPool too, does for the manager.
"""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from sqlalchemy import inspect as inspect_database
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

logger = logging.getLogger(__name__)


class HasEngines(Protocol):
    """A DatabaseSessionManager, or your own."""

    @property
    def engine(self) -> AsyncEngine: ...

    @property
    def probe_engine(self) -> AsyncEngine: ...


@dataclass(frozen=True)
class Health:
    """The answer to a probe: whether all is well, and what was looked at."""

    ok: bool
    checks: dict[str, str]

    @property
    def status_code(self) -> int:
        """200 or 503."""
        return 200 if self.ok else 503


def check_live() -> Health:
    """For liveness probes. Never asks the database: its failure must not restart the pods."""
    return Health(True, {"process": "answers"})


async def check_ready(
    database: HasEngines | AsyncEngine,
    *,
    timeout: float = 2.0,  # it covers the cleanup too, which a caller's cannot
    migrations: str | Path | None = None,
    expected_heads: Collection[str] | None = None,
) -> Health:
    """For readiness probes: the database answers within `timeout` seconds, and is migrated.

    `migrations` is an alembic.ini or a script directory. A database behind its head is not ready.
    One with a revision unknown to this code is: a newer release has migrated it, as happens in
    every rolling deployment. Where Alembic is not installed, give `expected_heads`.
    """
    known: frozenset[str] = frozenset()
    note = "not checked"
    if migrations is not None and expected_heads is None:
        try:
            expected_heads, known = await asyncio.to_thread(_revisions, str(migrations))
        except ImportError:
            note = "not checked: Alembic is not installed"
    if isinstance(database, AsyncEngine):
        engine, probe_engine = database, database
    else:
        engine, probe_engine = database.engine, database.probe_engine
    task = asyncio.create_task(_probe(probe_engine))
    done, _ = await asyncio.wait({task}, timeout=timeout)
    checks = {
        "database": "answers",
        "migrations": note,
        "pool": _in_use(engine),
    }
    if not done:
        task.cancel()  # not awaited: to give up a silent connection takes longer
        return Health(False, checks | {"database": f"no answer within {timeout:g} seconds"})
    if error := task.exception():
        # A probe is often public: the text, which may name hosts, goes to the log.
        logger.warning("the database is not ready: %s", error)
        return Health(False, checks | {"database": f"failed: {type(error).__name__}"})
    if expected_heads is None:
        return Health(True, checks)
    ok, checks["migrations"] = _compare(task.result(), frozenset(expected_heads), known)
    return Health(ok, checks)


def _in_use(engine: AsyncEngine) -> str:
    checked_out = getattr(engine.pool, "checkedout", None)
    if checked_out is None:
        return "no pool"
    capacity = getattr(engine.pool, "capacity", None)  # that of session_manager.py says it
    return f"{checked_out()}{f' of {capacity}' if capacity else ''} connections in use"


async def _probe(engine: AsyncEngine) -> frozenset[str]:
    """The revisions the database is at."""
    # SQLite: the transaction of a reader, which waits for no writer.
    async with engine.execution_options(read_only=True).connect() as connection:
        exists = await connection.run_sync(
            lambda c: inspect_database(c).has_table("alembic_version")
        )
        if not exists:
            return frozenset()
        rows = await connection.execute(text("SELECT version_num FROM alembic_version"))
        return frozenset(rows.scalars())


def _compare(
    current: frozenset[str], heads: frozenset[str], known: frozenset[str]
) -> tuple[bool, str]:
    if current == heads:
        return True, "at head"
    if known and current - known:
        return True, f"ahead of this code, at {_names(current)}"
    return False, f"at {_names(current)}, expected {_names(heads)}"


def _names(revisions: frozenset[str]) -> str:
    return ", ".join(sorted(revisions)) or "no revision"


@lru_cache
def _revisions(path: str) -> tuple[frozenset[str], frozenset[str]]:
    """The heads and all the revisions of a script directory. They outlast the process."""
    from alembic.config import Config  # Alembic may not be installed
    from alembic.script import ScriptDirectory

    is_ini = path.endswith(".ini")
    scripts = ScriptDirectory.from_config(Config(path)) if is_ini else ScriptDirectory(path)
    everything = frozenset(script.revision for script in scripts.walk_revisions())
    return frozenset(scripts.get_heads()), everything
