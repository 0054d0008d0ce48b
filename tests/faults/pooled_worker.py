"""One application behind PgBouncer, as a process: `test_pgbouncer.py` runs two at once.

    python pooled_worker.py URL TASKS        (settings come from the environment)

Prints how many tasks failed, and why. Each sends four statements, two of whose texts are also the
other process's: a statement that was prepared on a server connection is met by somebody else.
"""

import asyncio
import sys
from collections import Counter

from sqlalchemy import literal, select, text

from session_manager import DatabaseConfig, DatabaseSessionManager


async def main(url: str, tasks: int) -> None:
    failures: Counter[str] = Counter()
    config = DatabaseConfig.from_env(environ={"DATABASE_URL": url, **dict(SETTINGS)})
    async with DatabaseSessionManager(config) as database:

        async def task(number: int) -> None:
            try:
                async with database.begin() as session:
                    for width in range(3):
                        values = [literal(number + one) for one in range(width + 1)]
                        row = (await session.execute(select(*values))).one()
                        assert row[0] == number, f"{row} is somebody else's"
                    await session.execute(text("INSERT INTO hits VALUES (:n)"), {"n": number})
                async with database.read_only_session() as session:
                    assert await session.scalar(select(literal(number))) == number
            except Exception as error:
                failures[f"{type(error).__name__}: {str(error)[:200]}"] += 1

        await asyncio.gather(*(task(number) for number in range(tasks)))
    print(dict(failures))


SETTINGS = {"DATABASE_POOL_TIMEOUT": "60", "DATABASE_POOL_SIZE": "10", "DATABASE_MAX_OVERFLOW": "0"}

if __name__ == "__main__":
    if sys.argv[3] == "pgbouncer":
        SETTINGS["DATABASE_PGBOUNCER"] = "true"
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
