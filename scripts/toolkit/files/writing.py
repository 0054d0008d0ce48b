"""New content for a file in one step, with nothing lost that the old one had besides text."""

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
from pathlib import Path

PRIVATE = 0o600
STREAMS = ("/dev/", "/proc/")
OPEN = re.compile(r"/dev/(stdout|stderr)|/(?:dev|proc/self)/fd/(\d+)")


class NotWritable(Exception):
    """A place that is not written to; the text says why."""


def beside(path: Path, ending: str, token: str = "") -> Path:
    """A name in the folder of `path` that nobody can have taken before."""
    return path.with_name(f".{path.name}.{token or secrets.token_hex(6)}.{ending}")


def write_beside(new: Path, content: bytes, like: Path) -> list[str]:
    """Make the file `new`, with owner, group, mode and attributes of `like` where that exists.

    Never through a link, never over a file, and never readable for more people than `like`
    is, not for a moment. Returns in words what could not be kept.
    """
    try:
        facts = like.stat()
    except FileNotFoundError:
        facts = None
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(new, flags, 0o666 if facts is None else PRIVATE)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123
            file.write(content)
            file.flush()
            lost = [] if facts is None else keep_attributes(file.fileno(), like, facts)
            os.fsync(file.fileno())
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    return lost


def keep_attributes(descriptor: int, like: Path, facts: os.stat_result) -> list[str]:
    """Give an open file, which is private, what `like` has; what could not be given."""
    lost = []
    mode = stat.S_IMODE(facts.st_mode)
    mine = os.fstat(descriptor)
    if (mine.st_uid, mine.st_gid) != (facts.st_uid, facts.st_gid):
        try:
            os.fchown(descriptor, facts.st_uid, facts.st_gid)
        except OSError:
            lost.append(f"{like} belonged to user {facts.st_uid}; it is yours now")
            try:
                os.fchown(descriptor, -1, facts.st_gid)
            except OSError:
                # What the group was allowed to, another group is not.
                mode &= ~stat.S_IRWXG
                lost.append(f"{like} belonged to group {facts.st_gid}, which you are not in")
    if hasattr(os, "listxattr"):  # Linux
        lost += keep_extended(descriptor, like)
    os.fchmod(descriptor, mode)  # the last: until here it is private
    return lost


def keep_extended(descriptor: int, like: Path) -> list[str]:
    """Give it the extended attributes of `like`, access lists among them, and no others."""
    lost = []
    wanted, there = extended(like), extended(descriptor)
    for name in there.keys() - wanted.keys():
        with contextlib.suppress(OSError):  # inherited from the folder
            os.removexattr(descriptor, name)
    for name, value in wanted.items():
        if there.get(name) != value:
            try:
                os.setxattr(descriptor, name, value)
            except OSError:
                lost.append(f"{like} had the attribute {name}, which could not be kept")
    return lost


def extended(file: Path | int) -> dict[str, bytes]:
    with contextlib.suppress(OSError):  # a file system without them
        return {name: os.getxattr(file, name) for name in os.listxattr(file)}
    return {}


def write_output(path: Path, text: str) -> None:
    """Write what an option such as `--html FILE` names, in one step.

    Who reads it, or kills the run, finds the old file or the new one. A device or a pipe
    (/dev/stdout, /dev/null) is written to and stays what it is. A link stays one. Raises
    OSError, or NotWritable for a file that is another user's.
    """
    content = text.encode()
    if is_stream(path):
        write_stream(path, content)
        return
    target = Path(os.path.realpath(path))
    for place in {path, target}:
        with contextlib.suppress(FileNotFoundError):
            owner = place.lstat().st_uid
            if owner != os.geteuid() and not (place.is_symlink() and owner == 0):
                raise NotWritable(f"{place} belongs to user {owner}")
    if target.is_dir():
        raise NotWritable(f"{target} is a folder")
    new = beside(target, "tmp")
    try:
        write_beside(new, content, target)
        new.replace(target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def is_stream(path: Path) -> bool:
    """A device, a pipe, or a name for what is open already (/dev/stdout, /proc/self/fd/1)?"""
    if os.path.abspath(path).startswith(STREAMS):  # noqa: PTH100
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def write_stream(path: Path, content: bytes) -> None:
    """Write to what is there; it is neither made, nor emptied, nor replaced, nor waited for."""
    if found := OPEN.fullmatch(os.path.abspath(path)):  # noqa: PTH100
        sys.stdout.flush()
        names = {"stdout": 1, "stderr": 2}
        descriptor = os.dup(names[found[1]] if found[1] else int(found[2]))
    else:
        if stat.S_ISBLK(path.stat().st_mode):
            raise NotWritable(f"{path} is a disk")
        descriptor = open_stream(path)
    with open(descriptor, "wb") as stream:  # noqa: PTH123
        stream.write(content)


def open_stream(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise NotWritable(f"nobody reads the pipe {path}") from None
        raise
    os.set_blocking(descriptor, True)
    return descriptor
