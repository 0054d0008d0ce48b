"""Blocking work beside the event loop, which never has to wait for it to end."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], seconds: float | None) -> T:
    """What `work` returns or raises; TimeoutError after `seconds`.

    The thread is a daemon: the resolver cannot be interrupted, and asyncio's own threads
    would make the program wait for it at its end.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(method: Callable[[Any], None], value: object) -> None:
        def in_loop() -> None:
            if not future.done():
                method(value)

        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(in_loop)

    def run() -> None:
        try:
            outcome = work()
        except BaseException as error:
            settle(future.set_exception, error)
        else:
            settle(future.set_result, outcome)

    threading.Thread(target=run, daemon=True).start()
    async with asyncio.timeout(seconds):
        return await future
