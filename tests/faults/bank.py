"""A bank, as a process: transfers by idempotency key. `soak.py` runs two of them.

    python bank.py PORT        (the database's settings come from the environment)

It ends with its standard input, so that it never outlives who started it. Beside the right way to
move money there are wrong ones, which the soak's checker has to catch.
"""

import asyncio
import logging
import os
import sys
import threading
from uuid import UUID

import uvicorn
from fastapi import BackgroundTasks, FastAPI
from pydantic import BaseModel
from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, Uuid, select
from sqlalchemy.ext.asyncio import AsyncSession

from concurrency_patterns import IdempotencyKey, once
from errors import install_error_handlers
from retries import run_in_transaction
from session_manager import Database, DatabaseSessionManager, lifespan

METADATA = MetaData()
ACCOUNTS = Table(
    "accounts",
    METADATA,
    Column("way", String(20), primary_key=True),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("balance", BigInteger),
)
# Without a unique constraint, on purpose: what is applied twice has to be seen.
ENTRIES = Table(
    "entries",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("way", String(20)),
    Column("key", Uuid),
    Column("account", Integer),
    Column("amount", BigInteger),
)
TABLES = [*METADATA.tables.values(), IdempotencyKey.__table__]


class Order(BaseModel):
    key: UUID
    source: int
    target: int
    amount: int


app = FastAPI(lifespan=lifespan)
install_error_handlers(app)


async def book(session: AsyncSession, way: str, order: Order, account: int, amount: int) -> None:
    mine = (ACCOUNTS.c.way == way) & (ACCOUNTS.c.id == account)
    await session.execute(ACCOUNTS.update().where(mine).values(balance=ACCOUNTS.c.balance + amount))
    values = {"way": way, "key": order.key, "account": account, "amount": amount}
    await session.execute(ENTRIES.insert().values(values))


async def move(session: AsyncSession, way: str, order: Order) -> None:
    """Both accounts, in the order of their numbers: two opposite transfers do not deadlock."""
    for account in sorted((order.source, order.target)):
        amount = -order.amount if account == order.source else order.amount
        await book(session, way, order, account, amount)


@app.post("/right", status_code=201)
async def right(order: Order, database: Database) -> None:
    async def work(session: AsyncSession) -> dict[str, str]:
        await move(session, "right", order)
        return {}

    await once(database, "soak", str(order.key), order.model_dump(mode="json"), work)


@app.post("/without-a-key", status_code=201)
async def without_a_key(order: Order, database: Database) -> None:
    """Tried again as if that did no harm."""

    async def work(session: AsyncSession) -> None:
        await move(session, "without-a-key", order)

    await run_in_transaction(database, work, repeatable=True)


@app.post("/two-commits", status_code=201)
async def two_commits(order: Order, database: Database) -> None:
    """One account is one transaction, the other another."""
    async with database.begin() as session:
        if await session.scalar(select(ENTRIES.c.id).where(ENTRIES.c.key == order.key).limit(1)):
            return
        await book(session, "two-commits", order, order.source, -order.amount)
    async with database.begin() as session:
        await book(session, "two-commits", order, order.target, order.amount)


@app.post("/answered-early", status_code=201)
async def answered_early(order: Order, database: Database, tasks: BackgroundTasks) -> None:
    """The client hears of it before the database does."""
    tasks.add_task(save_later, order, database)


async def save_later(order: Order, database: DatabaseSessionManager) -> None:
    async with database.begin() as session:
        await move(session, "answered-early", order)


WRONG = ("without-a-key", "two-commits", "answered-early")


def end_with_standard_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    config = uvicorn.Config(app, port=int(sys.argv[1]), log_level="critical", access_log=False)
    asyncio.run(uvicorn.Server(config).serve())
