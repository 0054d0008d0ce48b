"""errors.py: each row of its table, on three databases; and what no client may see."""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, WebSocket
from pymysql.constants import CR, ER
from pymysql.err import OperationalError as MySQLError
from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    func,
    make_url,
    text,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError

import errors
from errors import (
    install_error_handlers,
    is_check_violation,
    is_foreign_key_violation,
    is_not_null_violation,
    is_unavailable,
    is_unique_violation,
)
from servers.proxy import Proxy
from session_manager import Database, DatabaseConfig, DatabaseSessionManager, DbSession


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s"})


class Customer(Base):
    __tablename__ = "customers"
    __table_args__ = (
        UniqueConstraint("email", name="uq_customers_email"),
        CheckConstraint("credit >= 0", name="ck_customers_credit"),
        Index("uq_customers_lower_code", func.lower(text("code")), unique=True).ddl_if(
            dialect="postgresql"
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(20))
    code: Mapped[str | None] = mapped_column(String(20))
    credit: Mapped[int] = mapped_column(SmallInteger, default=0)
    version: Mapped[int] = mapped_column(default=1)
    referrer: Mapped[int | None] = mapped_column(
        ForeignKey("customers.id", name="fk_customers_referrer")
    )
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


def insert(**values: Any) -> Callable[[AsyncSession], Awaitable[object]]:
    async def run(session: AsyncSession) -> object:
        return await session.execute(Customer.__table__.insert().values(version=1, **values))

    return run


async def stale(session: AsyncSession) -> None:
    customer = await session.get_one(Customer, 1)
    await session.execute(text("UPDATE customers SET version = 7"))
    customer.credit = 5
    await session.flush()


async def nonsense(session: AsyncSession) -> None:
    await session.execute(text("SELECT secret_column FROM customers WHERE email = 's3cret'"))


async def bug(session: AsyncSession) -> None:
    raise RuntimeError("s3cret")


async def other_service(session: AsyncSession) -> None:
    raise ConnectionRefusedError("of a mail server")


# What fails; status; the text that is sent; the constraint's name (None: none is known).
CASES: dict[str, tuple[Any, int, str, str | None]] = {
    "unique": (insert(id=2, email="ada", credit=0), 409, "TAKEN", "uq_customers_email"),
    "primary-key": (insert(id=1, email="eve", credit=0), 409, errors.TEXTS["unique"], "any"),
    "foreign-key": (
        insert(id=3, email="eve", credit=0, referrer=99),
        *(409, errors.TEXTS["foreign_key"], "fk_customers_referrer"),
    ),
    "stale": (stale, 409, errors.TEXTS["stale"], None),
    "check": (
        insert(id=4, email="eve", credit=-1),
        *(422, errors.TEXTS["check"], "ck_customers_credit"),
    ),
    "not-null": (insert(id=5, email=None, credit=0), 422, "MISSING", None),
    "too-long": (insert(id=6, email="e" * 99, credit=0), 422, errors.TEXTS["too_long"], None),
    "range": (
        lambda session: session.execute(
            text("INSERT INTO customers (id, email, credit, version) VALUES (7, 'x', 99999, 1)")
        ),
        *(422, errors.TEXTS["range"], None),
    ),
    "nonsense": (nonsense, 500, "Internal Server Error", None),
    "bug": (bug, 500, "Internal Server Error", None),
    "other-service": (other_service, 500, "Internal Server Error", None),
}


def make_app() -> FastAPI:
    app = FastAPI()
    texts = {"uq_customers_email": "TAKEN", "not_null": "MISSING"}
    install_error_handlers(app, texts=texts, metadata=Base.metadata, retry_after=3)

    @app.get("/fail/{name}")
    async def fail(name: str, session: DbSession) -> None:
        await CASES[name][0](session)

    @app.get("/read")
    async def read(session: DbSession) -> int:
        return await session.scalar(text("SELECT 1")) or 0

    @app.get("/hold/{seconds}")
    async def hold(seconds: float, session: DbSession) -> None:
        await session.execute(text("SELECT 1"))
        await asyncio.sleep(seconds)

    @app.get("/write")
    async def write(session: DbSession) -> None:
        await session.execute(text("UPDATE customers SET credit = credit + 1"))

    @app.websocket("/live")
    async def live(socket: WebSocket, session: DbSession) -> None:
        await socket.accept()
        await session.execute(text("SELECT 1"))

    @app.websocket("/stale")
    async def stale_one(socket: WebSocket) -> None:
        await socket.accept()
        raise StaleDataError("s3cret")

    @app.get("/busy")
    async def busy(database: Database) -> None:
        """Wait for a lock that a second session of the same request holds."""
        async with database.begin() as first, database.begin() as second:
            for session in (first, second):
                await session.execute(text("UPDATE customers SET credit = 1 WHERE id = 1"))

    return app


@contextlib.asynccontextmanager
async def client_of(
    app: FastAPI, url: Any, **settings: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, DatabaseSessionManager]]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        DatabaseSessionManager(DatabaseConfig(url, **settings)) as manager,
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        app.state.database = manager
        yield client, manager


