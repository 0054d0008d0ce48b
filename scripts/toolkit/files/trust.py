"""Whose is it? What lies in a folder that nobody named counts only where it is ours or root's.

/tmp is writable for all, so any of a machine's users can put a file in a folder above a
project that lies there. `common.sh` asks the same for virtual environments.
"""

import functools
import grp
import os
import pwd
import stat
from pathlib import Path


def doubt(path: Path, named: Path) -> str | None:
    """Why what is at `path` may be another user's; None where it is the caller's or root's.

    Asks for the path itself and for each folder on the way, in which another one could
    exchange it; in a sticky folder, such as /tmp, they cannot. The folder `named` is the
    caller's word: who can change it, can change the project's code.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  (links are to be seen, not followed)
    for place in (path, *([] if path.parent == named else path.parents)):
        try:
            facts = place.lstat()
        except OSError as error:
            return f"{place} cannot be looked at ({error.strerror})"
        if facts.st_uid not in (0, os.geteuid()):
            return f"{place} belongs to user {facts.st_uid}"
        if stat.S_ISLNK(facts.st_mode) or (place != path and facts.st_mode & stat.S_ISVTX):
            continue
        shared = facts.st_mode & stat.S_IWGRP and not is_own_group(facts.st_gid)
        if facts.st_mode & stat.S_IWOTH or shared:
            return f"{place} can be changed by others"
    return None


@functools.cache
def is_own_group(number: int) -> bool:
    """Is it the caller's own, as `useradd` makes one for each user? Other groups are shared."""
    if number == 0:
        return True
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
        return number == os.getegid() and grp.getgrgid(number).gr_name == name
    except KeyError:
        return False
