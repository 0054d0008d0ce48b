"""Connections for this layer: they end when the program is ended."""

import concurrent.futures
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from toolkit.database import connecting
from toolkit.queries.plans.bench import Clock
from toolkit.report.interrupt import result_of

T = TypeVar("T")


def on_connection(url: URL, work: Callable[[Connection], T], clock: Clock) -> T:
    """What `work` returns.

    In a thread, so that Ctrl-C is heard at once: the clock is stopped, and the work ends with
    the statement that runs, which has a limit.
    """
    if url.drivername == "postgresql+psycopg_async":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_driver_name() == "psycopg" and "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": "10"})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(connecting.on_connection, url, work)
        try:
            return result_of(future)
        except BaseException:
            clock.ended.set()
            raise