async def fill(manager: DatabaseSessionManager) -> None:
    async with manager.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(
            Customer.__table__.insert().values(id=1, email="ada", credit=0, version=1)
        )


async def test_each_error_gets_its_status(
    database_url: str, dialect: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "errors")
    async with client_of(make_app(), database_url) as (client, manager):
        await fill(manager)
        for name, (work, status, said, _) in CASES.items():
            if dialect == "sqlite" and name in ("too-long", "range"):
                continue  # it has no such limits
            caplog.clear()
            answer = await client.get(f"/fail/{name}")
            assert (name, answer.status_code, answer.json()) == (name, status, {"detail": said})
            assert "retry-after" not in answer.headers
            assert caplog.records or name in ("bug", "nonsense", "other-service")
            # What a client does wrong is nobody's alarm.
            assert {one.levelname for one in caplog.records if one.name == "errors"} <= {"INFO"}
            del work
        assert (await client.get("/read")).json() == 1


async def test_which_constraint_it_was(database_url: str, dialect: str):
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as manager:
        await fill(manager)
        caught: dict[str, BaseException] = {}
        for name in ("unique", "primary-key", "foreign-key", "check", "not-null"):
            with pytest.raises(DBAPIError) as raised:
                async with manager.begin() as session:
                    await CASES[name][0](session)
            caught[name] = raised.value
    found = {name: errors.problem_of(error, Base.metadata) for name, error in caught.items()}
    primary = {"mysql": "PRIMARY"}.get(dialect, "pk_customers")
    expected = {name: case[3] for name, case in CASES.items() if name in caught}
    expected["primary-key"] = primary
    if dialect == "sqlite":
        expected["foreign-key"] = None  # it does not say
    assert {name: one.constraint for name, one in found.items()} == expected
    unique = caught["unique"]
    assert is_unique_violation(unique)
    assert is_unique_violation(unique, "uq_customers_email", Base.metadata)
    assert not is_unique_violation(unique, "uq_customers_code", Base.metadata)
    assert not is_unique_violation(caught["check"])
    assert is_foreign_key_violation(caught["foreign-key"])
    named = is_foreign_key_violation(caught["foreign-key"], "fk_customers_referrer")
    assert named is (dialect != "sqlite")
    assert not is_foreign_key_violation(caught["foreign-key"], "fk_customers_owner")
    assert is_check_violation(caught["check"], "ck_customers_credit")
    assert not is_check_violation(caught["check"], "ck_customers_age")
    assert is_not_null_violation(caught["not-null"])
    assert not is_unavailable(unique)


@pytest.mark.dialects("postgresql", "sqlite")
async def test_unique_index_over_an_expression_has_a_name(database_url: str, dialect: str):
    async with DatabaseSessionManager(DatabaseConfig(database_url)) as manager:
        async with manager.engine.begin() as connection:
            await connection.execute(text("CREATE TABLE t (email VARCHAR(20))"))
            await connection.execute(text("CREATE UNIQUE INDEX uq_lower ON t (lower(email))"))
        with pytest.raises(IntegrityError) as raised:
            async with manager.begin() as session:
                for email in ("a", "A"):
                    await session.execute(text("INSERT INTO t VALUES (:email)"), {"email": email})
    assert is_unique_violation(raised.value, "uq_lower")


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ("t.b, t.a", "uq_ab"),
        ("t.c", "uq_c"),
        ("t.a", None),
        ("t.d", None),
        ("other.c", None),
    ],
)
def test_the_columns_that_sqlite_names_belong_to_what_is_unique_over_all_of_them(
    columns: str, name: str | None
):
    """An index that is only for finding is beside a unique one where that has a condition."""
    metadata = MetaData()
    finding = [Index(f"ix_{column}_{n}", column) for column in "cd" for n in range(10)]
    unique = UniqueConstraint("a", "b", name="uq_ab"), Index("uq_c", "c", unique=True)
    Table("t", metadata, *(Column(one, String(9)) for one in "abcd"), *unique, *finding)
    error = sqlite3.IntegrityError(f"UNIQUE constraint failed: {columns}")
    error.sqlite_errorcode = sqlite3.SQLITE_CONSTRAINT_UNIQUE
    told = IntegrityError("", None, error)
    assert errors.problem_of(told, metadata) == errors.Problem("unique", name)


