"""What a process may not do while it runs code that nobody has read: Python's audit hook.

A hook cannot be taken away again, and sees the whole process: threads, forks, what stands
at a module's end. It does not see what a C library does by itself (`drivers` and `kernel`).
"""

# ruff: noqa: ANN401  (the arguments of audit events)

import contextlib
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any
from urllib.parse import parse_qsl, unquote

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
DRIVERS = frozenset({
    "asyncpg", "psycopg", "psycopg2", "pg8000", "aiopg", "pymysql", "aiomysql", "asyncmy",
    "MySQLdb", "mariadb", "mysql", "sqlite3", "aiosqlite",
})  # fmt: skip
DATABASE_PORTS = frozenset({5432, 5433, 6432, 3306, 33060, 1433, 1521, 26257, 27017})
SPECIAL = re.compile(
    r"^/dev/(?:null|zero|full|tty|ptmx|pts/\d+|fd/\d+|std\w+)$|^/proc/self/fd/\d+$"
)
# Other programs' addresses and passwords, and our own as the process was given them.
SECRET = re.compile(
    r"/(?:\.pgpass|\.my\.cnf|\.mylogin\.cnf|\.pg_service\.conf)$|^/proc/.*/environ$"
)
# What modules ask when they are imported, and what cannot change anything.
QUESTIONS = {
    "git": {"describe", "rev-parse", "rev-list", "log", "show", "name-rev", "--version", "version"},
    "uname": None, "hostname": None, "ldconfig": {"-p"}, "lsb_release": None,
}  # fmt: skip
# Ours, also where the skill lies in the project that it looks at.
SCRIPTS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))) + os.sep
PATIENCE = 5  # some wait for their database and try for ever
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
RULES = {
    "database": "code that nobody has read reaches the scratch database only",
    "network": "code that nobody has read reaches the scratch database only",
    "program": "code that nobody has read starts no programs",
    "writing": "code that nobody has read writes in the run's own folder only",
    "secret": "code that nobody has read is told no passwords",
}


class Refused(OSError):
    """Unread code asked for something that it may not have. The text is one line."""


# Who copes with what is usual copes with these: a server that is down, a program that is
# not installed, a folder that may not be written.
class ConnectionIsRefused(Refused, ConnectionRefusedError):
    pass


class ProgramIsRefused(Refused, FileNotFoundError):
    pass


class WritingIsRefused(Refused, PermissionError):
    pass


class RefusedTooOften(BaseException):
    """Not an Exception: a loop that waits for its database would swallow it."""


