"""See which statements a request ran, how long they took, and where. Copy it if you operate it.

```python
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from .base_model import Base
from .observability import RequestStatements, observe, pool_gauges
from .session_manager import Database, DbSession, get_database
from .session_manager import lifespan as database_lifespan


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with database_lifespan(app):
        observe(app.state.database.engine, slow=0.2)
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(RequestStatements)


@app.get("/customers")
async def customers(session: DbSession) -> list[str]:
    return list(await session.scalars(select(Customer.email)))


@app.get("/pool")
async def pool(database: Database) -> dict[str, int]:
    return pool_gauges(database.engine)
```

- A statement that took `slow` seconds or more is a warning with the application's own lines:
  `slow statement: 312 ms at app/main.py:33 in customers: SELECT ...`. Parameters are not logged;
  what a text() has written into its SQL is.
- `RequestStatements` logs each request at INFO: `GET /customers: 1 statement, 2.1 ms in the
  database of 3.0 ms`; as a warning from `many` statements on, which is most often an N+1.
  `server_timing=True` puts the same into the header that browsers show, for whoever calls. The
  engine's first connection asks what server it has: three statements more of that request.
- `observe(engine, trace=True)` writes the traceparent of a sampled request into its statements, as
  a comment, so that pg_stat_activity and the server's log show it. Each text is then another one:
  the driver prepares it anew, one round trip more, for the sampled requests only.
- Prometheus: `export_pool(engine)` registers the gauges with its client. OpenTelemetry has an
  instrumentation of its own, and with it you need neither `trace` nor `slow`:
  `SQLAlchemyInstrumentor().instrument(engine=database.engine.sync_engine, skip_dep_check=True)`
  (its version 0.66b2 refuses SQLAlchemy 2.1 without that argument, by one line in the log).

What it costs: 2 to 3 % more CPU for a request that reads one row, the header included. It needs
SQLAlchemy and FastAPI only.
"""

import logging
import re
import sys
import sysconfig
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

from greenlet import getcurrent  # type: ignore[import-untyped, unused-ignore]
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]([0-9a-f])")
LIBRARIES = (sysconfig.get_paths()["stdlib"], "site-packages", "dist-packages", __file__, "<")


@dataclass
class Spent:
    """What a request has spent in the database."""

    statements: int = 0
    seconds: float = 0.0
    traceparent: str = ""
    """Of a sampled request."""

    def __str__(self) -> str:
        plural = "" if self.statements == 1 else "s"
        return f"{self.statements} statement{plural}, {self.seconds * 1000:.1f} ms in the database"


_spent: ContextVar[Spent | None] = ContextVar("observability_spent", default=None)


def observe(engine: AsyncEngine, *, slow: float = 0.5, trace: bool = False) -> None:
    """Watch the statements of an engine. Once for each engine; `slow` in seconds."""

    # Around the driver's call: before_cursor_execute and after_cursor_execute cost four times as
    # much, as each connection then has its events put together anew.
    def watch(name: str) -> None:
        run = getattr(engine.dialect, name)

        def timed(cursor: object, statement: str, *rest: object) -> bool:
            spent = _spent.get()
            sent = statement
            if trace and spent and spent.traceparent:
                sent = f"{statement} /*traceparent='{spent.traceparent}'*/"
            started = time.perf_counter()
            try:
                run(cursor, sent, *rest)
            finally:
                count(statement, time.perf_counter() - started, spent)
            return True  # it was run

        event.listen(engine.sync_engine, name, timed)

    def count(statement: str, seconds: float, spent: Spent | None) -> None:
        if spent:
            spent.statements += 1
            spent.seconds += seconds
        if seconds >= slow:
            said = " ".join(statement.split())
            logger.warning("slow statement: %.0f ms at %s: %.2000s", seconds * 1000, place(), said)

    for name in ("do_execute", "do_executemany", "do_execute_no_params"):
        watch(name)


def place(lines: int = 2) -> str:
    """Where the application is now, the innermost line first. Not cheap: for what is slow."""
    found: list[str] = []
    for frame in _frames():
        code = frame.f_code
        if not any(part in code.co_filename for part in LIBRARIES):
            found.append(f"{_short(code.co_filename)}:{frame.f_lineno} in {code.co_name}")
            if len(found) == lines:
                break
    return " < ".join(found) or "no line of the application"


def _frames() -> Iterator[FrameType]:
    """SQLAlchemy runs in a greenlet; who awaits it is on the stack of its parent."""
    frame: FrameType | None = sys._getframe(1)
    current: Any = getcurrent()
    while frame is not None:
        yield frame
        frame = frame.f_back
        if frame is None and current.parent is not None:
            current = current.parent
            frame = current.gr_frame


def _short(path: str) -> str:
    for folder in sys.path:
        if folder and path.startswith(f"{folder}/"):
            return path[len(folder) + 1 :]
    return path


def pool_gauges(engine: AsyncEngine) -> dict[str, int]:
    """Connections in use, idle, at most; and, of FairPool, who waits for one now."""
    pool: Any = engine.pool
    if not hasattr(pool, "checkedout"):
        return {}  # NullPool
    return {
        "in_use": pool.checkedout(),
        "idle": pool.checkedin(),
        "capacity": getattr(pool, "capacity", pool.size() + max(0, pool._max_overflow)),
        "waiting": len(getattr(pool, "_waiting", ())),
    }


def export_pool(engine: AsyncEngine, *, name: str = "main", registry: Any = None) -> None:
    """Register `database_pool_connections{pool,state}` with prometheus_client, if you have it."""
    import prometheus_client

    given = {} if registry is None else {"registry": registry}
    gauge = prometheus_client.Gauge(
        "database_pool_connections", "Connections of the pool", ["pool", "state"], **given
    )
    for state in pool_gauges(engine):
        gauge.labels(name, state).set_function(partial(_gauge, engine, state))


def _gauge(engine: AsyncEngine, state: str) -> float:
    return pool_gauges(engine)[state]


class RequestStatements:
    """ASGI middleware: the statements of each HTTP request, counted and timed."""

    def __init__(
        self,
        app: Any,
        *,
        many: int = 30,
        server_timing: bool = False,
    ) -> None:
        self.app, self.many, self.server_timing = app, many, server_timing

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        spent, started = Spent(), time.perf_counter()
        given = next((v.decode("latin-1") for n, v in scope["headers"] if n == b"traceparent"), "")
        parsed = TRACEPARENT.fullmatch(given)
        if parsed and int(parsed[1], 16) & 1:  # sampled
            spent.traceparent = given

        async def send_with_timing(message: Message) -> None:
            if message["type"] == "http.response.start":
                value = f'db;dur={spent.seconds * 1000:.1f};desc="{spent.statements} statements"'
                header = (b"server-timing", value.encode())
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        reset = _spent.set(spent)
        try:
            await self.app(scope, receive, send_with_timing if self.server_timing else send)
        finally:
            _spent.reset(reset)
            level = logging.WARNING if spent.statements >= self.many else logging.INFO
            if logger.isEnabledFor(level):
                path = getattr(scope.get("route"), "path", scope["path"])
                all_of_it = (time.perf_counter() - started) * 1000
                logger.log(level, "%s %s: %s of %.1f ms", scope["method"], path, spent, all_of_it)