SQLSTATES = {
    "unique": (asyncpg.UniqueViolationError, asyncpg.ExclusionViolationError),
    "foreign_key": (asyncpg.ForeignKeyViolationError, asyncpg.RestrictViolationError),
    "check": (asyncpg.CheckViolationError,),
    "not_null": (asyncpg.NotNullViolationError,),
    "too_long": (asyncpg.StringDataRightTruncationError,),
    "range": (asyncpg.NumericValueOutOfRangeError,),
    "conflict": (
        *(asyncpg.SerializationError, asyncpg.DeadlockDetectedError),
        asyncpg.LockNotAvailableError,
    ),
    "timeout": (asyncpg.QueryCanceledError,),
    "read_only": (asyncpg.ReadOnlySQLTransactionError,),
    "unavailable": (
        *(asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.CannotConnectNowError),
        *(asyncpg.IdleSessionTimeoutError, asyncpg.ConnectionFailureError),
        *(asyncpg.TooManyConnectionsError, asyncpg.DiskFullError, asyncpg.OutOfMemoryError),
    ),
    "error": (asyncpg.UndefinedTableError, asyncpg.DuplicateDatabaseError),
}
MYSQL_NUMBERS = {
    "unique": (ER.DUP_ENTRY, 1586),
    "foreign_key": (
        *(ER.NO_REFERENCED_ROW, ER.ROW_IS_REFERENCED),
        *(ER.NO_REFERENCED_ROW_2, ER.ROW_IS_REFERENCED_2),
    ),
    "check": (3819, ER.CONSTRAINT_FAILED),  # MySQL, MariaDB
    "not_null": (ER.BAD_NULL_ERROR, ER.NO_DEFAULT_FOR_FIELD),
    "too_long": (ER.DATA_TOO_LONG,),
    "range": (ER.WARN_DATA_OUT_OF_RANGE,),
    "conflict": (ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK, ER.CHECKREAD),
    "timeout": (ER.QUERY_INTERRUPTED, ER.STATEMENT_TIMEOUT, ER.QUERY_TIMEOUT),
    "read_only": (ER.OPTION_PREVENTS_STATEMENT, 1792, 1836),
    "unavailable": (
        *(ER.CON_COUNT_ERROR, ER.TOO_MANY_USER_CONNECTIONS, ER.DISK_FULL, ER.RECORD_FILE_FULL),
        *(ER.SERVER_SHUTDOWN, 1927, CR.CR_CONNECTION_ERROR, CR.CR_CONN_HOST_ERROR),
        *(CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, CR.CR_SERVER_LOST_EXTENDED),
    ),
    "error": (ER.NO_SUCH_TABLE, ER.PARSE_ERROR),
}
SQLITE_CODES = {
    "unique": (
        *(sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY),
        sqlite3.SQLITE_CONSTRAINT_ROWID,
    ),
    # ON DELETE RESTRICT is a trigger of SQLite's own.
    "foreign_key": (sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, sqlite3.SQLITE_CONSTRAINT_TRIGGER),
    "check": (sqlite3.SQLITE_CONSTRAINT_CHECK,),
    "not_null": (sqlite3.SQLITE_CONSTRAINT_NOTNULL,),
    "conflict": (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_SNAPSHOT, sqlite3.SQLITE_LOCKED),
    "read_only": (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_READONLY_DBMOVED),
    "unavailable": (
        *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_IOERR_WRITE),
        *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN),
    ),
    "error": (sqlite3.SQLITE_ERROR,),
}