class Fence:
    """`refused` keeps what was refused, also when the project swallowed it: kind and line.

    Kinds: `database` (to go on after that proves nothing), and the others of RULES.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self.root = str(order["root"])
        self.writable = tuple(str(path) for path in order["writable"])
        self.refused: list[tuple[str, str]] = []
        self._openings = 0
        self._path = os.environ.get("PATH")
        self._handlers: dict[str, Callable[..., None]] = {
            "socket.connect": self._connect,
            "socket.sendto": self._connect,
            "socket.sendmsg": self._connect,
            "sqlite3.connect": self._sqlite,
            "sqlite3.connect/handle": self._sqlite_opened,
            "open": self._open,
            "os.remove": self._change,
            "os.rmdir": self._change,
            "os.truncate": self._change,
            "os.chmod": self._chmod,
            "os.chown": self._chown,
            "os.utime": self._utime,
            "os.setxattr": self._plain_change,
            "os.removexattr": self._plain_change,
            "os.rename": self._rename,
            "os.link": self._rename,
            "os.symlink": self._symlink,
            "os.mkdir": self._mkdir,
            "subprocess.Popen": self._popen,
            "os.system": self._shell,
            "os.exec": self._program,
            "os.posix_spawn": self._program,
            "os.spawn": self._spawn,  # Windows's; elsewhere the fork's exec is heard
            "pty.spawn": self._shell_words,
            "ctypes.dlopen": self._library,
            "ctypes.dlsym": self._library,
        }

    def install(self) -> None:
        sys.addaudithook(self._hear)
        # multiprocessing's way, of which there is no event.
        with contextlib.suppress(ImportError):
            import _posixsubprocess  # noqa: PLC0415
            import subprocess  # noqa: PLC0415

            start = _posixsubprocess.fork_exec

            def fork_exec(arguments: Any, *rest: Any) -> Any:
                self._helper([os.fsdecode(word) for word in arguments])
                return start(arguments, *rest)

            _posixsubprocess.fork_exec = fork_exec
            assert subprocess is not None  # it has its own name for the function, and an event

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        handler = self._handlers.get(event)
        if handler is not None:
            handler(*arguments)

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """While the guard itself connects to the scratch database."""
        self._openings += 1
        try:
            yield
        finally:
            self._openings -= 1

    @property
    def is_opening(self) -> bool:
        return self._openings > 0

    def database(self, what: str) -> Any:
        return self._note("database", what, ConnectionIsRefused)

    def may_write(self, path: str) -> bool:
        """Below one of our folders, links followed?"""
        real = os.path.realpath(path)
        return bool(SPECIAL.match(os.path.normpath(path))) or any(
            real == folder or real.startswith(folder + os.sep) for folder in self.writable
        )

    def _note(self, kind: str, what: str, error: Callable[[str], Any]) -> Any:
        line = f"{self.place()} wanted to {what}: refused, {RULES[kind]}"
        self.refused.append((kind, line))
        if kind == "database" and self.refused.count((kind, line)) > PATIENCE:
            raise RefusedTooOften(line)
        return error(line)

    def led_away(self, path: str) -> None:
        """A file that was opened for writing is another one, of ours."""
        self.refused.append(("writing", f"{self.place()} wanted to write {path}: led elsewhere"))

    def place(self) -> str:
        """The innermost line of the project's own code, else of another's."""
        other = ""
        for frame in frames():
            name = frame.f_code.co_filename
            if self.is_own(name):
                return f"{os.path.relpath(name, self.root)}:{frame.f_lineno}"
            if not other and not name.startswith((SCRIPTS, *LIBRARIES, "<")):
                other = f"{name}:{frame.f_lineno}"
        return other or "A thread"

    def is_own(self, path: str) -> bool:
        """Is this the project's own code?"""
        inside = path.startswith(self.root + os.sep) and "site-packages" not in path
        return inside and not path.startswith(SCRIPTS)

    def _connect(self, _socket: Any, address: Any) -> None:
        if self._openings or address == "/dev/log" or address is None:
            return
        shown = address if isinstance(address, str) else repr(address)
        if isinstance(address, tuple) and len(address) > 1:
            shown = f"{address[0]}:{address[1]}"
        known = any(str(f.f_globals.get("__name__", "")).split(".")[0] in DRIVERS for f in frames())
        port = address[1] if isinstance(address, tuple) and len(address) > 1 else None
        is_database = known or port in DATABASE_PORTS or re.search(r"PGSQL|mysql", shown)
        kind = "database" if is_database else "network"
        raise self._note(kind, f"connect to {shown}", ConnectionIsRefused)

    def _sqlite(self, database: Any) -> None:
        if not self.may_open(sqlite_path(database)):
            raise self.database(f"open {sqlite_path(database)}")

    def may_open(self, path: str) -> bool:
        """Is this database in memory, or a file of ours?"""
        return path in ("", ":memory:") or self.may_write(path)

    def _sqlite_opened(self, connection: Any) -> None:
        attach, allowed, denied = 24, 0, 1  # SQLITE_ATTACH, SQLITE_OK, SQLITE_DENY

        def authorize(action: int, name: Any, *_: Any) -> int:
            # VACUUM INTO asks here as well. No name: a parameter or an expression, of which
            # SQLite says only later what it is (#11).
            if action != attach or (name is not None and self.may_open(sqlite_path(name))):
                return allowed
            self.database("attach a file" if name is None else f"attach {sqlite_path(name)}")
            return denied

        with contextlib.suppress(Exception):
            connection.set_authorizer(authorize)

    def _open(self, path: Any, _mode: Any, flags: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        name = os.fsdecode(path)
        if SECRET.search(name):
            raise self._note("secret", f"read {name}", WritingIsRefused)
        # subprocess.DEVNULL is opened for both, by who asks git for its version, too (#12).
        if isinstance(flags, int) and flags & WRITING and name != os.devnull:
            self._may_change(name)

    def _may_change(self, path: Any, folder: Any = -1) -> None:
        if isinstance(path, int):
            return
        name = os.fsdecode(path)
        if isinstance(folder, int) and folder >= 0 and not os.path.isabs(name):
            name = os.path.join(folder_of(folder), name)
        # What is removed or renamed is the link itself, not what it leads to.
        if not self.may_write(os.path.join(os.path.realpath(os.path.dirname(name)), "x")):
            raise self._note("writing", f"write {name}", WritingIsRefused)
        if not os.path.islink(name) and not self.may_write(name):
            raise self._note("writing", f"write {name}", WritingIsRefused)

    def _change(self, path: Any, folder: Any = -1) -> None:
        self._may_change(path, folder)

    def _plain_change(self, path: Any, *_: Any) -> None:
        self._may_change(path)

    def _chmod(self, path: Any, _mode: Any, folder: Any = -1) -> None:
        self._may_change(path, folder)

    def _chown(self, path: Any, _user: Any, _group: Any, folder: Any = -1) -> None:
        self._may_change(path, folder)

    def _utime(self, path: Any, _times: Any, _ns: Any, folder: Any = -1) -> None:
        self._may_change(path, folder)

    def _rename(self, source: Any, target: Any, one: Any = -1, other: Any = -1) -> None:
        self._may_change(source, one)
        self._may_change(target, other)

    def _symlink(self, _source: Any, target: Any, folder: Any = -1) -> None:
        self._may_change(target, folder)

    def _mkdir(self, path: Any, _mode: Any = 0, folder: Any = -1) -> None:
        # Many a module makes its folder for uploads; an empty one harms nothing.
        real = os.path.realpath(os.fsdecode(path))
        if not real.startswith(self.root + os.sep):
            self._may_change(path, folder)

    def _popen(self, program: Any, arguments: Any, _folder: Any, environment: Any) -> None:
        if isinstance(arguments, str | bytes | os.PathLike):
            arguments = [arguments]
        words = [os.fsdecode(word) for word in arguments]
        path = self._path
        if environment is not None:
            path = environment.get("PATH", environment.get(b"PATH", path))
        if not is_question(words, os.fsdecode(program)) or path != self._path:
            self._refuse_program(words)

    def _shell(self, command: Any) -> None:
        self._refuse_program(os.fsdecode(command).split())

    def _shell_words(self, words: Any) -> None:
        self._refuse_program([os.fsdecode(word) for word in words])

    def _program(self, path: Any, *_: Any) -> None:
        self._refuse_program([os.fsdecode(path)])

    def _spawn(self, _mode: Any, path: Any, *_: Any) -> None:
        self._refuse_program([os.fsdecode(path)])

    def _helper(self, words: list[str]) -> None:
        # multiprocessing's keeper of semaphores runs nothing of the project's.
        keeper = "from multiprocessing.resource_tracker import main;main("
        if words[:1] != [sys.executable] or not words[-1].startswith(keeper):
            self._refuse_program(words)

    def _refuse_program(self, words: list[str]) -> None:
        # Only its name: what follows may be a password.
        name = os.path.basename(words[0]) if words else "a program"
        raise self._note("program", f"start {name}", ProgramIsRefused)

    def _library(self, *_: Any) -> None:
        for frame in frames():
            name = frame.f_code.co_filename
            if "ctypes" in name or name.startswith(("<", SCRIPTS)):
                continue
            if self.is_own(name):
                raise self._note("program", "call a C library", ProgramIsRefused)
            return


def frames() -> Iterator[FrameType]:
    """From the innermost outwards."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def sqlite_path(database: Any) -> str:
    """The file behind what sqlite3.connect or ATTACH is given."""
    name = os.fsdecode(database)
    if not name.startswith("file:"):
        return name
    path, _, query = name.removeprefix("file:").partition("#")[0].partition("?")
    if dict(parse_qsl(query)).get("mode") == "memory":
        return ":memory:"
    return unquote(re.sub(r"^//(?:localhost)?(?=/)", "", path))


def folder_of(descriptor: int) -> str:
    """The path of an open folder; one that no one may write where the system does not say."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{descriptor}")
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl  # noqa: PLC0415

        found = fcntl.fcntl(descriptor, fcntl.F_GETPATH, b"\0" * 1024)  # type: ignore[attr-defined]
        return os.fsdecode(found.rstrip(b"\0"))
    return "/"


def is_question(words: list[str], program: str) -> bool:
    """Does this program only say something, as `git describe` does?"""
    name = os.path.basename(program)
    folders = ("", *os.get_exec_path())
    if name not in QUESTIONS or words[:1] != [program] or os.path.dirname(program) not in folders:
        return False
    allowed = QUESTIONS[name]
    rest = words[1:]
    if name == "git" and rest[:1] == ["-C"]:
        rest = rest[2:]
    if allowed is None:
        return all(re.fullmatch(r"-[\w-]+", word) for word in rest)
    harmful = ("--output", "--ext-diff", "--textconv", "-c", "--exec-path", "--upload-pack")
    return bool(rest) and rest[0] in allowed and not any(w.startswith(harmful) for w in rest[1:])
