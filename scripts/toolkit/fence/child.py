"""Enter the fence: called in the process that is about to run a project's code."""

import contextlib
import os
import tempfile
import threading
from typing import Any

from . import kernel
from .addresses import Hiding
from .drivers import Gates
from .files import Files
from .hook import Fence
from .tables import only_when_asked


def enter(order: dict[str, Any], migrations: tuple[str, ...] = ()) -> Fence:
    """Close everything that `order` does not name. There is no way back.

    `migrations` are the folders of env.py and of revisions.
    """
    tempfile.tempdir = os.environ.get("TMPDIR")
    kernel.confine(order["writable"], order["root"], socket=order["socket"], port=order["port"])
    if order["by_main_thread"]:
        kernel.die_with_parent()
    if order.get("lifeline") is not None:
        threading.Thread(target=end_with, args=(order["lifeline"],), daemon=True).start()
    fence = Fence(order)
    hiding = Hiding(order["hide"]) if order["hide"] else None
    Files(fence, f"{order['folder']}/files", hiding).install()
    Gates(fence).install()
    only_when_asked(migrations)
    fence.install()
    return fence


def end_with(lifeline: int) -> None:
    """Nobody writes there; it closes when the program that started this one is gone."""
    with contextlib.suppress(OSError):
        os.read(lifeline, 1)
        os._exit(1)
