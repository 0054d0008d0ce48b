"""Read from PostgreSQL's standbys, and still see what one has written. Copy it if you have any.

```python
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from .base_model import Base
from .replicas import ReadYourWrites, ReplicaDbSession, Replicas
from .session_manager import DatabaseConfig, DatabaseSessionManager, DbSession


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    urls = [os.environ["DATABASE_URL"], *os.environ.get("DATABASE_REPLICA_URLS", "").split()]
    primary, *standbys = (
        DatabaseSessionManager(DatabaseConfig.from_env(environ={**os.environ, "DATABASE_URL": url}))
        for url in urls
    )
    async with Replicas(primary, standbys) as app.state.replicas:
        app.state.database = primary
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(ReadYourWrites)


@app.post("/customers", status_code=201)
async def create_customer(email: str, session: DbSession) -> None:
    session.add(Customer(email=email))


@app.get("/customers")
async def customers(session: ReplicaDbSession) -> list[str]:
    return list(await session.scalars(select(Customer.email)))
```

- `DbSession` stays on the primary from its first read on. A row that is read on a standby, changed
  and written on the primary would undo what others have written meanwhile.
- `ReplicaDbSession` reads on a standby; after a commit on the primary in the same request, on the
  primary. Hand no object of it to another session.
- A response after a commit has a token, as a header and a cookie: a position in the log. A
  request with one is answered by a standby that is there, or gets there within `wait` seconds,
  and else by the primary. A client sets its own token: all it gains is to wait and read there.
- A standby that lags by more than `max_lag` seconds, is down, silent or promoted is left out, and
  taken back when that is over. With none left, the primary has all the load.

What it costs: a round trip after each request that commits on the primary, and one connection a
process to each server, which is asked once a second. What is committed after the response began,
or by `driver_connection()`, gets no token. A read that its standby breaks off (recovery conflict
40001, or gone) is an error of that request. It needs SQLAlchemy and FastAPI only. Without
standbys, as in tests, it is the primary's read-only session, on any database.
"""

import asyncio
import itertools
import logging
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, Self

