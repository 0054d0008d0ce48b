"""Concurrency: how two requests, workers or processes leave each other's work intact.

    python examples/concurrency_patterns.py [DATABASE_URL]

What each pattern costs beside BEGIN and COMMIT (the tests count it), and what it holds meanwhile:

    pattern                 statements                          holds until the commit
    count_view              1                                   one row
    edit_page               2: SELECT, UPDATE                   one row, from the UPDATE on
    save_if_match           1, refused 2                        one row
    lock_page               1, with wait=False 3                one row
    transfer_funds          4: SELECT FOR UPDATE, SELECT,       two rows
                            UPDATE (both accounts), INSERT
    insert_or_get           found 1, inserted 4, lost race 5    the new key
    once                    first time 5 and the work's own,    the key
                            later 1
    exclusive               1; MySQL 2 and one more COMMIT      a name
    claim_jobs              3; idle 2                           the claimed rows
    finish_job, fail_job    1, 2                                one row
    add_event               2                                   the aggregate's next number
    relay_events            2, and the publishing               the rows that are published
    notify                  1                                   nothing (one queue at COMMIT)
    listen                  a connection outside the pool       nothing

SQLite has one lock for all writers, which the session manager takes at BEGIN. There FOR UPDATE
and SKIP LOCKED are left out, as nobody else can be writing. What SQLite lacks raises
UnsupportedError: NOWAIT, advisory locks, LISTEN.
"""

import asyncio
import enum
import hashlib
import json
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from functools import partial
from typing import Any, NoReturn, TypeVar, cast
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ColumnElement,
    CursorResult,
    Delete,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Update,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Mapped, aliased, mapped_column
from sqlalchemy.sql import operators
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeEngine

import _setup
from base_model import (
    Base,
    SimpleBaseModel,
    TimestampMixin,
    VersionMixin,
    utc_now_default,
    utcnow,
    uuid7,
)
from retries import run_in_transaction
from session_manager import DatabaseSessionManager, build_engine

logger = logging.getLogger(__name__)
Row = TypeVar("Row", bound=Base)


class UnsupportedError(RuntimeError):
    """This database has nothing of the kind."""


class LockedError(RuntimeError):
    """Somebody else holds the lock."""


def _dialect(session: AsyncSession) -> str:
    """postgresql, sqlite or mysql (MariaDB, too)."""
    name = session.get_bind().dialect.name
    return "mysql" if name == "mariadb" else name


def _is_locked(error: DBAPIError) -> bool:
    """NOWAIT or a timeout. PostgreSQL has 55P03 for both, MariaDB 1205, MySQL 3572 and 1205."""
    return getattr(error.orig, "sqlstate", None) == "55P03" or _code(error) in (1205, 3572)


def _code(error: DBAPIError) -> object:
    """MySQL's number of the error."""
    return next(iter(getattr(error.orig, "args", ())), None)


async def _affected(session: AsyncSession, statement: Update | Delete) -> int:
    """Rows that matched the WHERE; on MySQL, too, where SQLAlchemy asks for matched rows."""
    result = cast(CursorResult[Any], await session.execute(statement))
    return result.rowcount


@asynccontextmanager
async def savepoint(session: AsyncSession) -> AsyncIterator[None]:
    """session.begin_nested(), which calls a deadlock by its name on MySQL, too.

    MySQL ends a deadlock by rolling back the whole transaction and its savepoints. What arrives
    is then `SAVEPOINT sa_savepoint_1 does not exist` (1305), which run_in_transaction raises,
    where it would do the work of a deadlock again.
    """
    inside: DBAPIError | None = None
    try:
        async with session.begin_nested():
            try:
                yield
            except DBAPIError as error:
                inside = error
                raise
    except DBAPIError as error:
        for first in (inside, error.__context__):
            if isinstance(first, DBAPIError) and _code(first) == 1213:
                raise first from None
        raise


async def database_time(session: AsyncSession) -> datetime:
    """The database's clock, aware, in UTC: the one clock that all workers share."""
    return (await session.execute(select(utc_now_default()))).scalar_one()


# Optimistic locking: nobody waits, the second one to save is refused


class WikiPage(VersionMixin, SimpleBaseModel):
    __tablename__ = "wiki_pages"

    title: Mapped[str] = mapped_column(String(100))
    body: Mapped[str] = mapped_column(Text)
    views: Mapped[int] = mapped_column(default=0)


