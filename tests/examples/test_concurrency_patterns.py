"""examples/concurrency_patterns.py: every pattern under real concurrency, its price counted."""

import asyncio
import logging
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, func, inspect, make_url, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.exc import StaleDataError

import concurrency_patterns as patterns
from base_model import Base
from concurrency_patterns import (
    Account,
    IdempotencyKey,
    Job,
    JobState,
    OutboxEvent,
    Transfer,
    Username,
    WikiPage,
)
from projects import warm
from projects.examples import create_tables, statements
from retries import run_in_transaction
from servers.proxy import Proxy
from session_manager import DatabaseConfig, DatabaseSessionManager

pytestmark = pytest.mark.older_sqlalchemy_on("sqlite", "postgresql")

EXAMPLE = Path(patterns.__file__)
TABLES = [
    model.__table__
    for model in (WikiPage, Account, Transfer, Username, IdempotencyKey, Job, OutboxEvent)
]


@pytest.fixture
def database_url(dialect: str, filled: Callable[..., str]) -> str:
    """A database with the example's tables."""
    return filled(dialect, "concurrency", lambda url: asyncio.run(create_tables(url, TABLES)))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[DatabaseSessionManager]:
    config = DatabaseConfig(
        database_url, pool_size=10, max_overflow=10, pool_timeout=90, lock_timeout=60
    )
    async with DatabaseSessionManager(config) as manager:
        yield manager


@asynccontextmanager
async def hurried(database_url: str, seconds: float = 1) -> AsyncIterator[DatabaseSessionManager]:
    """A second process's manager, which waits a second for a lock."""
    config = DatabaseConfig(database_url, lock_timeout=seconds)
    async with DatabaseSessionManager(config) as manager:
        yield manager


def verbs(seen: list[str]) -> list[str]:
    return [statement.split()[0] for statement in seen]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for is not ours to signal
        await asyncio.sleep(0.01)


async def saved(database: DatabaseSessionManager, *rows: Base) -> None:
    async with database.begin() as session:
        session.add_all(rows)


async def new_page(database: DatabaseSessionManager) -> WikiPage:
    page = WikiPage(title="Home", body="first")
    await saved(database, page)
    return page


# Locks


async def test_seed_16_concurrent_increments_all_count(database: DatabaseSessionManager):
    page = await new_page(database)

    async def view() -> None:
        async with database.begin() as session:
            await patterns.count_view(session, page.id)

    with statements(database) as seen:
        await asyncio.gather(*(view() for _ in range(20)))
    assert verbs(seen) == ["UPDATE"] * 20
    async with database.session() as session:
        now = await session.get_one(WikiPage, page.id)
        assert (now.views, now.version) == (20, 1)


async def test_seed_16_reading_and_writing_back_loses_increments(database, dialect: str):
    """What count_view saves from. SQLite's transactions are one after the other anyway."""
    page = await new_page(database)
    all_have_read = asyncio.Barrier(5)

    async def view() -> None:
        async with database.begin() as session:
            views = await session.scalar(select(WikiPage.views).where(WikiPage.id == page.id))
            if dialect != "sqlite":
                await all_have_read.wait()
            await session.execute(update(WikiPage).values(views=views + 1))

    await asyncio.gather(*(view() for _ in range(5)))
    async with database.session() as session:
        views = (await session.get_one(WikiPage, page.id)).views
    assert views == (5 if dialect == "sqlite" else 1)


async def test_edit_page_refuses_a_row_that_changed_since_it_was_loaded(database, database_url):
    page = await new_page(database)
    with statements(database) as seen:
        async with database.begin() as session:
            edited = await patterns.edit_page(session, page.id, "second")
    assert verbs(seen) == ["SELECT", "UPDATE"]
    assert edited.version == 2

    # Loaded in one transaction, changed in the next, as happens after a commit in between.
    async with database.session() as session:
        loaded = await session.get_one(WikiPage, page.id)  # the identity map is weak
        await session.commit()
        async with database.begin() as other:
            await patterns.edit_page(other, page.id, "third")
        with pytest.raises(StaleDataError):
            await patterns.edit_page(session, page.id, "lost")
        assert loaded in session
    async with database.session() as session:
        now = await session.get_one(WikiPage, page.id)
        assert (now.body, now.version) == ("third", 3)


async def test_save_if_match(database: DatabaseSessionManager):
    page = await new_page(database)
    tag = patterns.etag(page)
    with statements(database) as seen:
        async with database.begin() as session:
            assert await patterns.save_if_match(session, page.id, tag, "second") == '"2"'
    assert verbs(seen) == ["UPDATE"]

    async with database.begin() as session:
        for seen_tag, status in (
            (tag, 412),
            (None, 428),
            ("W/" + '"2"', 412),
            ('"²"', 412),
            ('"99999999999999999999"', 412),
        ):
            with statements(database) as seen, pytest.raises(patterns.PreconditionError) as refused:
                await patterns.save_if_match(session, page.id, seen_tag, "lost")
            assert refused.value.status_code == status
            assert verbs(seen) == (["UPDATE", "SELECT"] if seen_tag else [])
        with pytest.raises(patterns.PreconditionError) as refused:
            await patterns.save_if_match(session, uuid4(), '"1"', "lost")
        assert refused.value.status_code == 404
    async with database.session() as session:
        assert (await session.get_one(WikiPage, page.id)).body == "second"


async def test_of_many_who_saw_one_version_one_saves(database: DatabaseSessionManager):
    page = await new_page(database)

    async def save(number: int) -> str:
        async with database.begin() as session:
            return await patterns.save_if_match(session, page.id, '"1"', f"text {number}")

    results = await asyncio.gather(*map(save, range(10)), return_exceptions=True)
    assert results.count('"2"') == 1
    refused = [r for r in results if isinstance(r, patterns.PreconditionError)]
    assert [r.status_code for r in refused] == [412] * 9


async def test_lock_page_waits_and_then_sees_what_was_committed(database, dialect: str):
    page = await new_page(database)
    locked, order = asyncio.Event(), []

    async def first() -> None:
        async with database.begin() as session:
            row = await patterns.lock_page(session, page.id)
            locked.set()
            await asyncio.sleep(0.1)
            row.body = "changed"
            order.append("first")

    async def second() -> None:
        await locked.wait()
        async with database.session() as session:
            if dialect != "sqlite":
                await session.get_one(WikiPage, page.id)  # the old values are in memory
            row = await patterns.lock_page(session, page.id)
            order.append("second")
            assert row.body == "changed"

    await asyncio.gather(first(), second())
    assert order == ["first", "second"]


@pytest.mark.dialects("postgresql", "mysql")
async def test_a_lock_without_populate_existing_keeps_the_old_values(database):
    """What lock_page's docstring warns of; its version column turns it into an error later."""
    page = await new_page(database)
    async with database.session() as session:
        row = await session.get_one(WikiPage, page.id)
        async with database.begin() as other:
            await other.execute(update(WikiPage).values(body="changed"))
        statement = select(WikiPage).where(WikiPage.id == page.id).with_for_update()
        assert (await session.scalars(statement)).one() is row
        assert row.body == "first"
        await patterns.lock_page(session, page.id)
        assert row.body == "changed"