@pytest.mark.any_sqlalchemy
@pytest.mark.parametrize("kind", SQLSTATES)
def test_what_a_server_calls_an_error_is_what_its_driver_calls_it(kind: str):
    """Also those that no test provokes; by the drivers' own names for the codes."""
    made: list[BaseException] = [one("no") for one in SQLSTATES[kind]]
    made += [DBAPIError("", None, MySQLError(code, "no")) for code in MYSQL_NUMBERS[kind]]
    for code in SQLITE_CODES.get(kind, ()):
        error = sqlite3.OperationalError("no")
        error.sqlite_errorcode = code
        made.append(DBAPIError("", None, error))
    assert [(str(one), errors.problem_of(one).kind) for one in made] == [
        (str(one), kind) for one in made
    ]


# 503


def assert_later(answers: list[httpx.Response], kind: str) -> None:
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["retry-after"] for answer in answers} == {"3"}
    assert {answer.json()["detail"] for answer in answers} == {errors.TEXTS[kind]}


@pytest.mark.faults
async def test_lock_that_is_not_had_in_time(database_url: str, caplog: pytest.LogCaptureFixture):
    async with client_of(make_app(), database_url, lock_timeout=0.1) as (client, manager):
        await fill(manager)
        assert_later([await client.get("/busy")], "conflict")
    assert [one.levelname for one in caplog.records if one.name == "errors"] == ["WARNING"]


@pytest.mark.faults
async def test_empty_pool_for_300_requests_at_once(database_url: str):
    settings = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 0.2, "lock_timeout": 30}
    async with client_of(make_app(), database_url, **settings) as (client, manager):
        async with manager.read_only_session() as one, manager.read_only_session() as two:
            for session in (one, two):
                await session.execute(text("SELECT 1"))
            answers = await asyncio.gather(*(client.get("/read") for _ in range(300)))
        assert_later(answers, "unavailable")
        assert (await client.get("/read")).json() == 1
        assert manager.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.faults
@pytest.mark.dialects("postgresql", "mysql")
async def test_refused_connection_for_300_requests_at_once(database_url: str, dialect: str):
    url = f"{dialect}://u:s3cret@127.0.0.1:1/d"
    async with client_of(make_app(), url) as (client, _):
        answers = await asyncio.gather(*(client.get("/read") for _ in range(300)))
        assert_later(answers, "unavailable")


@pytest.mark.faults
@pytest.mark.parametrize(("path", "code"), [("/live", 1013), ("/stale", 1011)])
async def test_websocket_is_closed_with_try_again_later_or_an_internal_error(path: str, code: int):
    sent: asyncio.Queue[dict[str, object]] = asyncio.Queue()

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    app = make_app()
    config = DatabaseConfig("postgresql://u:p@127.0.0.1:1/d")
    async with DatabaseSessionManager(config) as app.state.database:
        scope = {"type": "websocket", "path": path, "headers": [], "query_string": b""}
        await app(scope, receive, sent.put)  # type: ignore[arg-type]
    assert sent.get_nowait()["type"] == "websocket.accept"
    assert sent.get_nowait()["code"] == code


@pytest.mark.faults
@pytest.mark.dialects("postgresql", "mysql")
async def test_refused_connection_of_another_engine(database_url: str, dialect: str):
    """SQLAlchemy 2.0 lets the error of the socket through; it is known by where it came from."""
    driver = {"postgresql": "asyncpg", "mysql": "aiomysql"}[dialect]
    engine = create_async_engine(f"{dialect}+{driver}://u:p@127.0.0.1:1/d")
    with pytest.raises(Exception, match=r"127\.0\.0\.1") as raised:
        await engine.connect()
    assert is_unavailable(raised.value)


@pytest.mark.faults
@pytest.mark.dialects("postgresql", "mysql")
async def test_frozen_server_for_300_requests_at_once(database_url: str):
    """A server that takes everything and says nothing; then it is well again (#14)."""
    url = make_url(database_url)
    async with Proxy(url.host or "", url.port or 0) as proxy:
        settings = {"statement_timeout": 1, "pool_timeout": 1, "connect_timeout": 1}
        through = url.set(host="127.0.0.1", port=proxy.port)
        async with client_of(make_app(), through, **settings) as (client, manager):
            await asyncio.gather(*(client.get("/read") for _ in range(20)))
            proxy.swallow = True
            began = time.monotonic()
            answers = await asyncio.gather(*(client.get("/read") for _ in range(300)))
            took = time.monotonic() - began
            assert_later(answers, "unavailable")
            assert took < 60  # a hang
            proxy.swallow = False
            for _ in range(20):
                assert (await client.get("/read")).status_code == 200
            assert manager.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.faults