from fastapi import Depends
from fastapi.requests import HTTPConnection
from sqlalchemy import Connection, TextClause, event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ON_PRIMARY = 2**64  # behind the end of any log
PRIMARY_POSITION = text("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
# Nobody waits for the log of what only tidied up while it read: it may lie unwritten for 15
# seconds, and no standby can have it.
WRITTEN_POSITION = text("SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint")
STANDBY_POSITION = text(
    "SELECT CASE WHEN pg_is_in_recovery() THEN "
    "coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint, 0) END"
)
HURRY = 0.005
"""Seconds between two looks at a standby that somebody waits for."""


class Manager(Protocol):
    """A DatabaseSessionManager, or your own."""

    @property
    def is_open(self) -> bool: ...
    @property
    def engine(self) -> AsyncEngine: ...
    @property
    def read_only_engine(self) -> AsyncEngine: ...
    @property
    def probe_engine(self) -> AsyncEngine: ...
    def read_only_session(self) -> AsyncSession: ...
    async def __aenter__(self) -> Any: ...
    async def __aexit__(self, *error: object) -> Any: ...


@dataclass
class Standby:
    """What is known of one: `wrong` is why it is left out, `position` how far it has replayed."""

    manager: Manager
    position: int = 0
    wrong: str = "not asked yet"

    @property
    def name(self) -> str:
        url = self.manager.engine.url
        return f"{url.host}:{url.port}"

    def judge(self, wrong: str) -> None:
        if wrong != self.wrong and (wrong or self.wrong != "not asked yet"):
            logger.warning("standby %s: %s", self.name, wrong or "taken back")
        self.wrong = wrong


@dataclass
class Unit:
    """What belongs together, a request say: where it has to read from."""

    after: int = 0
    """The position that a standby must have reached."""
    committed: bool = False
    """On the primary: it reads there from now on."""


_unit: ContextVar[Unit | None] = ContextVar("replicas_unit", default=None)


class Replicas:
    """Chooses where a read-only session goes. Used with `async with`; opens what is not open.

    Times are seconds. `answer_within` is for the answer to the question where a standby is.
    """

    def __init__(
        self,
        primary: Manager,
        standbys: Sequence[Manager],
        *,
        wait: float = 0.5,
        max_lag: float = 10.0,
        check_every: float = 1.0,
        answer_within: float = 2.0,
    ) -> None:
        self.primary = primary
        self.standbys = [Standby(manager) for manager in standbys]
        self.wait, self.max_lag = wait, max_lag
        self.check_every, self.answer_within = check_every, answer_within
        # Where the primary was, and when: lag is told by the age of what has not been replayed.
        # `pg_last_xact_replay_timestamp` cannot tell a quiet primary from one that is cut off.
        self._seen: deque[tuple[float, int]] = deque(maxlen=int(max_lag / check_every) + 10)
        self._turn = itertools.count()
        self._waiting = 0
        self._asked: set[asyncio.Task[int | None]] = set()

    async def __aenter__(self) -> Self:
        self._hurry = asyncio.Event()
        async with AsyncExitStack() as stack:
            for manager in (self.primary, *(one.manager for one in self.standbys)):
                if not manager.is_open:
                    await stack.enter_async_context(manager)
            engine = self.primary.engine
            if self.standbys and engine.dialect.name != "postgresql":
                raise ValueError("only PostgreSQL's standbys tell how far they are")
            event.listen(engine.sync_engine, "commit", self._commits)
            stack.callback(event.remove, engine.sync_engine, "commit", self._commits)
            if self.standbys:
                await self._look_at_primary()
                await asyncio.gather(*map(self._look, self.standbys))
                stack.push_async_callback(self._stop, asyncio.create_task(self._watch()))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def _stop(self, task: "asyncio.Task[None]") -> None:
        task.cancel()
        await asyncio.wait({task})
        if self._asked:  # else their connections are still open when the managers are closed
            await asyncio.wait(self._asked, timeout=self.answer_within)

    @staticmethod
    def _commits(connection: Connection) -> None:
        if (unit := _unit.get()) and not connection.get_execution_options().get("read_only"):
            unit.committed = True

    @contextmanager
    def unit(self, token: str | None = None) -> Iterator[Unit]:
        """What happens in the block belongs together; `token` is that of an earlier unit."""
        known = re.fullmatch(r"[0-9a-f]{1,17}", token or "")
        unit = Unit(int(known[0], 16) if known else 0)
        before = _unit.set(unit)
        try:
            yield unit
        finally:
            _unit.reset(before)

    async def token(self, unit: Unit) -> str | None:
        """What shows this unit's writes to a later one; None if it has not committed any."""
        if not (unit.committed and self.standbys):
            return None
        try:
            async with self.primary.read_only_engine.connect() as connection:
                return f"{await connection.scalar(PRIMARY_POSITION):x}"
        except (SQLAlchemyError, OSError) as error:
            # It was committed, and that must not end as an error.
            logger.warning("no position of the primary: %s", type(error).__name__)
            return f"{ON_PRIMARY:x}"

    @asynccontextmanager
    async def read_only_session(self) -> AsyncIterator[AsyncSession]:
        """A session for reading, on a standby if one may answer, else on the primary.

        A standby that cannot be connected to is passed over; one that is lost later raises.
        """
        for standby in await self._candidates():
            try:
                async with standby.manager.read_only_session() as session:
                    try:
                        await session.connection()
                    except (DBAPIError, OSError) as error:
                        standby.judge(f"no connection: {type(error).__name__}")
                        continue
                    yield session
                    return
            except DBAPIError as error:
                if error.connection_invalidated:
                    standby.judge("lost")
                raise
        async with self.primary.read_only_session() as session:
            yield session

    async def _candidates(self) -> list[Standby]:
        unit = _unit.get() or Unit()
        if unit.committed or unit.after >= ON_PRIMARY:
            return []
        found = self._there(unit.after)
        if found or not self._there(0):
            return found
        self._waiting += 1
        self._hurry.set()
        with suppress(TimeoutError):
            try:
                async with asyncio.timeout(self.wait):
                    while self._there(0) and not (found := self._there(unit.after)):
                        await asyncio.sleep(HURRY)
            finally:
                self._waiting -= 1
        return found

    def _there(self, position: int) -> list[Standby]:
        """The standbys that have this position, each the first in its turn."""
        found = [one for one in self.standbys if not one.wrong and one.position >= position]
        start = next(self._turn) % len(found) if found else 0
        return found[start:] + found[:start]

    async def _watch(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_primary())
            for standby in self.standbys:
                group.create_task(self._watch_standby(standby))

    async def _watch_primary(self) -> None:
        while True:
            await asyncio.sleep(self.check_every)
            await self._look_at_primary()

    async def _watch_standby(self, standby: Standby) -> None:
        while True:
            if self._waiting:
                await asyncio.sleep(HURRY)  # one question for all who wait
            else:
                self._hurry.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), self.check_every)
            await self._look(standby)

    async def _look_at_primary(self) -> None:
        position = await self._ask(self.primary, WRITTEN_POSITION)
        if isinstance(position, int):
            self._seen.append((time.monotonic(), position))

    async def _look(self, standby: Standby) -> None:
        position = await self._ask(standby.manager, STANDBY_POSITION)
        if isinstance(position, str):
            standby.judge(position)
        elif position is None:
            standby.judge("it is no standby any more")
        else:
            standby.position = position
            missing = next((at for at, seen in self._seen if seen > position), None)
            lag = 0.0 if missing is None else time.monotonic() - missing
            standby.judge("" if lag <= self.max_lag else f"more than {self.max_lag:g} s behind")

    async def _ask(self, manager: Manager, question: TextClause) -> int | str | None:
        """The answer, or a text that says why there is none."""
        task = asyncio.create_task(_answer(manager.probe_engine, question))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        try:
            done, _ = await asyncio.wait({task}, timeout=self.answer_within)
            if not done:
                return f"no answer within {self.answer_within:g} s"
            error = task.exception()
            return f"{type(error).__name__}" if error else task.result()
        finally:
            # Not awaited: to give up a silent connection takes long.
            task.cancel()