@pytest.mark.dialects("postgresql", "mysql")
async def test_nowait_refuses_at_once_and_keeps_the_transaction(database):
    page, other_page = await new_page(database), await new_page(database)
    async with database.session() as holder:
        await patterns.lock_page(holder, page.id)
        async with database.begin() as session:
            await session.execute(
                update(WikiPage).where(WikiPage.id == other_page.id).values(body="kept")
            )
            async with asyncio.timeout(50):  # lock_timeout is 60
                with pytest.raises(patterns.LockedError, match="being changed"):
                    await patterns.lock_page(session, page.id, wait=False)
    with statements(database) as seen:
        async with database.begin() as session:
            await patterns.lock_page(session, page.id, wait=False)
            row = await session.get_one(WikiPage, other_page.id)
            assert row.body == "kept"
    assert verbs(seen[:3]) == ["SAVEPOINT", "SELECT", "RELEASE"]
    assert seen[1].endswith("FOR UPDATE NOWAIT")


@pytest.mark.dialects("postgresql", "mysql")
async def test_waiting_for_a_lock_ends_with_lock_timeout(database, database_url: str):
    page = await new_page(database)
    async with hurried(database_url) as impatient, database.session() as holder:
        await patterns.lock_page(holder, page.id)
        async with impatient.session() as session, asyncio.timeout(60):
            with pytest.raises(patterns.LockedError):
                await patterns.lock_page(session, page.id)


@pytest.mark.dialects("sqlite")
async def test_sqlite_says_that_it_has_no_nowait(database: DatabaseSessionManager):
    page = await new_page(database)
    async with database.session() as session:
        with pytest.raises(patterns.UnsupportedError, match="SQLite has no NOWAIT"):
            await patterns.lock_page(session, page.id, wait=False)


@pytest.mark.dialects("sqlite")
async def test_sqlite_leaves_out_for_update_and_locks_at_begin(database, database_url: str):
    page = await new_page(database)
    async with hurried(database_url) as impatient, database.session() as holder:
        with statements(database) as seen:
            await patterns.lock_page(holder, page.id)
        assert "FOR UPDATE" not in seen[0]
        async with impatient.session() as session:
            with pytest.raises(DBAPIError, match="locked"):
                await session.scalar(select(1))
        async with impatient.read_only_session() as session:
            assert await session.scalar(select(WikiPage.body)) == "first"


# What references/transactions.md says of locks and levels


@pytest.mark.dialects("postgresql", "mysql")
async def test_a_savepoint_gives_its_locks_back_on_postgresql_only(database, dialect: str):
    page, earlier = await new_page(database), await new_page(database)
    async with database.session() as holder, database.session() as other:
        await patterns.lock_page(holder, earlier.id)  # a transaction before the savepoint
        with suppress(RuntimeError):
            async with holder.begin_nested():
                await patterns.lock_page(holder, page.id)
                raise RuntimeError
        if dialect == "postgresql":
            await patterns.lock_page(other, page.id, wait=False)
        else:
            with pytest.raises(patterns.LockedError):
                await patterns.lock_page(other, page.id, wait=False)


async def test_a_rolled_back_savepoint_expires_what_was_changed_inside(database):
    page, untouched = await new_page(database), await new_page(database)
    async with database.session() as session:
        page = await session.get_one(WikiPage, page.id)
        untouched = await session.get_one(WikiPage, untouched.id)
        with suppress(RuntimeError):
            async with session.begin_nested():
                page.body = "inside"
                await session.flush()
                raise RuntimeError
        assert untouched.body == "first"
        assert "body" in inspect(page).expired_attributes
        await session.refresh(page)
        assert page.body == "first"


@pytest.mark.dialects("postgresql")
@pytest.mark.parametrize("key_share", [False, True])
async def test_for_update_stops_inserts_of_children_but_for_no_key_update_does_not(
    database, key_share: bool
):
    ada, bob = await two_accounts(database)
    lock = select(Account).where(Account.id == ada).with_for_update(key_share=key_share)
    async with database.session() as holder, database.session() as other:
        await holder.execute(lock)
        await other.execute(text("SET LOCAL lock_timeout = '200ms'"))
        other.add(Transfer(source_id=ada, target_id=bob, amount=Decimal(1)))
        if key_share:
            await other.flush()
        else:
            with pytest.raises(DBAPIError, match="lock timeout"):
                await other.flush()


@pytest.mark.dialects("postgresql", "mysql")
async def test_a_lock_timeout_is_run_again_on_mysql_only(database, database_url, dialect: str):
    page, runs = await new_page(database), 0

    async def work(session: AsyncSession) -> None:
        nonlocal runs
        runs += 1
        await session.execute(update(WikiPage).values(body="mine"))

    async with hurried(database_url) as impatient, database.session() as holder:
        await patterns.lock_page(holder, page.id)
        with pytest.raises(DBAPIError, match=r"(?i)lock"):
            await run_in_transaction(impatient, work, attempts=2)
    assert runs == (1 if dialect == "postgresql" else 2)


@pytest.mark.dialects("postgresql", "mysql")
async def test_repeatable_read_loses_updates_on_mysql_only(database, dialect: str, mysql_server):
    """PostgreSQL fails the second writer, who then reads again."""
    page, both_have_read = await new_page(database), asyncio.Barrier(2)

    def add_one() -> Callable:
        first_time = [both_have_read]

        async def work(session: AsyncSession) -> None:
            views = await session.scalar(select(WikiPage.views))
            if first_time:
                await first_time.pop().wait()
            await session.execute(update(WikiPage).values(views=views + 1))

        return work

    await asyncio.gather(
        *(
            run_in_transaction(database, add_one(), isolation_level="REPEATABLE READ")
            for _ in range(2)
        )
    )
    async with database.session() as session:
        views = (await session.get_one(WikiPage, page.id)).views
    # MariaDB from 11.6.2 on fails the second one, as PostgreSQL does (1020).
    version = mysql_server.version.lower()
    number = tuple(map(int, version.partition("-")[0].split(".")))
    careful = dialect == "postgresql" or ("mariadb" in version and number >= (11, 6, 2))
    assert views == (2 if careful else 1)


# Money


async def two_accounts(
    database: DatabaseSessionManager, balance: Decimal = Decimal("100.00")
) -> tuple[UUID, UUID]:
    ada = Account(owner="Ada", balance=balance)
    bob = Account(owner="Bob", balance=balance)
    await saved(database, ada, bob)
    return ada.id, bob.id


async def balances(database: DatabaseSessionManager) -> list[Decimal]:
    async with database.session() as session:
        return list(await session.scalars(select(Account.balance).order_by(Account.id)))


