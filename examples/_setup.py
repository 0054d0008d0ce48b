"""What the examples share: the templates on the import path, and a database to run on.

In a project of your own the templates are a package, and none of this is needed.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "templates"))

from sqlalchemy import Connection, inspect

from base_model import Base
from database_url import ConfigurationError
from session_manager import DatabaseConfig, DatabaseSessionManager

Example = Callable[[DatabaseSessionManager], Awaitable[None]]


def run(main: Example) -> None:
    """Run an example on the database that the command line names, else on a new SQLite file.

    The tables are made before and dropped after. A database that has a table of one of
    these names is refused: it is somebody's.
    """
    description = (sys.modules["__main__"].__doc__ or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("url", nargs="?", metavar="DATABASE_URL")
    url = parser.parse_args().url
    with tempfile.TemporaryDirectory() as folder:
        try:
            config = DatabaseConfig(url or f"sqlite:///{folder}/example.db")
            asyncio.run(_on_own_tables(config, main))
        except (ConfigurationError, _Refused) as error:
            sys.exit(f"error: {error}")


class _Refused(Exception):
    """The database cannot be used; one line for the reader."""


async def _on_own_tables(config: DatabaseConfig, main: Example) -> None:
    async with DatabaseSessionManager(config) as database:
        try:
            async with database.engine.begin() as connection:
                await connection.run_sync(_create_tables)
        except _Refused:
            raise
        except Exception as error:  # also asyncpg's own, which SQLAlchemy 2.0 lets through
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise _Refused(f"the database cannot be used: {reason}") from None
        try:
            await main(database)
        finally:
            async with database.engine.begin() as connection:
                await connection.run_sync(Base.metadata.drop_all)


def _create_tables(connection: Connection) -> None:
    present = set(inspect(connection).get_table_names()) & set(Base.metadata.tables)
    if present:
        raise _Refused(f"the database has tables already: {', '.join(sorted(present))}")
    Base.metadata.create_all(connection)