async def _answer(engine: AsyncEngine, question: TextClause) -> int | None:
    async with engine.connect() as connection:
        answer: int | None = await connection.scalar(question)
        return answer


# FastAPI


class ReadYourWrites:
    """ASGI middleware: each HTTP request is a unit, and its token goes by a header and a cookie.

    `max_age` is that of the cookie in seconds, and should be above `max_lag`. The application's
    state has the `replicas`. A WebSocket is many units: `with replicas.unit():` for each.
    """

    def __init__(self, app: Any, *, name: str = "db-position", max_age: int = 60) -> None:
        self.app, self.name = app, name
        self.attributes = f"Max-Age={max_age}; Path=/; HttpOnly; SameSite=Lax"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        replicas = get_replicas(request)
        given = request.headers.get(self.name) or request.cookies.get(self.name)
        with replicas.unit(given) as unit:

            async def send_with_token(message: Message) -> None:
                starts = message["type"] == "http.response.start"
                if starts and (token := await replicas.token(unit)):
                    cookie = f"{self.name}={token}; {self.attributes}"
                    own = ((self.name, token), ("set-cookie", cookie))
                    headers = [(name.encode(), value.encode()) for name, value in own]
                    message = {**message, "headers": [*message.get("headers", ()), *headers]}
                await send(message)

            await self.app(scope, receive, send_with_token)


def get_replicas(connection: HTTPConnection) -> Replicas:
    """The application's router."""
    replicas = getattr(connection.app.state, "replicas", None)
    if isinstance(replicas, Replicas):
        return replicas
    raise RuntimeError("app.state.replicas is not set: see the lifespan in replicas.py")


async def get_replica_session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """Dependency: a session for reading. Use it as `ReplicaDbSession`."""
    async with get_replicas(connection).read_only_session() as session:
        yield session
        if session.new or session.dirty or session.deleted:
            await session.flush()  # which raises; else they would be lost without a word


ReplicaDbSession = Annotated[AsyncSession, Depends(get_replica_session, scope="function")]