async def test_a_transfer_locks_both_accounts_with_one_statement(database, dialect: str):
    ada, bob = await two_accounts(database)
    with statements(database) as seen:
        made = await patterns.transfer_funds(database, bob, ada, Decimal("0.10"))
    assert verbs(seen) == ["SELECT", "SELECT", "UPDATE", "INSERT"]
    assert "ORDER BY accounts.id" in seen[0]
    lock = {"postgresql": "FOR NO KEY UPDATE", "mysql": "FOR UPDATE", "sqlite": ""}[dialect]
    assert seen[0].endswith(lock or "accounts.id")
    assert str(made.amount) == "0.10"
    assert await balances(database) == [Decimal("100.10"), Decimal("99.90")]


async def test_seed_20_transfer_to_an_unknown_account_takes_nothing(database):
    ada, _bob = await two_accounts(database)
    for source, target in ((ada, uuid4()), (uuid4(), ada), (uuid4(), uuid4())):
        with pytest.raises(patterns.UnknownAccountError):
            await patterns.transfer_funds(database, source, target, Decimal("10"))
    assert await balances(database) == [Decimal(100), Decimal(100)]


@pytest.mark.parametrize("amount", ["-50", "0", "-0.00", "0.00"])
async def test_seed_21_negative_and_zero_amounts_are_refused(database, amount: str):
    ada, bob = await two_accounts(database)
    with pytest.raises(patterns.TransferRefusedError, match="more than 0"):
        await patterns.transfer_funds(database, ada, bob, Decimal(amount))
    assert await balances(database) == [Decimal(100), Decimal(100)]


async def test_seed_row_56_no_money_is_made_or_lost(database: DatabaseSessionManager):
    ada, bob = await two_accounts(database)
    with pytest.raises(patterns.InsufficientFundsError):
        await patterns.transfer_funds(database, ada, bob, Decimal("100.01"))
    with pytest.raises(patterns.TransferRefusedError, match="one account"):
        await patterns.transfer_funds(database, ada, ada, Decimal("1"))
    await patterns.transfer_funds(database, ada, bob, Decimal("100.00"))
    assert await balances(database) == [Decimal("0.00"), Decimal("200.00")]
    # Ten want the last 200.00 at once: two get 100.00 each.
    wants = [patterns.transfer_funds(database, bob, ada, Decimal("100")) for _ in range(10)]
    results = await asyncio.gather(*wants, return_exceptions=True)
    assert sum(isinstance(r, Transfer) for r in results) == 2
    assert sum(isinstance(r, patterns.InsufficientFundsError) for r in results) == 8
    assert await balances(database) == [Decimal(200), Decimal(0)]


async def test_seed_row_56_the_database_refuses_a_negative_balance(database):
    await two_accounts(database)
    async with database.session() as session:
        with pytest.raises(DBAPIError, match=r"ck_accounts_balance|CHECK"):
            await session.execute(update(Account).values(balance=Account.balance - 101))


async def test_seed_22_opposite_transfers_neither_deadlock_nor_lose_a_cent(
    database, caplog: pytest.LogCaptureFixture
):
    ada, bob = await two_accounts(database)
    pairs = [(ada, bob), (bob, ada)] * 20
    caplog.set_level(logging.INFO, "retries")
    await asyncio.gather(
        *(patterns.transfer_funds(database, *pair, Decimal("0.01")) for pair in pairs),
    )
    # Not one was run again: the order of the locks leaves nothing to retry.
    assert [r.message for r in caplog.records if "attempt" in r.message] == []
    assert await balances(database) == [Decimal("100.00"), Decimal("100.00")]
    async with database.session() as session:
        assert await Transfer.count(session) == len(pairs)


@pytest.mark.dialects("postgresql", "mysql")
async def test_seed_22_without_the_order_of_locks_they_do_deadlock(database):
    """The control: the same transfers, locked in the order that the money goes."""
    ada, bob = await two_accounts(database)
    both_hold_one = asyncio.Barrier(2)

    async def move(source: UUID, target: UUID) -> None:
        async with database.begin() as session:
            lock = select(Account).with_for_update()
            await session.execute(lock.where(Account.id == source))
            await both_hold_one.wait()
            await session.execute(lock.where(Account.id == target))

    results = await asyncio.gather(move(ada, bob), move(bob, ada), return_exceptions=True)
    assert "deadlock" in str([r for r in results if r is not None]).lower()


@pytest.mark.parametrize("amount", ["10.005", "NaN", "Infinity", "1E+16", "0.001", "1E-999999"])
async def test_seed_23_inexact_amounts_are_refused(database, amount: str):
    ada, bob = await two_accounts(database)
    with pytest.raises(ValueError, match="at most 2 decimals"):
        await patterns.transfer_funds(database, ada, bob, Decimal(amount))
    assert await balances(database) == [Decimal(100), Decimal(100)]


async def test_seed_23_money_is_exact_and_never_a_float(database: DatabaseSessionManager):
    ada, bob = await two_accounts(database, Decimal("90071992547409.93"))  # 2**53 + 1 cents
    with pytest.raises(TypeError, match="not float"):
        await patterns.transfer_funds(database, ada, bob, 10.0)  # type: ignore[arg-type]
    for _ in range(10):
        await patterns.transfer_funds(database, ada, bob, Decimal("0.10"))
    await patterns.transfer_funds(database, ada, bob, Decimal("1.000"))
    async with database.session() as session:
        rows = list(await session.scalars(select(Account.balance).order_by(Account.id)))
        assert [str(row) for row in rows] == ["90071992547407.93", "90071992547411.93"]
        assert all(isinstance(row, Decimal) for row in rows)
        total = await session.scalar(select(func.sum(Account.balance)))
        assert str(total) == "180143985094819.86"
        assert await session.scalar(select(func.sum(Account.balance)).where(text("1 = 0"))) is None
        rich = select(func.count()).where(Account.balance > Decimal("90071992547407.93"))
        assert await session.scalar(rich) == 1
        with pytest.raises(TypeError, match="multiply and divide money in Python"):
            select(Account.balance * 2)
        stored = await session.scalar(text("SELECT max(balance) FROM accounts"))
        assert int(stored) == 9007199254741193
        await session.rollback()
        for wrong in (0.1, "1.00", True):
            session.add(Account(owner="x", balance=wrong))
            with pytest.raises(Exception, match="money is a Decimal"):
                await session.flush()
            await session.rollback()


async def test_a_transfer_with_one_id_is_made_once(database: DatabaseSessionManager):
    ada, bob = await two_accounts(database)
    order = uuid4()
    wants = [
        patterns.transfer_funds(database, ada, bob, Decimal("5"), transfer_id=order)
        for _ in range(5)
    ]
    assert {made.id for made in await asyncio.gather(*wants)} == {order}
    assert await balances(database) == [Decimal(95), Decimal(105)]
    for source, target, amount in ((ada, bob, "6"), (bob, ada, "5")):
        with pytest.raises(patterns.TransferRefusedError, match="was another one"):
            await patterns.transfer_funds(
                database, source, target, Decimal(amount), transfer_id=order
            )
    assert await balances(database) == [Decimal(95), Decimal(105)]