class PreconditionError(Exception):
    """What the client has seen is not what is there. `status_code` is HTTP's: 404, 412 or 428."""

    def __init__(self, status_code: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status_code


async def edit_page(session: AsyncSession, page_id: UUID, body: str) -> WikiPage:
    """Change a row that this session loads: StaleDataError if it changes between the two.

    The flush that raises it rolls the session back, so let it leave the unit of work, and do
    that again from the load on. run_in_transaction does not: it cannot know whether the change
    still makes sense on the new text.
    """
    page = await session.get_one(WikiPage, page_id)
    page.body = body
    await session.flush()
    return page


def etag(page: WikiPage) -> str:
    return f'"{page.version}"'


async def save_if_match(
    session: AsyncSession, page_id: UUID, if_match: str | None, body: str
) -> str:
    """Save if the row still has the version that the client saw; its new ETag.

    VersionMixin compares with what this session loaded, a moment ago. A form was loaded minutes
    ago, by another request: only the client knows which version that was. Compare and change are
    one UPDATE, between which nothing fits. A bulk update does not count the version by itself.
    """
    if if_match is None:
        raise PreconditionError(428, "send If-Match with the ETag that you have seen")
    seen = if_match.removeprefix('"').removesuffix('"')
    version = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 10 else -1
    saved = await _affected(
        session,
        update(WikiPage)
        .where(WikiPage.id == page_id, WikiPage.version == version)
        .values(body=body, version=WikiPage.version + 1),
    )
    if saved:
        return f'"{version + 1}"'
    now = await session.scalar(select(WikiPage.version).where(WikiPage.id == page_id))
    if now is None:
        raise PreconditionError(404, "there is no such page")
    raise PreconditionError(412, f'the page is at "{now}", you have seen {if_match}')


async def count_view(session: AsyncSession, page_id: UUID) -> None:
    """Let the database add. `page.views += 1` writes a number that was read earlier, and two at
    once count as one. The version stays: a view is no reason to refuse an editor."""
    await session.execute(
        update(WikiPage).where(WikiPage.id == page_id).values(views=WikiPage.views + 1)
    )


# Pessimistic locking: the second one waits


async def lock_page(session: AsyncSession, page_id: UUID, *, wait: bool = True) -> WikiPage:
    """The row, locked until the transaction ends, as it is now.

    LockedError if somebody has it: with wait=False at once and with the transaction intact (by
    a savepoint), else after `lock_timeout`, when PostgreSQL has aborted the transaction.
    populate_existing is what makes it safe for a row that the session has loaded before:
    without it the lock is taken and the old values stay in memory.
    """
    if not wait and _dialect(session) == "sqlite":
        raise UnsupportedError(
            "SQLite has no NOWAIT: one lock for all writers is waited for at BEGIN, "
            "for as long as lock_timeout says"
        )
    statement = (
        select(WikiPage)
        .where(WikiPage.id == page_id)
        .with_for_update(nowait=not wait)
        .execution_options(populate_existing=True)
    )
    try:
        async with nullcontext() if wait else savepoint(session):
            return (await session.scalars(statement)).one()
    except DBAPIError as error:
        if _is_locked(error):
            raise LockedError(f"page {page_id} is being changed") from error
        raise


# Money


SCALE = 2
_CENT = Decimal(1).scaleb(-SCALE)
# 18 digits of cents fit a BIGINT; whatever does not fit the cents raises instead of being rounded.
_EXACT = Context(prec=18, traps=[Inexact, InvalidOperation])


def to_cents(amount: object) -> int:
    """Minor units. TypeError for a float, ValueError for a fraction of a cent, NaN, 10**16."""
    if isinstance(amount, bool) or not isinstance(amount, Decimal | int):
        raise TypeError(f"money is a Decimal, not {type(amount).__name__}")
    try:
        exact = _EXACT.quantize(Decimal(amount), _CENT)
        return int(_EXACT.scaleb(exact, SCALE))
    except (DecimalException, ValueError):  # int() raises ValueError for NaN
        raise ValueError(f"{amount} is not an amount with at most {SCALE} decimals") from None


class Money(TypeDecorator[Decimal]):
    """A Decimal with SCALE decimals, stored as a whole number of minor units.

    Not Numeric: SQLite has no exact decimals and keeps floats, and every database rounds what
    is too precise without a word. In SQL it can be added, subtracted, compared and summed.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        return None if value is None else to_cents(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:
        # A sum() of 20000 arrives as Decimal("2E+4") from PostgreSQL.
        return None if value is None else Decimal(int(value)).scaleb(-SCALE)

    def coerce_compared_value(self, op: OperatorType | None, value: object) -> TypeEngine[Any]:
        if op in (operators.mul, operators.truediv, operators.floordiv, operators.mod):
            raise TypeError("multiply and divide money in Python, where you say how to round")
        return self


class Account(SimpleBaseModel):
    __tablename__ = "accounts"
    # The last word, for code that does not go through transfer_funds().
    __table_args__ = (CheckConstraint("balance >= 0", name="balance"),)

    owner: Mapped[str] = mapped_column(String(50))
    balance: Mapped[Decimal] = mapped_column(Money)


class Transfer(SimpleBaseModel):
    __tablename__ = "transfers"
    __table_args__ = (CheckConstraint("amount > 0", name="amount"),)

    source_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    target_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    amount: Mapped[Decimal] = mapped_column(Money)


class TransferRefusedError(ValueError):
    """The transfer cannot be made; nothing was changed."""


class UnknownAccountError(TransferRefusedError):
    pass


class InsufficientFundsError(TransferRefusedError):
    pass


async def transfer_funds(
    database: DatabaseSessionManager,
    source_id: UUID,
    target_id: UUID,
    amount: Decimal,
    *,
    transfer_id: UUID | None = None,
) -> Transfer:
    """Move money in a transaction of its own. With the same `transfer_id` it is moved once.

    Because of that id it may run again after a connection was lost in COMMIT (`repeatable`).
    """
    transfer_id = transfer_id or uuid7()

    async def work(session: AsyncSession) -> Transfer:
        return await transfer_within(session, source_id, target_id, amount, transfer_id=transfer_id)

    return await run_in_transaction(database, work, repeatable=True)


async def transfer_within(
    session: AsyncSession,
    source_id: UUID,
    target_id: UUID,
    amount: Decimal,
    *,
    transfer_id: UUID,
) -> Transfer:
    """The transfer as a part of the caller's transaction.

    Both accounts are locked by one statement in the order of their ids, whichever way the money
    goes: two opposite transfers queue instead of waiting for each other. Balances are looked at
    under the lock. Call it once in a transaction; of several transfers lock all accounts first.
    key_share: on PostgreSQL, rows that refer to these accounts can be inserted meanwhile.
    """
    if to_cents(amount) <= 0:
        raise TransferRefusedError(f"the amount must be more than 0, not {amount}")
    if source_id == target_id:
        raise TransferRefusedError("source and target are one account")
    rows = await session.scalars(
        select(Account)
        .where(Account.id.in_([source_id, target_id]))
        .order_by(Account.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    accounts = {account.id: account for account in rows}
    for account_id in (source_id, target_id):
        if account_id not in accounts:
            raise UnknownAccountError(f"there is no account {account_id}")
    # Under the locks, so that a second call with this id waits here for the first one's commit.
    if earlier := await session.get(Transfer, transfer_id):
        if (earlier.source_id, earlier.target_id, earlier.amount) != (source_id, target_id, amount):
            raise TransferRefusedError(f"transfer {transfer_id} was another one")
        return earlier
    source, target = accounts[source_id], accounts[target_id]
    if source.balance < amount:
        raise InsufficientFundsError(f"account {source_id} has less than {amount}")
    source.balance -= amount
    target.balance += amount
    made = Transfer(id=transfer_id, source_id=source_id, target_id=target_id, amount=amount)
    return await made.save(session)


# Unique races: look, insert, and be told that somebody was faster


class Username(SimpleBaseModel):
    __tablename__ = "usernames"

    name: Mapped[str] = mapped_column(String(50), unique=True)
    owner: Mapped[str] = mapped_column(String(50))


class NameTakenError(ValueError):
    """Somebody else has this name."""


async def insert_or_get(
    session: AsyncSession, row: Row, *where: ColumnElement[bool]
) -> tuple[Row, bool]:
    """The row that matches `where`, and whether it is `row`, inserted now.

    A duplicate is rolled back to a savepoint: what the caller did before stays, and the
    transaction goes on. It is not tried again, as it would be a duplicate for ever; while the
    faster one has not committed, the INSERT waits. A violation of another constraint is raised.
    Under REPEATABLE READ or SERIALIZABLE the faster one's row may be invisible: then, too, the
    IntegrityError is raised, and the whole transaction has to start again.
    """
    model = type(row)
    present = select(model).where(*where)
    if (found := (await session.scalars(present)).one_or_none()) is not None:
        return found, False
    try:
        async with savepoint(session):
            session.add(row)
    except IntegrityError:
        if (found := (await session.scalars(present)).one_or_none()) is None:
            raise
        return found, False
    return row, True


async def claim_username(session: AsyncSession, name: str, owner: str) -> Username:
    """NameTakenError if it is somebody else's. The caller's work is kept, either way."""
    wanted = Username(name=name, owner=owner)
    row, _created = await insert_or_get(session, wanted, Username.name == name)
    if row.owner != owner:
        raise NameTakenError(f"{name} is taken")
    return row


# Idempotency keys: a client that heard nothing may ask again


class IdempotencyKey(TimestampMixin, Base):
    __tablename__ = "idempotency_keys"

    # A hash of owner and key: exact on MySQL, too, whose text comparison ignores case, and one
    # client never gets the answer of another that had the same idea of a key.
    key_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class KeyReusedError(ValueError):
    """The key was used for another request (HTTP 422)."""


@dataclass(frozen=True)
class Answer:
    value: dict[str, Any]
    replayed: bool


Work = Callable[[AsyncSession], Awaitable[dict[str, Any]]]


async def once(
    database: DatabaseSessionManager, owner: str, key: str, request: Mapping[str, Any], work: Work
) -> Answer:
    """Run `work(session)` once for this owner's key; later calls get its stored answer.

    Key, work and answer are one transaction. A second call at the same time waits at the key's
    INSERT and gets the first one's answer; if the first one fails or its process dies, the key
    is gone with its work, and the second one works. There is no "in progress" to clean up. Work
    that takes longer than `lock_timeout` fails the second one with the database's error.
    `work` may only change this database, and returns what JSON can hold.
    """
    key_hash = _hash(owner, key)
    request_hash = _hash(json.dumps(request, sort_keys=True))

    async def run(session: AsyncSession) -> Answer:
        row, created = await insert_or_get(
            session,
            IdempotencyKey(key_hash=key_hash, request_hash=request_hash),
            IdempotencyKey.key_hash == key_hash,
        )
        if row.request_hash != request_hash:
            raise KeyReusedError(f"the key {key!r} belongs to another request")
        if created:
            row.answer = await work(session)
        return Answer(row.answer or {}, replayed=not created)

    # The key is what makes saving it twice harmless.
    return await run_in_transaction(database, run, repeatable=True)


async def forget_keys(session: AsyncSession, before: datetime) -> int:
    """Delete keys that no client will send again; how many."""
    return await _affected(
        session, delete(IdempotencyKey).where(IdempotencyKey.created_at < before)
    )


def _hash(*parts: str) -> str:
    # As JSON, in which ("a", "bc") and ("ab", "c") differ.
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


# Advisory locks: a lock on a name, for work that has no row to lock


@asynccontextmanager
async def exclusive(
    database: DatabaseSessionManager, name: str, *, wait: bool = True
) -> AsyncIterator[AsyncSession]:
    """A session that commits at the end of the block, which one process at a time is in.

        async with exclusive(database, "nightly report", wait=False) as session:

    LockedError if another has it: at once, or after `lock_timeout`. The lock is given back after
    the commit, so that the next one sees what this one did, and if the process dies. Its keeper
    is the database: PostgreSQL's transaction, so that a pool can do nothing wrong, but MySQL's
    connection, whose lock outlives the transaction and would go back to the pool with it.
    A block that pauses longer than `idle_in_transaction_timeout` between two statements is ended
    by PostgreSQL.
    """
    dialect = database.engine.dialect.name
    if dialect == "postgresql":
        async with database.begin() as session:
            await _lock_name_in_transaction(session, name, wait)
            yield session
    elif dialect in ("mysql", "mariadb"):
        async with (
            _connection_with_lock(database, name, wait) as connection,
            AsyncSession(connection, expire_on_commit=False, close_resets_only=False) as session,
        ):
            yield session
            await session.commit()
    else:
        raise UnsupportedError(
            "SQLite has no advisory locks: a transaction that writes is alone there anyway"
        )


async def _lock_name_in_transaction(session: AsyncSession, name: str, wait: bool) -> None:
    # A number of 64 bits is all that PostgreSQL takes for a name.
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    try:
        if wait:
            await session.execute(select(func.pg_advisory_xact_lock(key)))
        elif not await session.scalar(select(func.pg_try_advisory_xact_lock(key))):
            _refuse(name)
    except DBAPIError as error:
        if _is_locked(error):
            _refuse(name)
        raise


@asynccontextmanager
async def _connection_with_lock(
    database: DatabaseSessionManager, name: str, wait: bool
) -> AsyncIterator[AsyncConnection]:
    async with database.engine.connect() as connection:
        # Names are the whole server's, and at most 64 characters.
        key = _hash(str(database.engine.url.database), name)
        seconds = math.ceil(database.config.lock_timeout or 1_000_000) if wait else 0
        if await connection.scalar(select(func.get_lock(key, seconds))) != 1:
            _refuse(name)
        await connection.commit()
        try:
            yield connection
            await connection.scalar(select(func.release_lock(key)))
            await connection.commit()
        except BaseException:
            # Closing is the one way to give the lock back that cannot fail.
            await connection.invalidate()
            raise


def _refuse(name: str) -> NoReturn:
    raise LockedError(f"another process has the lock {name!r}")


# A job queue


class JobState(enum.Enum):
    READY = "ready"
    DONE = "done"
    DEAD = "dead"


class Job(SimpleBaseModel):
    """READY while it has to be done. A claim moves `run_at` to the end of its lease, after which
    the job can be claimed again: a worker that dies needs nobody to notice."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "state", "run_at"),)

    kind: Mapped[str] = mapped_column(String(50))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[JobState] = mapped_column(default=JobState.READY)
    run_at: Mapped[datetime] = mapped_column(server_default=utc_now_default())
    attempts: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int] = mapped_column(default=5)
    last_error: Mapped[str | None] = mapped_column(String(500))


