"""Can the demo use the database in DATABASE_URL? `look.py TABLE...`

Exit code 0 if its migrations are nobody's and none of the tables exists; else 1 and one line.
It reads the catalog and alembic_version, and changes nothing.
"""

import asyncio
import sys
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "templates"))

from database_url import ConfigurationError
from session_manager import build_engine, database_config


def obstacle(connection: Connection, needed: list[str]) -> str | None:
    """Why the demo must not use this database, in one line; None where it may."""
    present = set(inspect(connection).get_table_names())
    if "alembic_version" in present:
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
        if revision:
            return (
                f"it is at revision {revision}, which is not the demo's; "
                "give the demo an empty database"
            )
    taken = sorted(present.intersection(needed))
    return f"it has tables named {', '.join(taken)}; give the demo an empty one" if taken else None


async def look(needed: list[str]) -> str | None:
    """The obstacle, or why the database cannot be reached, without its password."""
    try:
        engine = build_engine(database_config())
        try:
            async with engine.connect() as connection:
                found: str | None = await connection.run_sync(obstacle, needed)
                return found
        finally:
            await engine.dispose()
    except (ConfigurationError, SQLAlchemyError, OSError, TimeoutError) as error:
        reason = str(getattr(error, "orig", None) or error) or type(error).__name__
        return reason.splitlines()[0]


def main() -> int:
    reason = asyncio.run(look(sys.argv[1:]))
    print(reason or "ready")
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