@pytest.mark.dialects("postgresql", "mysql")
async def test_a_transfer_counts_on_what_is_there_and_not_on_what_was_read_before(database):
    """In the transaction of a caller that has both accounts in memory."""
    ada, bob = await two_accounts(database)
    async with database.begin() as session:
        held = [await session.get_one(Account, key) for key in (ada, bob)]
        await patterns.transfer_funds(database, ada, bob, Decimal("60"))
        with pytest.raises(patterns.InsufficientFundsError):
            await patterns.transfer_within(session, ada, bob, Decimal("60"), transfer_id=uuid4())
        await patterns.transfer_within(session, ada, bob, Decimal("40"), transfer_id=uuid4())
        assert [account.balance for account in held] == [0, 200]
    assert await balances(database) == [Decimal(0), Decimal(200)]


@pytest.mark.dialects("postgresql", "mysql")
async def test_a_transfer_survives_a_connection_lost_in_commit(database, dialect: str, request):
    ada, bob = await two_accounts(database)
    server = request.getfixturevalue(f"{dialect.replace('postgresql', 'postgres')}_server")
    identity = "connection_id()" if dialect == "mysql" else "pg_backend_pid()"
    cut: list[int] = []

    @event.listens_for(database.engine.sync_engine, "commit")
    def commit(connection) -> None:
        if not cut:
            cut.append(connection.exec_driver_sql(f"SELECT {identity}").scalar_one())
            ending = "KILL {}" if dialect == "mysql" else "SELECT pg_terminate_backend({})"
            server.execute(ending.format(cut[0]))

    await patterns.transfer_funds(database, ada, bob, Decimal("5"))
    assert cut
    assert await balances(database) == [Decimal(95), Decimal(105)]


# Unique races and idempotency


async def test_insert_or_get_counts_its_statements(database: DatabaseSessionManager):
    for expected in (["SELECT", "SAVEPOINT", "INSERT", "RELEASE"], ["SELECT"]):
        async with database.begin() as session:
            with statements(database) as seen:
                await patterns.claim_username(session, "root", "Ada")
        assert verbs(seen) == expected


@pytest.mark.dialects("postgresql", "mysql")
async def test_seed_30_a_lost_race_keeps_the_callers_work_and_is_not_repeated(
    database, slept: list[float]
):
    page = await new_page(database)
    async with database.session() as fast, database.session() as slow:
        await patterns.claim_username(fast, "root", "Ada")
        pending = WikiPage(title="pending", body="")
        slow.add(pending)
        loaded = await slow.get_one(WikiPage, page.id)
        loaded.body = "changed before"
        await slow.flush()
        with statements(database) as seen:
            waiting = asyncio.create_task(patterns.claim_username(slow, "root", "Bob"))
            await until(lambda: "INSERT" in verbs(seen))
            assert not waiting.done()  # the INSERT waits for the other's end
            await fast.commit()
            with pytest.raises(patterns.NameTakenError):
                await waiting
        assert max(slept) < 1  # the seed slept for 3 s
        assert verbs(seen) == ["SELECT", "SAVEPOINT", "INSERT", "ROLLBACK", "SELECT"]
        assert loaded.body == "changed before"
        await slow.commit()
    async with database.session() as session:
        assert await WikiPage.count(session, WikiPage.title == "pending") == 1
        assert (await session.get_one(WikiPage, page.id)).body == "changed before"


async def test_seed_30_a_taken_name_is_told_at_once(database: DatabaseSessionManager):
    await saved(database, Username(name="root", owner="Ada"))
    async with database.session() as session:
        session.add(WikiPage(title="pending", body=""))
        with statements(database) as seen, pytest.raises(patterns.NameTakenError):
            await patterns.claim_username(session, "root", "Bob")
        assert verbs(seen) == ["INSERT", "SELECT"]  # the caller's page, and one look
        await session.commit()
        assert await WikiPage.count(session) == 1


async def test_of_many_who_claim_a_name_one_gets_it(database: DatabaseSessionManager, dialect):
    async def claim(owner: str) -> str:
        async with database.begin() as session:
            session.add(WikiPage(title=owner, body=""))
            with suppress(patterns.NameTakenError):
                await patterns.claim_username(session, "root", owner)
                return "mine"
            return "taken"

    results = await asyncio.gather(*(claim(f"owner {n}") for n in range(10)))
    assert results.count("mine") == 1
    async with database.session() as session:
        assert await WikiPage.count(session) == 10  # nobody lost other work
        assert await Username.count(session) == 1


async def test_insert_or_get_raises_the_violation_of_another_constraint(database):
    await saved(database, Username(name="root", owner="Ada"))
    async with database.session() as session:
        row = Username(name="root", owner="Bob")
        with pytest.raises(IntegrityError):
            await patterns.insert_or_get(session, row, Username.name == "admin")
        assert await Username.count(session) == 1  # the transaction goes on


async def test_the_same_key_gets_the_same_answer(database: DatabaseSessionManager):
    async def work(session: AsyncSession) -> dict:
        session.add(WikiPage(title="ordered", body=""))
        return {"order": 17}

    with statements(database) as seen:
        first = await patterns.once(database, "Ada", "k", {"article": 7, "n": 1}, work)
    assert verbs(seen) == ["SELECT", "SAVEPOINT", "INSERT", "RELEASE", "INSERT", "UPDATE"] or (
        verbs(seen) == ["SELECT", "SAVEPOINT", "INSERT", "RELEASE", "UPDATE", "INSERT"]
    )
    with statements(database) as seen:
        second = await patterns.once(database, "Ada", "k", {"n": 1, "article": 7}, work)
    assert verbs(seen) == ["SELECT"]
    assert (first.value, first.replayed) == ({"order": 17}, False)
    assert (second.value, second.replayed) == ({"order": 17}, True)
    with pytest.raises(patterns.KeyReusedError):
        await patterns.once(database, "Ada", "k", {"article": 8, "n": 1}, work)
    # Another owner's key, and one that differs in case only, are other keys.
    for owner, key in (("Bob", "k"), ("Ada", "K"), ("Adak", "")):
        assert not (await patterns.once(database, owner, key, {}, work)).replayed
    async with database.begin() as session:
        assert await WikiPage.count(session) == 4
        assert await patterns.forget_keys(session, await patterns.database_time(session)) == 4


async def test_of_two_at_once_one_works_and_the_other_gets_its_answer(database, dialect: str):
    runs: list[int] = []

    async def call(number: int) -> patterns.Answer:
        async def work(session: AsyncSession) -> dict:
            runs.append(number)
            await asyncio.sleep(0.2)
            return {"worker": number}

        return await patterns.once(database, "Ada", "k", {}, work)

    answers = await asyncio.gather(*map(call, range(3 if dialect == "sqlite" else 8)))
    assert len(runs) == 1
    assert all(answer.value == {"worker": runs[0]} for answer in answers)
    assert sum(not answer.replayed for answer in answers) == 1


