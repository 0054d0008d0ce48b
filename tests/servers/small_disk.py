"""A disk that can be full: a file system in memory of some megabytes, which only a server sees.

It is mounted in namespaces of that server's own, so no right is needed and nothing has to be
unmounted: it ends with the server.
"""

import functools
import shutil
import subprocess
from pathlib import Path

from servers import private

NAMESPACES = ["unshare", "--user", "--map-root-user", "--mount"]
# Back to an ordinary account, as PostgreSQL refuses root.
ORDINARY = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
MOUNT = 'mount -t tmpfs -o size="$1"m,mode=0777 none "$2" && shift 2 && exec "$@"'


@functools.cache
def available(user: str) -> bool:
    """Whether this kernel lets `user` have namespaces."""
    if shutil.which("unshare") is None:
        return False
    try:
        private.run_as(user, [*NAMESPACES, *ORDINARY, "true"], cwd="/")
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def before(folder: Path, megabytes: int) -> list[str]:
    """What goes before a server's command to give it such a disk at `folder`, which is there."""
    return [*NAMESPACES, "sh", "-c", MOUNT, "sh", str(megabytes), str(folder), *ORDINARY]