class LeaseLostError(RuntimeError):
    """The lease ran out, and the job is another worker's by now."""


Handler = Callable[[AsyncSession, Job], Awaitable[None]]


async def claim_jobs(
    session: AsyncSession, *, limit: int = 1, lease: timedelta = timedelta(minutes=1)
) -> Sequence[Job]:
    """Take up to `limit` jobs that are due. Commit before working on them.

    SKIP LOCKED lets workers take different jobs instead of queueing for the first one. The
    attempt is counted and committed before the work, or a job that kills its worker would be
    tried for ever. MariaDB has SKIP LOCKED since 10.6.
    """
    now = await database_time(session)
    due = (
        select(Job)
        .where(Job.state == JobState.READY, Job.run_at <= now, Job.attempts < Job.max_attempts)
        .order_by(Job.run_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    jobs = (await session.scalars(due)).all()
    for job in jobs:
        job.attempts += 1
        job.run_at = now + lease
    await session.flush()
    return jobs


async def finish_job(session: AsyncSession, job: Job) -> None:
    """Mark it as done, in the transaction of its effects. LeaseLostError undoes both.

    The number of the attempt is the proof of ownership: a later claim has a higher one.
    """
    if not await _affected(session, _mine(job).values(state=JobState.DONE, last_error=None)):
        raise LeaseLostError(f"job {job.id} is another worker's since attempt {job.attempts}")


async def fail_job(session: AsyncSession, job: Job, error: Exception) -> None:
    """Try again later (2, 4, 8 ... seconds, an hour at most), or give up for good."""
    pause = timedelta(seconds=min(2**job.attempts, 3600))
    state = JobState.DEAD if job.attempts >= job.max_attempts else JobState.READY
    failure = f"{type(error).__name__}: {error}"[:500]
    again = await database_time(session) + pause
    await session.execute(_mine(job).values(state=state, run_at=again, last_error=failure))


def _mine(job: Job) -> Update:
    still_mine = (Job.id == job.id, Job.attempts == job.attempts, Job.state == JobState.READY)
    return update(Job).where(*still_mine)


async def bury_jobs(session: AsyncSession, *, limit: int = 100) -> int:
    """Give up the jobs whose last attempt ended with its worker; how many.

    Not one UPDATE: on MySQL that waits for, and deadlocks with, rows that workers are claiming.
    """
    now = await database_time(session)
    lost = (
        select(Job)
        .where(Job.state == JobState.READY, Job.run_at <= now, Job.attempts >= Job.max_attempts)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    jobs = (await session.scalars(lost)).all()
    for job in jobs:
        job.state = JobState.DEAD
        job.last_error = job.last_error or "the worker died"
    await session.flush()
    return len(jobs)


async def work_once(
    database: DatabaseSessionManager,
    handle: Handler,
    *,
    lease: timedelta = timedelta(minutes=1),
) -> bool:
    """Do one job; False if none is due.

    `handle(session, job)` writes through that session: its effects and DONE are one commit, and
    happen once. Anything else it does (a mail, a request) can happen again after a crash. It is
    cancelled when the lease ends.
    """

    async def claim(session: AsyncSession) -> Sequence[Job]:
        jobs = await claim_jobs(session, lease=lease)
        if not jobs:
            await bury_jobs(session)
        return jobs

    # `repeatable`: a claim that is saved twice costs an attempt, no more.
    jobs = await run_in_transaction(database, claim, repeatable=True)
    if not jobs:
        return False
    job = jobs[0]
    try:
        async with asyncio.timeout(lease.total_seconds()), database.begin() as session:
            await handle(session, job)
            await finish_job(session, job)
    except Exception as error:
        logger.warning("job %s, attempt %d: %s", job.id, job.attempts, type(error).__name__)
        await run_in_transaction(database, partial(fail_job, job=job, error=error), repeatable=True)
    return True


# Transactional outbox: a change and the news of it are one commit


class OutboxEvent(Base):
    """News of an aggregate (an account, say). `sequence` counts 1, 2, 3 for each aggregate."""

    __tablename__ = "outbox_events"
    __table_args__ = (
        UniqueConstraint("aggregate", "sequence"),
        # As small as the backlog; on MySQL, which has no partial index, as large as the table.
        Index(
            "ix_outbox_events_pending",
            "attempts",
            "id",
            postgresql_where=text("published_at IS NULL"),
            sqlite_where=text("published_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    aggregate: Mapped[str] = mapped_column(String(100))
    sequence: Mapped[int]
    kind: Mapped[str] = mapped_column(String(50))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    published_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)


Publish = Callable[[OutboxEvent], Awaitable[None]]


async def add_event(
    session: AsyncSession, aggregate: str, kind: str, payload: dict[str, Any]
) -> OutboxEvent:
    """Record an event in the transaction of the change that it tells of.

    Change (or lock) the aggregate's row first, so that two writers queue there. Of two that did
    not, one gets an IntegrityError for the sequence; their events never change places.
    """
    last = await session.scalar(
        select(func.max(OutboxEvent.sequence)).where(OutboxEvent.aggregate == aggregate)
    )
    event = OutboxEvent(aggregate=aggregate, sequence=(last or 0) + 1, kind=kind, payload=payload)
    session.add(event)
    await session.flush()
    return event


async def relay_events(
    session: AsyncSession,
    publish: Publish,
    *,
    limit: int = 100,
    publish_timeout: float = 10.0,
) -> int:
    """Publish the oldest waiting event of up to `limit` aggregates; how many went out.

    Then commit, and call it again until it returns 0. Several relays may run: each locks what it
    publishes, others skip it, and the event behind it is not the oldest until the commit. An
    event that fails stays, holds back its own aggregate only, and goes to the end of the line.
    If the process dies between publishing and commit, the event is published again: consumers
    drop what has a `sequence` that they have seen. The rows are locked while publishing, which
    on SQLite stops every other writer.
    """
    before = aliased(OutboxEvent)
    waits_for_another = (
        select(before.id)
        .where(
            before.aggregate == OutboxEvent.aggregate,
            before.sequence < OutboxEvent.sequence,
            before.published_at.is_(None),
        )
        .exists()
    )
    oldest = (
        select(OutboxEvent)
        .where(OutboxEvent.published_at.is_(None), ~waits_for_another)
        .order_by(OutboxEvent.attempts, OutboxEvent.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    events = (await session.scalars(oldest)).all()
    for event in events:
        event.attempts += 1
        if await _goes_out(event, publish, publish_timeout):
            event.published_at = utcnow()
    await session.flush()
    return sum(event.published_at is not None for event in events)


async def _goes_out(event: OutboxEvent, publish: Publish, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await publish(event)
    except Exception as error:
        logger.warning("event %d of %s: %s", event.sequence, event.aggregate, type(error).__name__)
        return False
    return True


async def prune_events(session: AsyncSession, before: datetime, *, limit: int = 1000) -> int:
    """Delete published events, but the last one of each aggregate, which has its number."""
    newer = aliased(OutboxEvent)
    followed = (
        select(newer.id)
        .where(newer.aggregate == OutboxEvent.aggregate, newer.sequence > OutboxEvent.sequence)
        .exists()
    )
    old = select(OutboxEvent.id).where(OutboxEvent.published_at < before, followed).limit(limit)
    ids = (await session.scalars(old)).all()
    return await _affected(session, delete(OutboxEvent).where(OutboxEvent.id.in_(ids)))


# LISTEN and NOTIFY: be woken up instead of asking every second (PostgreSQL)


Wake = Callable[[str | None], Awaitable[None]]
MAX_PAYLOAD = 7999


async def notify(session: AsyncSession, channel: str, payload: str = "") -> None:
    """Sent when the transaction commits, to those who listen at that moment.

    Send what to look for, not the data: it is neither stored nor acknowledged, and equal ones
    of a transaction become one.
    """
    if _dialect(session) != "postgresql":
        raise UnsupportedError(f"NOTIFY is PostgreSQL's; {_dialect(session)} has nothing like it")
    if len(payload.encode()) > MAX_PAYLOAD:
        raise ValueError(f"a payload has at most {MAX_PAYLOAD} bytes: send an id, not the data")
    await session.execute(select(func.pg_notify(channel, payload)))


async def listen(
    database: DatabaseSessionManager,
    channel: str,
    wake: Wake,
    *,
    poll_every: float = 30.0,
    reconnect_delay: float = 1.0,
) -> None:
    """Await `wake(payload)` for every notification, until cancelled.

    `wake(None)` says "look for yourself": at the start, after every reconnect (what was sent in
    between is lost), and after `poll_every` seconds of silence, when the connection is also
    tested. So `wake` must look for work in the database; a notification only makes it look
    sooner. Notifications that arrive while it works wait in memory.

    The connection is one of its own: the pool's are given back, and closed when old, and
    PgBouncer in transaction mode forgets LISTEN at the next commit.
    """
    if database.engine.dialect.name != "postgresql":
        raise UnsupportedError(f"LISTEN is PostgreSQL's; {database.engine.dialect.name} has none")
    if database.engine.dialect.driver != "asyncpg":
        raise UnsupportedError("listen() needs the driver asyncpg")
    if database.config.pgbouncer:
        raise UnsupportedError("LISTEN does not pass PgBouncer: give it the server's own URL")
    engine = build_engine(replace(database.config, pool_size=1, max_overflow=0))
    inbox: asyncio.Queue[str | None] = asyncio.Queue()
    receiving = asyncio.create_task(_receive(engine, channel, inbox, poll_every, reconnect_delay))
    try:
        while True:
            payload = None
            with suppress(TimeoutError):
                payload = await asyncio.wait_for(inbox.get(), poll_every)
            if receiving.done():
                receiving.result()  # an error that no reconnect cures
            await wake(payload)
    finally:
        receiving.cancel()
        await asyncio.wait({receiving})
        await engine.dispose()


async def _receive(
    engine: AsyncEngine,
    channel: str,
    inbox: asyncio.Queue[str | None],
    test_every: float,
    reconnect_delay: float,
) -> None:
    # LISTEN is not SQLAlchemy's business: the driver's own errors.
    from asyncpg import (  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415
        InterfaceError,
        PostgresError,
    )

    while True:
        try:
            async with engine.connect() as connection:
                driver = cast(Any, (await connection.get_raw_connection()).driver_connection)
                lost = _end_of(driver)
                await driver.add_listener(channel, lambda *args: inbox.put_nowait(args[-1]))
                inbox.put_nowait(None)  # after LISTEN: what came before it is found by looking
                while not lost.is_set():
                    try:
                        await asyncio.wait_for(lost.wait(), test_every)
                    except TimeoutError:
                        # A firewall that forgot the connection says nothing.
                        await driver.execute("SELECT 1", timeout=test_every)
                await connection.invalidate()
        except (OSError, DBAPIError, PostgresError, InterfaceError) as error:
            logger.warning("the listener of %s: %s", channel, type(error).__name__)
        else:
            logger.warning("the listener of %s: the connection was closed", channel)
        await asyncio.sleep(reconnect_delay)


def _end_of(driver: Any) -> asyncio.Event:  # noqa: ANN401 - asyncpg's connection is untyped
    lost = asyncio.Event()
    driver.add_termination_listener(lambda _: lost.set())
    return lost


async def main(database: DatabaseSessionManager) -> None:
    await show_locks(database)
    await show_transfers(database)
    await show_races(database)
    await show_queue(database)
    await show_outbox(database)
    await show_postgresql(database)


def show(what: str, result: object) -> None:
    print(f"{what:<44}{result}")


async def show_locks(database: DatabaseSessionManager) -> None:
    page = WikiPage(title="Home", body="first")
    async with database.begin() as session:
        await page.save(session)
    seen = etag(page)
    for body in ("second", "third"):
        try:
            async with database.begin() as session:
                show(
                    f"save {body!r} if it is {seen}",
                    await save_if_match(session, page.id, seen, body),
                )
        except PreconditionError as error:
            show(f"save {body!r} if it is {seen}", f"{error.status_code}: {error}")

    async def view() -> None:
        async with database.begin() as session:
            await count_view(session, page.id)

    await asyncio.gather(*(view() for _ in range(5)))
    async with database.begin() as session:
        show("5 views at once", f"{(await lock_page(session, page.id)).views} counted")


async def show_transfers(database: DatabaseSessionManager) -> None:
    ada = Account(owner="Ada", balance=Decimal("100.00"))
    bob = Account(owner="Bob", balance=Decimal("100.00"))
    async with database.begin() as session:
        session.add_all([ada, bob])
    for amount in (Decimal("0.10"), Decimal("-5"), Decimal("10.005"), Decimal("500")):
        try:
            made = await transfer_funds(database, ada.id, bob.id, amount)
            show(f"transfer {amount}", f"done, {made.amount}")
        except ValueError as error:
            show(f"transfer {amount}", type(error).__name__)
    pairs = [(ada.id, bob.id), (bob.id, ada.id)] * 20
    await asyncio.gather(*(transfer_funds(database, *pair, Decimal("0.01")) for pair in pairs))
    async with database.read_only_session() as session:
        total = await session.scalar(select(func.sum(Account.balance)))
        show(f"{len(pairs)} opposite transfers at once", f"total {total}")


async def show_races(database: DatabaseSessionManager) -> None:
    async def claim(owner: str) -> str:
        async with database.begin() as session:
            return (await claim_username(session, "root", owner)).owner

    claims = await asyncio.gather(*map(claim, ("Ada", "Bob", "Cleo")), return_exceptions=True)
    show("3 people want one name", f"{sum(isinstance(c, str) for c in claims)} has it")

    async def order(session: AsyncSession) -> dict[str, Any]:
        await add_event(session, "order 1", "ordered", {})
        return {"order": 1}

    answers = [await once(database, "Ada", "k-1", {"article": 7}, order) for _ in range(2)]
    show("the same request twice", ", ".join(f"replayed={a.replayed}" for a in answers))
    try:
        await once(database, "Ada", "k-1", {"article": 8}, order)
    except KeyReusedError as error:
        show("its key on another request", error)
    try:
        async with exclusive(database, "nightly report"):
            try:
                async with exclusive(database, "nightly report", wait=False):
                    pass
            except LockedError as error:
                show("an advisory lock, twice", error)
    except UnsupportedError as error:
        show("an advisory lock", error)


async def show_queue(database: DatabaseSessionManager) -> None:
    async def handle(session: AsyncSession, job: Job) -> None:
        if job.attempts < 2:
            raise RuntimeError("not today")
        await add_event(session, "mail", "sent", job.payload)

    async with database.begin() as session:
        session.add_all(Job(kind="mail", payload={"to": n}) for n in range(3))
        session.add(Job(kind="mail", payload={"to": 3}, attempts=1))
    workers = await asyncio.gather(*(work_once(database, handle) for _ in range(4)))
    async with database.read_only_session() as session:
        done = await Job.count(session, Job.state == JobState.DONE)
    show(f"{sum(workers)} workers", f"{done} job done, {sum(workers) - done} wait for another try")


async def show_outbox(database: DatabaseSessionManager) -> None:
    sent: list[str] = []

    async def publish(event: OutboxEvent) -> None:
        sent.append(f"{event.aggregate} #{event.sequence}")

    async with database.begin() as session:
        await add_event(session, "order 1", "paid", {})
    rounds = 0
    published = 1
    while published:
        async with database.begin() as session:
            published = await relay_events(session, publish)
        rounds += bool(published)
    show(f"events published in {rounds} rounds", ", ".join(sent))


async def show_postgresql(database: DatabaseSessionManager) -> None:
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    listening = asyncio.create_task(listen(database, "jobs", heard.put))
    try:
        first = asyncio.create_task(heard.get())
        await asyncio.wait({listening, first}, return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            first.cancel()
            show("LISTEN", listening.exception())
            return
        async with database.begin() as session:
            await notify(session, "jobs", "wake up")
        show("LISTEN: at the start, then", f"{await first!r}, {await heard.get()!r}")
    finally:
        listening.cancel()


if __name__ == "__main__":
    _setup.run(main)