async def test_a_failed_call_leaves_the_key_free(database: DatabaseSessionManager):
    started = asyncio.Event()

    async def fails(session: AsyncSession) -> dict:
        session.add(WikiPage(title="half", body=""))
        started.set()
        await asyncio.sleep(0.2)
        raise RuntimeError("no stock")

    async def works(session: AsyncSession) -> dict:
        return {"done": True}

    failing = asyncio.create_task(patterns.once(database, "Ada", "k", {}, fails))
    await started.wait()
    waiting = [asyncio.create_task(patterns.once(database, "Ada", "k", {}, works)) for _ in "123"]
    with pytest.raises(RuntimeError, match="no stock"):
        await failing
    answers = await asyncio.gather(*waiting)
    assert [answer.value for answer in answers] == [{"done": True}] * 3
    assert sum(not answer.replayed for answer in answers) == 1
    async with database.session() as session:
        assert await WikiPage.count(session) == 0


@pytest.mark.dialects("postgresql", "mysql")
@pytest.mark.parametrize("by", ["execute", "flush", "exit"])
async def test_a_deadlock_inside_a_savepoint_is_run_again(database, by: str):
    """On MySQL it arrives as 1305, SAVEPOINT does not exist, but for savepoint()."""
    ada, bob = await two_accounts(database)
    both_hold_one = asyncio.Barrier(2)

    async def move(source: UUID, target: UUID) -> int:
        runs = 0

        async def work(session: AsyncSession) -> int:
            nonlocal runs
            runs += 1
            account = await session.get_one(Account, target)
            lock = select(Account).with_for_update()
            await session.execute(lock.where(Account.id == source))
            if runs == 1:
                await both_hold_one.wait()
            async with patterns.savepoint(session):
                if by == "execute":
                    await session.execute(lock.where(Account.id == target))
                account.owner = f"run {runs}"
                if by == "flush":
                    await session.flush()
            return runs

        return await run_in_transaction(database, work)

    runs = await asyncio.gather(move(ada, bob), move(bob, ada), return_exceptions=True)
    assert sorted(map(str, runs)) == ["1", "2"]


# Advisory locks


@pytest.mark.dialects("postgresql", "mysql")
async def test_exclusive_lets_one_in_at_a_time(database: DatabaseSessionManager, dialect: str):
    page, inside = await new_page(database), 0

    async def enter() -> None:
        nonlocal inside
        async with patterns.exclusive(database, "report") as session:
            inside += 1
            assert inside == 1
            # Read, then write back: right only if the one before has committed.
            views = await session.scalar(select(WikiPage.views).where(WikiPage.id == page.id))
            await asyncio.sleep(0.01)
            await session.execute(update(WikiPage).values(views=views + 1))
            inside -= 1

    with statements(database) as seen:
        await asyncio.gather(*(enter() for _ in range(10)))
    locks = [s for s in seen if "lock" in s and "wiki" not in s]
    assert len(locks) == (10 if dialect == "postgresql" else 20)
    async with database.session() as session:
        assert (await session.get_one(WikiPage, page.id)).views == 10


@pytest.mark.dialects("postgresql", "mysql")
async def test_exclusive_is_refused_while_another_is_inside(database, database_url: str):
    async with hurried(database_url) as impatient, patterns.exclusive(database, "report"):
        for wait in (False, True):
            async with asyncio.timeout(60):
                with pytest.raises(patterns.LockedError, match="'report'"):
                    async with patterns.exclusive(impatient, "report", wait=wait):
                        raise AssertionError("not reached")
        async with patterns.exclusive(impatient, "another name", wait=False):
            pass
    async with patterns.exclusive(database, "report", wait=False):
        pass


@pytest.mark.dialects("postgresql", "mysql")
async def test_exclusive_is_about_one_database_of_the_server(
    database, dialect: str, make_database: Callable[[str], str]
):
    async with (
        hurried(make_database(dialect)) as another,
        patterns.exclusive(database, "report"),
        patterns.exclusive(another, "report", wait=False),
    ):
        pass


@pytest.mark.dialects("postgresql", "mysql")
async def test_exclusive_gives_the_lock_back_after_an_error(database, database_url: str):
    started = asyncio.Event()

    async def stays() -> None:
        async with patterns.exclusive(database, "report") as session:
            session.add(WikiPage(title="half", body=""))
            await session.flush()
            started.set()
            await asyncio.sleep(60)

    with pytest.raises(RuntimeError):
        async with patterns.exclusive(database, "report") as session:
            session.add(WikiPage(title="half", body=""))
            raise RuntimeError
    cancelled = asyncio.create_task(stays())
    await started.wait()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    # From another process: a connection of this pool may have MySQL's lock, and take it again.
    async with hurried(database_url, 60) as other, patterns.exclusive(other, "report") as session:
        assert await WikiPage.count(session) == 0
    assert database.engine.pool.checkedout() == 0


@pytest.mark.dialects("mysql")
async def test_a_mysql_lock_that_is_not_released_goes_back_to_the_pool(database_url: str):
    """Why exclusive() keeps its connection: rollback and return to the pool free nothing."""
    config = DatabaseConfig(database_url, pool_size=1, max_overflow=0)
    async with (
        DatabaseSessionManager(config) as careless,
        DatabaseSessionManager(config) as other,
    ):
        async with careless.begin() as session:
            assert await session.scalar(text("SELECT GET_LOCK('report', 0)")) == 1
        async with other.session() as session:
            assert await session.scalar(text("SELECT GET_LOCK('report', 0)")) == 0


@pytest.mark.dialects("sqlite")
async def test_sqlite_says_that_it_has_no_advisory_locks(database: DatabaseSessionManager):
    with pytest.raises(patterns.UnsupportedError, match="SQLite has no advisory locks"):
        async with patterns.exclusive(database, "report"):
            pass


# The job queue


async def jobs(database: DatabaseSessionManager) -> list[Job]:
    async with database.session() as session:
        return list(await session.scalars(select(Job).order_by(Job.id)))


async def make_due(
    database: DatabaseSessionManager, since: timedelta = timedelta(seconds=1)
) -> None:
    async with database.begin() as session:
        past = await patterns.database_time(session) - since
        await session.execute(update(Job).where(Job.state == JobState.READY).values(run_at=past))


async def time_of(database: DatabaseSessionManager) -> datetime:
    async with database.session() as session:
        return await patterns.database_time(session)


async def done_by(session: AsyncSession, job: Job) -> None:
    session.add(WikiPage(title=f"job {job.payload['n']}", body=""))


async def test_a_job_is_done_once_and_its_effects_are_one_commit(database):
    await saved(database, Job(kind="mail", payload={"n": 1}))
    with statements(database) as seen:
        assert await patterns.work_once(database, done_by)
    assert verbs(seen) == ["SELECT", "SELECT", "UPDATE", "UPDATE", "INSERT"] or (
        verbs(seen) == ["SELECT", "SELECT", "UPDATE", "INSERT", "UPDATE"]
    )
    with statements(database) as seen:
        assert not await patterns.work_once(database, done_by)
    assert verbs(seen) == ["SELECT"] * 4  # the time and the jobs, to claim and to bury
    (job,) = await jobs(database)
    assert (job.state, job.attempts, job.last_error) == (JobState.DONE, 1, None)
    async with database.session() as session:
        assert await WikiPage.count(session) == 1