@pytest.mark.dialects("postgresql")
async def test_statement_that_takes_too_long_and_server_that_only_reads(database_url: str):
    settings = f"{database_url}?options=-c%20default_transaction_read_only%3Don"
    async with client_of(make_app(), database_url) as (_, manager):
        await fill(manager)
    async with client_of(make_app(), settings, statement_timeout=1) as (client, manager):
        assert_later([await client.get("/write")], "read_only")
        with pytest.raises(DBAPIError) as raised:
            async with manager.begin() as session:
                await session.execute(text("SELECT pg_sleep(60)"))
        assert errors.problem_of(raised.value).kind == "timeout"


@pytest.mark.faults
@pytest.mark.dialects("mysql")
async def test_mariadb_ends_a_statement_that_takes_too_long(database_url: str):
    async with DatabaseSessionManager(
        DatabaseConfig(database_url, statement_timeout=0.2)
    ) as manager:
        with pytest.raises(DBAPIError) as raised:
            async with manager.begin() as session:
                columns = "information_schema.columns"
                await session.execute(
                    text(f"SELECT count(*) FROM {columns} a, {columns} b, {columns} c")
                )
        assert errors.problem_of(raised.value).kind == "timeout"


@pytest.mark.faults
@pytest.mark.dialects("postgresql", "mysql")
async def test_one_of_two_in_a_deadlock_is_a_conflict(database_url: str):
    app = make_app()
    both = asyncio.Barrier(2)

    @app.get("/cross/{first}/{second}")
    async def cross(first: int, second: int, session: DbSession) -> None:
        for number in (first, second):
            await session.execute(
                text("UPDATE customers SET credit = 1 WHERE id = :id"), {"id": number}
            )
            if number == first:
                await both.wait()

    async with client_of(app, database_url, lock_timeout=60) as (client, manager):
        await fill(manager)
        async with manager.begin() as session:
            await insert(id=2, email="eve", credit=0)(session)
        answers = await asyncio.gather(client.get("/cross/1/2"), client.get("/cross/2/1"))
        assert sorted(answer.status_code for answer in answers) == [200, 503]
        assert_later([answer for answer in answers if answer.status_code == 503], "conflict")


@pytest.mark.faults
@pytest.mark.dialects("postgresql")
async def test_a_serialization_failure_is_a_conflict(database_url: str):
    app = make_app()

    @app.get("/overtaken")
    async def overtaken(session: DbSession, database: Database) -> None:
        await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        await session.execute(text("SELECT credit FROM customers"))
        async with database.begin() as other:
            await other.execute(text("UPDATE customers SET credit = 2"))
        await session.execute(text("UPDATE customers SET credit = 3"))

    async with client_of(app, database_url) as (client, manager):
        await fill(manager)
        assert_later([await client.get("/overtaken")], "conflict")


@pytest.mark.faults
@pytest.mark.dialects("mysql", "sqlite")
async def test_a_server_that_only_reads(database_url: str, dialect: str):
    async with client_of(make_app(), database_url) as (_, manager):
        await fill(manager)
    if dialect == "sqlite":
        path = make_url(database_url).database
        async with client_of(make_app(), f"sqlite:///file:{path}?mode=ro&uri=true") as (client, _):
            assert_later([await client.get("/write")], "read_only")
        return
    begin = {"init_command": "SET SESSION TRANSACTION READ ONLY"}
    async with client_of(make_app(), database_url, connect_args=begin) as (client, _):
        assert_later([await client.get("/write")], "read_only")


@pytest.mark.faults
@pytest.mark.dialects("sqlite")
async def test_a_file_that_cannot_be_opened_or_is_full(database_url: str, tmp_path: Path):
    url = f"sqlite:///{tmp_path}/no folder/app.db"
    async with client_of(make_app(), url) as (client, _):
        answers = await asyncio.gather(*(client.get("/read") for _ in range(300)))
        assert_later(answers, "unavailable")
    app = make_app()

    @app.get("/fill")
    async def fill_it(session: DbSession) -> None:
        await session.execute(text("PRAGMA max_page_count = 1"))  # no less than there are
        await session.execute(text("CREATE TABLE more AS SELECT zeroblob(1000000) AS much"))

    async with client_of(app, database_url) as (client, manager):
        await fill(manager)
        assert_later([await client.get("/fill")], "unavailable")
