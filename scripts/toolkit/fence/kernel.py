"""Linux: a process without network, that may write in its own folders only.

What Python's audit hook does not see, a C library's or a child's doings, the kernel stops.
Each of these is had where the kernel gives it, and left out where not: a container may
forbid the first, and an older kernel not know the second.
"""

import contextlib
import ctypes
import glob
import os
import signal
import stat
import sys
from collections.abc import Sequence

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # alike on every architecture
PATH_BENEATH, NET_PORT = 1, 2
WRITE_FILE, REMOVE_DIR, REMOVE_FILE, MAKE_DIR = 1 << 1, 1 << 4, 1 << 5, 1 << 7
MAKE_OTHERS = 1 << 6 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12
REFER, TRUNCATE, CONNECT_TCP, SCOPES = 1 << 13, 1 << 14, 1 << 1, 3
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/pts", "/dev/shm")  # noqa: S108
SOCKETS = (
    "/run/postgresql/.s.*", "/var/run/postgresql/.s.*", "/tmp/.s.PGSQL.*", "/cloudsql/*/.s.*",  # noqa: S108
    "/run/mysqld/*.sock", "/var/lib/mysql/*.sock", "/tmp/mysql*.sock", "/cloudsql/*",  # noqa: S108
)  # fmt: skip


class PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def die_with_parent() -> None:
    """End as soon as the parent does, where the kernel can do that: with the thread that forked."""
    parent = os.getppid()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def confine(
    writable: Sequence[str], folders_in: str, *, socket: str | None, port: int | None
) -> tuple[str, ...]:
    """What was had of `network` and `files`. Called while there is one thread only.

    `folders_in` may get new folders. `socket` is the only one that can be reached, `port` the
    only TCP port; with a port there is a network.
    """
    if sys.platform != "linux":
        return ()
    had = []
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        if port is None and without_network(libc, socket):
            had.append("network")
        if without_writing(libc, writable, folders_in, port):
            had.append("files")
    return tuple(had)


def without_network(libc: ctypes.CDLL, socket: str | None) -> bool:
    """Leave the network, and cover the sockets of this machine's servers but `socket`."""
    ours = socket and os.path.realpath(socket)
    known = {os.path.realpath(path) for path in (*listening(), *usual())}
    sockets = [path for path in known if path != ours]
    user, group = os.geteuid(), os.getegid()
    # Root needs no user namespace, and would lose its rights on others' files in one.
    if libc.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        if user == 0 or libc.unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) != 0:
            return False
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    if libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) == 0:
        for path in sockets:
            libc.mount(b"/dev/null", os.fsencode(path), None, MS_BIND, None)
    return True


def listening() -> list[str]:
    """Sockets in the file system that a server listens on."""
    found = []
    with contextlib.suppress(OSError), open("/proc/net/unix", errors="surrogateescape") as file:
        for line in file:
            words = line.rstrip("\n").split(maxsplit=7)
            if len(words) == 8 and words[3] == "00010000" and words[7].startswith("/"):
                found.append(words[7])
    return found


def usual() -> list[str]:
    """Where sockets of databases lie: those of another container are not listed here."""
    return [path for pattern in SOCKETS for path in glob.glob(pattern)]


def without_writing(
    libc: ctypes.CDLL, writable: Sequence[str], folders_in: str, port: int | None
) -> bool:
    """Landlock: rights that this process and its children can only lose."""
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    files = WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_OTHERS
    files |= (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    network = CONNECT_TCP if version >= 4 and port is not None else 0
    # Signals and abstract sockets: within this process and its children.
    handled = (ctypes.c_uint64 * 3)(files, network, SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = libc.syscall(CREATE_RULESET, handled, ctypes.c_size_t(size), 0)
    if rules < 0:
        return False
    try:
        for path in (*writable, *DEVICES):
            allow(libc, rules, path, files)
        allow(libc, rules, folders_in, MAKE_DIR)
        if network:
            rule = (ctypes.c_uint64 * 2)(CONNECT_TCP, port or 0)
            libc.syscall(ADD_RULE, rules, NET_PORT, rule, 0)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(libc.syscall(RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def allow(libc: ctypes.CDLL, rules: int, path: str, rights: int) -> None:
    with contextlib.suppress(OSError):
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(folder).st_mode):
                rights &= WRITE_FILE | TRUNCATE
            rule = PathBeneath(rights, folder)
            libc.syscall(ADD_RULE, rules, PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(folder)