async def test_many_workers_share_the_jobs(database: DatabaseSessionManager, dialect: str):
    count = 8 if dialect == "sqlite" else 16
    await saved(database, *(Job(kind="mail", payload={"n": n}) for n in range(count)))

    async def worker() -> None:
        while await patterns.work_once(database, done_by):
            pass

    await asyncio.gather(*(worker() for _ in range(2 if dialect == "sqlite" else 8)))
    assert {job.state for job in await jobs(database)} == {JobState.DONE}
    async with database.session() as session:
        titles = list(await session.scalars(select(WikiPage.title)))
    assert sorted(titles) == sorted(f"job {n}" for n in range(count))  # each of them once


@pytest.mark.dialects("postgresql", "mysql")
async def test_a_claim_skips_what_another_is_claiming(database: DatabaseSessionManager):
    await saved(database, *(Job(kind="mail", payload={"n": n}) for n in range(3)))
    async with database.session() as first, database.session() as second, asyncio.timeout(60):
        with statements(database) as seen:
            mine = await patterns.claim_jobs(first, limit=2)
        assert verbs(seen) == ["SELECT", "SELECT", "UPDATE"]
        # The longest due first: an index would give it by chance.
        assert "ORDER BY jobs.run_at" in seen[1]
        assert seen[1].endswith("FOR UPDATE SKIP LOCKED")
        theirs = await patterns.claim_jobs(second, limit=2)
        assert len(mine) == 2
        assert len(theirs) == 1
        assert {j.id for j in mine}.isdisjoint(j.id for j in theirs)


async def test_a_job_that_failed_often_waits_an_hour_and_no_longer(database):
    await saved(database, Job(kind="mail", payload={}, attempts=30, max_attempts=50))

    async def fails(session: AsyncSession, job: Job) -> None:
        raise RuntimeError("no")

    before = await time_of(database)
    assert await patterns.work_once(database, fails)
    after = await time_of(database)
    (job,) = await jobs(database)
    assert job.run_at - after <= timedelta(hours=1) <= job.run_at - before


async def test_a_failing_job_waits_longer_each_time_and_is_given_up(database):
    why = "mail server is down, " * 50  # more than there is room for
    await saved(database, Job(kind="mail", payload={}, max_attempts=3))

    async def fails(session: AsyncSession, job: Job) -> None:
        session.add(WikiPage(title="half", body=""))
        await session.flush()
        raise RuntimeError(why)

    for seconds in (2, 4, 8):
        before = await time_of(database)
        assert await patterns.work_once(database, fails)
        after = await time_of(database)
        (job,) = await jobs(database)
        assert job.run_at - after <= timedelta(seconds=seconds) <= job.run_at - before
        await make_due(database, -timedelta(hours=1))
        assert not await patterns.work_once(database, fails)  # not yet
        await make_due(database)
    (job,) = await jobs(database)
    assert (job.state, job.attempts) == (JobState.DEAD, 3)
    assert job.last_error == f"RuntimeError: {why}"[:500]
    assert not await patterns.work_once(database, fails)
    async with database.session() as session:
        assert await WikiPage.count(session) == 0


WORKER = """
import asyncio, sys
sys.path[:0] = [{templates!r}, {examples!r}]
from datetime import timedelta
from session_manager import DatabaseConfig, DatabaseSessionManager
import concurrency_patterns as patterns

async def hang(*_):
    print("working", flush=True)
    await asyncio.sleep(60)

async def relay(database):
    async with database.begin() as session:
        await patterns.relay_events(session, hang, publish_timeout=60)

async def main():
    async with DatabaseSessionManager(DatabaseConfig(sys.stdin.readline().strip())) as database:
        if {what!r} == "job":
            await patterns.work_once(database, hang, lease=timedelta(seconds={lease}))
        else:
            await relay(database)

asyncio.run(main())
"""


