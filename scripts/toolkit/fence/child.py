"""Enter the fence: called in the process that is about to run a project's code."""

import os
import tempfile
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
    if order["parent"] is not None:
        kernel.die_with(order["parent"])
    fence = Fence(order)
    hiding = Hiding(order["hide"]) if order["hide"] else None
    Files(fence, f"{order['folder']}/files", hiding).install()
    Gates(fence).install()
    only_when_asked(migrations)
    fence.install()
    return fence
