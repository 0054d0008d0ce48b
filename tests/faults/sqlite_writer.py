"""Writers and readers of one SQLite file, as a process: `test_sqlite.py` runs two, or kills one.

    python sqlite_writer.py DATABASE_URL NAME WRITERS READERS EACH

Each line that is printed is a row that was committed before. Ends when all writers have written
EACH rows, or never, if that is 0.
"""

import asyncio
import sys

from sqlalchemy import Column, Integer, MetaData, String, Table, func, select

from session_manager import DatabaseConfig, DatabaseSessionManager

METADATA = MetaData()
ROWS = Table(
    "rows",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("writer", String(20)),
    Column("number", Integer),
)
TOTAL = Table("total", METADATA, Column("rows", Integer))


async def write(database: DatabaseSessionManager, writer: str, each: int) -> None:
    """Read, decide, write: a lost update would show in the total."""
    number = 0
    while not each or number < each:
        number += 1
        async with database.begin() as session:
            total = await session.scalar(select(TOTAL.c.rows)) or 0
            await session.execute(ROWS.insert().values(writer=writer, number=number))
            await session.execute(TOTAL.update().values(rows=total + 1))
        print(writer, number, flush=True)


async def read(database: DatabaseSessionManager, until: asyncio.Event) -> None:
    """The count and the total agree at every moment."""
    while not until.is_set():
        async with database.read_only_session() as session:
            count = select(func.count()).select_from(ROWS).scalar_subquery()
            row = (await session.execute(select(TOTAL.c.rows, count))).one()
            assert row[0] == row[1], f"half a transaction was read: {row}"
        await asyncio.sleep(0.1)


async def main(url: str, name: str, writers: int, readers: int, each: int) -> None:
    # A place for each, and patience: what is looked at is the lock, not the pool.
    config = DatabaseConfig(
        url, pool_size=writers + readers, max_overflow=0, pool_timeout=60, lock_timeout=60
    )
    done = asyncio.Event()
    async with DatabaseSessionManager(config) as database, asyncio.TaskGroup() as group:
        for _ in range(readers):
            group.create_task(read(database, done))
        writing = [
            asyncio.create_task(write(database, f"{name}{number}", each))
            for number in range(writers)
        ]
        await asyncio.gather(*writing)
        done.set()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])))