def killed_worker(database_url: str, what: str = "job", lease: float = 60) -> None:
    """A process that is killed in the middle of its work, as by the kernel's OOM killer."""
    code = WORKER.format(
        templates=str(EXAMPLE.parents[1] / "templates"),
        examples=str(EXAMPLE.parent),
        what=what,
        lease=lease,
    )
    with subprocess.Popen(
        [warm.python(), "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(database_url + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "working\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL


async def test_a_killed_workers_job_is_done_by_another(database, database_url: str):
    await saved(database, Job(kind="mail", payload={"n": 1}))
    await asyncio.to_thread(killed_worker, database_url)
    (job,) = await jobs(database)
    assert (job.state, job.attempts) == (JobState.READY, 1)
    assert not await patterns.work_once(database, done_by)  # it has a lease
    await make_due(database)
    assert await patterns.work_once(database, done_by)
    (job,) = await jobs(database)
    assert (job.state, job.attempts) == (JobState.DONE, 2)


async def test_a_job_that_kills_its_workers_is_given_up(database, database_url: str):
    await saved(database, Job(kind="mail", payload={"n": 1}, max_attempts=2))
    for _ in range(2):
        await asyncio.to_thread(killed_worker, database_url)
        assert not await patterns.work_once(database, done_by)  # it has a lease
        assert [job.state for job in await jobs(database)] == [JobState.READY]
        await make_due(database)
    assert not await patterns.work_once(database, done_by)
    (job,) = await jobs(database)
    assert (job.state, job.attempts, job.last_error) == (JobState.DEAD, 2, "the worker died")


async def test_a_worker_that_lost_its_lease_changes_nothing(database: DatabaseSessionManager):
    await saved(database, Job(kind="mail", payload={"n": 1}))
    async with database.begin() as session:
        (slow,) = await patterns.claim_jobs(session, lease=timedelta(0))
    async with database.begin() as session:
        (fast,) = await patterns.claim_jobs(session)
    async with database.session() as session:
        await done_by(session, slow)
        with pytest.raises(patterns.LeaseLostError):
            await patterns.finish_job(session, slow)
    async with database.begin() as session:
        with statements(database) as seen:
            await patterns.fail_job(session, slow, RuntimeError("late"))
        assert verbs(seen) == ["SELECT", "UPDATE"]
    (job,) = await jobs(database)
    assert (job.state, job.attempts, job.last_error) == (JobState.READY, 2, None)
    async with database.begin() as session:
        await patterns.finish_job(session, fast)
    async with database.session() as session:
        assert await WikiPage.count(session) == 0


async def test_work_is_cancelled_when_its_lease_ends(database: DatabaseSessionManager):
    await saved(database, Job(kind="mail", payload={"n": 1}))

    async def slow(session: AsyncSession, job: Job) -> None:
        await asyncio.sleep(60)

    async with asyncio.timeout(60):
        assert await patterns.work_once(database, slow, lease=timedelta(seconds=0.3))
    (job,) = await jobs(database)
    assert (job.state, job.last_error) == (JobState.READY, "TimeoutError: ")


# The outbox


class Broker:
    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []
        self.refuses: set[str] = set()

    async def publish(self, news: OutboxEvent) -> None:
        await asyncio.sleep(0)
        if news.aggregate in self.refuses:
            raise ConnectionError("refused")
        self.sent.append((news.aggregate, news.sequence))


async def relay_all(database: DatabaseSessionManager, broker: Broker) -> None:
    published = 1
    while published:
        async with database.begin() as session:
            published = await patterns.relay_events(session, broker.publish)


async def test_an_event_is_saved_with_its_change_or_not_at_all(database):
    with pytest.raises(RuntimeError):
        async with database.begin() as session:
            session.add(WikiPage(title="undone", body=""))
            await patterns.add_event(session, "page 1", "made", {})
            raise RuntimeError
    async with database.begin() as session:
        with statements(database) as seen:
            await patterns.add_event(session, "page 1", "made", {"title": "Home"})
    assert verbs(seen) == ["SELECT", "INSERT"]
    broker = Broker()
    with statements(database) as seen:
        async with database.begin() as session:
            assert await patterns.relay_events(session, broker.publish) == 1
    assert verbs(seen) == ["SELECT", "UPDATE"]
    assert broker.sent == [("page 1", 1)]
    async with database.begin() as session:
        assert await patterns.relay_events(session, broker.publish) == 0


async def test_events_of_an_aggregate_stay_in_order_with_many_writers_and_relays(
    database, dialect: str
):
    pages = [await new_page(database) for _ in range(3)]
    each = 4 if dialect == "sqlite" else 6
    broker, writing = Broker(), True

    async def write(page: WikiPage) -> None:
        async with database.begin() as session:
            await patterns.count_view(session, page.id)
            await patterns.add_event(session, page.id.hex, "viewed", {})

    async def relay() -> None:
        while writing:
            await relay_all(database, broker)
            await asyncio.sleep(0.01)
        await relay_all(database, broker)

    relays = [asyncio.create_task(relay()) for _ in range(1 if dialect == "sqlite" else 3)]
    await asyncio.gather(*(write(page) for page in pages * each))
    writing = False
    await asyncio.gather(*relays)
    await relay_all(database, broker)
    for page in pages:
        sequences = [n for aggregate, n in broker.sent if aggregate == page.id.hex]
        assert sequences == list(range(1, each + 1))


@pytest.mark.dialects("postgresql", "mysql")
async def test_an_event_behind_one_that_is_being_published_waits(database):
    async with database.begin() as session:
        for _ in range(2):
            await patterns.add_event(session, "a", "x", {})
        await patterns.add_event(session, "b", "x", {})
    started, may_end, slow, fast = asyncio.Event(), asyncio.Event(), Broker(), Broker()

    async def publish_slowly(news: OutboxEvent) -> None:
        started.set()
        await may_end.wait()
        await slow.publish(news)

    async def relay() -> None:
        async with database.begin() as session:
            await patterns.relay_events(session, publish_slowly, limit=1)

    relaying = asyncio.create_task(relay())
    await started.wait()
    async with asyncio.timeout(60):
        await relay_all(database, fast)
    assert fast.sent == [("b", 1)]
    may_end.set()
    await relaying
    await relay_all(database, fast)
    assert slow.sent + fast.sent == [("a", 1), ("b", 1), ("a", 2)]


async def test_an_event_that_fails_holds_back_its_own_aggregate_only(database):
    async with database.begin() as session:
        for _ in range(2):
            await patterns.add_event(session, "a", "x", {})
            await patterns.add_event(session, "b", "x", {})
    broker = Broker()
    broker.refuses.add("a")
    for _ in range(2):  # one at a time: the one that failed is behind the others now
        for _ in range(2):
            async with database.begin() as session:
                await patterns.relay_events(session, broker.publish, limit=1)
    assert broker.sent == [("b", 1), ("b", 2)]
    broker.refuses.clear()
    await relay_all(database, broker)
    assert broker.sent[2:] == [("a", 1), ("a", 2)]


async def test_a_broker_that_hangs_is_given_up(database: DatabaseSessionManager):
    async with database.begin() as session:
        await patterns.add_event(session, "a", "x", {})

    async def hang(news: OutboxEvent) -> None:
        await asyncio.sleep(60)

    async with asyncio.timeout(60), database.begin() as session:
        assert await patterns.relay_events(session, hang, publish_timeout=0.2) == 0
    broker = Broker()
    await relay_all(database, broker)
    assert broker.sent == [("a", 1)]


async def test_a_killed_relays_event_is_published_again(database, database_url: str):
    async with database.begin() as session:
        await patterns.add_event(session, "a", "x", {})
    await asyncio.to_thread(killed_worker, database_url, "relay")
    broker = Broker()
    async with asyncio.timeout(60):
        while not broker.sent:  # the server may need a moment to notice
            await relay_all(database, broker)
    assert broker.sent == [("a", 1)]


@pytest.mark.dialects("postgresql", "mysql")
async def test_two_writers_without_a_lock_cannot_swap_their_events(database):
    async with database.session() as first, database.session() as second:
        await patterns.add_event(first, "a", "x", {})
        with statements(database) as seen:
            late = asyncio.create_task(patterns.add_event(second, "a", "y", {}))
            await until(lambda: "INSERT" in verbs(seen))
        await first.commit()
        with pytest.raises(IntegrityError):
            await late


async def test_pruning_keeps_what_is_waiting_and_the_last_number(database):
    async with database.begin() as session:
        for _ in range(3):
            await patterns.add_event(session, "a", "x", {})
    await relay_all(database, Broker())
    async with database.begin() as session:
        for _ in range(2):
            await patterns.add_event(session, "b", "x", {})
        now = await patterns.database_time(session)
        assert await patterns.prune_events(session, now - timedelta(minutes=1)) == 0
        assert await patterns.prune_events(session, now + timedelta(minutes=1)) == 2
        assert (await patterns.add_event(session, "a", "x", {})).sequence == 4
        assert await session.scalar(select(func.count()).select_from(OutboxEvent)) == 4


# LISTEN and NOTIFY


@asynccontextmanager
async def listening(
    database: DatabaseSessionManager, **settings: float
) -> AsyncIterator[asyncio.Queue[str | None]]:
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    task = asyncio.create_task(patterns.listen(database, "Jobs", heard.put, **settings))
    try:
        async with asyncio.timeout(60):
            yield heard
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def send(database: DatabaseSessionManager, *payloads: str) -> None:
    async with database.begin() as session:
        for payload in payloads:
            await patterns.notify(session, "Jobs", payload)


@pytest.mark.dialects("postgresql")
async def test_notifications_arrive_after_the_commit_and_equal_ones_once(database):
    async with listening(database) as heard:
        assert await heard.get() is None  # look for what was there before
        async with database.session() as session:
            await patterns.notify(session, "Jobs", "rolled back")
            await session.rollback()
            with statements(database) as seen:
                await patterns.notify(session, "Jobs", "one")
            assert len(seen) == 1
            await asyncio.sleep(0.2)
            assert heard.empty()
            await session.commit()
        await send(database, "two", "two", "three")
        assert [await heard.get() for _ in range(3)] == ["one", "two", "three"]


@pytest.mark.dialects("postgresql")
async def test_the_listener_is_not_one_of_the_pool_and_closes_its_connection(
    database, postgres_server
):
    name = str(database.engine.url.database)

    async def connections() -> int:
        count = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"
        rows = await asyncio.to_thread(postgres_server.execute, count)
        return int(rows[0][0])

    async with database.session() as session:
        await session.execute(select(1))
        before = await connections()
        async with listening(database) as heard:
            await heard.get()
            assert database.engine.pool.checkedout() == 1
            assert await connections() == before + 1
            # In a transaction it would be ended after idle_in_transaction_timeout.
            state = f"SELECT state FROM pg_stat_activity WHERE datname = '{name}'"
            rows = await asyncio.to_thread(
                postgres_server.execute, f"{state} AND query LIKE 'LISTEN%'"
            )
            assert [row[0] for row in rows] == ["idle"]
        async with asyncio.timeout(60):
            while await connections() != before:
                pass


@pytest.mark.dialects("postgresql")
async def test_a_cut_listener_reconnects_and_polling_finds_what_was_lost(
    database, postgres_server, caplog: pytest.LogCaptureFixture
):
    """Sent while nobody listens: lost. wake(None) after the reconnect finds the job."""
    found: list[int] = []

    async def note(session: AsyncSession, job: Job) -> None:
        found.append(job.payload["n"])

    async def wake(payload: str | None) -> None:
        heard.put_nowait(payload)
        while await patterns.work_once(database, note):
            pass

    async def enqueue(number: int) -> None:
        async with database.begin() as session:
            session.add(Job(kind="mail", payload={"n": number}))
            await patterns.notify(session, "jobs", str(number))

    async def allow_connections(allowed: bool) -> None:
        statement = f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {allowed}'
        await asyncio.to_thread(postgres_server.execute, statement)

    name = str(database.engine.url.database)
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    listener = asyncio.create_task(patterns.listen(database, "jobs", wake, reconnect_delay=0.1))
    try:
        async with asyncio.timeout(60):
            assert await heard.get() is None
            await enqueue(1)
            assert await heard.get() == "1"
            await until(lambda: found == [1])
            # So that it cannot be back before the second job; the pool has a connection already.
            await allow_connections(False)
            await asyncio.to_thread(
                postgres_server.execute,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE query LIKE 'LISTEN%' AND datname = '{name}'",
            )
            await until(lambda: "the connection was closed" in caplog.text)
            await enqueue(2)
            await allow_connections(True)
            assert await heard.get() is None  # not "2": that one is lost
            await until(lambda: found == [1, 2])
            await enqueue(3)
            assert await heard.get() == "3"
    finally:
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener


@pytest.mark.dialects("postgresql")
async def test_the_listener_survives_a_server_that_is_away(database, postgres_server, caplog):
    name = str(database.engine.url.database)
    async with listening(database, reconnect_delay=0.1) as heard:
        await heard.get()
        for statement in (
            f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false',
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        ):
            await asyncio.to_thread(postgres_server.execute, statement)
        await until(lambda: caplog.text.count("the listener of Jobs") >= 3)
        await asyncio.to_thread(
            postgres_server.execute, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'
        )
        assert await heard.get() is None
        await send(database, "back")
        assert await heard.get() == "back"


async def others(database: DatabaseSessionManager) -> set[int]:
    """Who else is connected to this database."""
    who = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with database.read_only_session() as session:
        return set(await session.scalars(text(f"SELECT pid {who}")))


@pytest.mark.dialects("postgresql")
async def test_a_listener_whose_connection_a_firewall_forgot_makes_another(
    database_url: str, caplog
):
    url = make_url(database_url)
    async with Proxy(url.host or "", url.port or 0) as proxy:
        through = url.set(host="127.0.0.1", port=proxy.port)
        config = DatabaseConfig(through, connect_timeout=1, statement_timeout=0)
        async with (
            DatabaseSessionManager(config) as manager,
            DatabaseSessionManager(DatabaseConfig(url)) as other,
            listening(manager, poll_every=0.3, reconnect_delay=0.1) as heard,
        ):
            assert await heard.get() is None
            (old,) = await others(other)
            proxy.swallow = True
            await until(lambda: "the listener of Jobs: TimeoutError" in caplog.text)
            proxy.swallow = False
            async with asyncio.timeout(60):
                while not await others(other) - {old}:
                    pass


@pytest.mark.dialects("postgresql")
async def test_silence_is_broken_by_polling(database: DatabaseSessionManager):
    async with listening(database, poll_every=0.2) as heard:
        assert [await heard.get() for _ in range(3)] == [None, None, None]
        await send(database, "still there")
        while await heard.get() != "still there":
            pass


@pytest.mark.dialects("postgresql")
async def test_an_error_of_wake_ends_the_listener(database: DatabaseSessionManager):
    async def wake(payload: str | None) -> None:
        raise OSError("not the connection's")

    async with asyncio.timeout(60):
        with pytest.raises(OSError, match="not the connection's"):
            await patterns.listen(database, "jobs", wake)


@pytest.mark.dialects("postgresql")
async def test_a_payload_that_is_too_long_is_refused_in_time(database):
    async with database.begin() as session:
        await patterns.notify(session, "jobs", "x" * patterns.MAX_PAYLOAD)
        with pytest.raises(ValueError, match="at most 7999 bytes"):
            await patterns.notify(session, "jobs", "é" * 4000)
        with pytest.raises(DBAPIError, match="payload string too long"):
            await session.execute(text("SELECT pg_notify('jobs', repeat('x', 8000))"))
        await session.rollback()


@pytest.mark.dialects("postgresql")
async def test_listening_through_pgbouncer_is_refused(database_url: str):
    config = DatabaseConfig(database_url, pgbouncer=True)
    async with DatabaseSessionManager(config) as manager:
        with pytest.raises(patterns.UnsupportedError, match="PgBouncer"):
            await patterns.listen(manager, "jobs", asyncio.Queue().put)
    psycopg = database_url.replace("asyncpg", "psycopg")
    async with DatabaseSessionManager(DatabaseConfig(psycopg)) as manager:
        with pytest.raises(patterns.UnsupportedError, match="needs the driver asyncpg"):
            await patterns.listen(manager, "jobs", asyncio.Queue().put)


@pytest.mark.dialects("sqlite", "mysql")
async def test_others_say_that_they_have_no_listen(database: DatabaseSessionManager):
    with pytest.raises(patterns.UnsupportedError, match="LISTEN is PostgreSQL's"):
        await patterns.listen(database, "jobs", asyncio.Queue().put)
    async with database.session() as session:
        with pytest.raises(patterns.UnsupportedError, match="NOTIFY is PostgreSQL's"):
            await patterns.notify(session, "jobs")


# The program


def run_example(*arguments: str) -> str:
    done = warm.completed(str(EXAMPLE), *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_runs_as_a_program(make_database: Callable[[str], str], dialect: str):
    printed = run_example(make_database(dialect))
    assert "40 opposite transfers at once               total 200.00\n" in printed
    assert "3 people want one name                      1 has it\n" in printed
    advisory = "has the lock" if dialect != "sqlite" else "SQLite has no advisory locks"
    assert advisory in printed
    assert ("None, 'wake up'" in printed) == (dialect == "postgresql")


def test_runs_as_a_program_without_arguments():
    assert "5 views at once                             5 counted\n" in run_example()
