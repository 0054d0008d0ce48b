"""Read the catalog of a database by its address."""

import asyncio
import concurrent.futures

from sqlalchemy import URL, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from . import Catalog, read_catalog


def read_catalog_at(url: URL) -> Catalog:
    """With whatever driver the URL names. Raises SQLAlchemyError or OSError."""
    if url.get_dialect().is_async:
        # In a thread: the caller may itself be inside an event loop.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, read_async(url)).result()
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return read_catalog(connection)
    finally:
        engine.dispose()


async def read_async(url: URL) -> Catalog:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(read_catalog)
    finally:
        await engine.dispose()
