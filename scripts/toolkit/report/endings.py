"""What went wrong around a run, told from a fault in the toolkit: one line and an exit code.

A disk that is full, a right that lacks, a server that is gone: nobody can report that as a bug.
"""

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.report.door import OutputClosed
from toolkit.report.exits import Exit


@dataclass(frozen=True)
class Ending:
    """How a run ended by something that is not its own."""

    code: Exit
    message: str
    """What happened, and what to do: one line."""


NUMBERS = {
    errno.EACCES: Exit.NO_RIGHT,
    errno.EPERM: Exit.NO_RIGHT,
    errno.EROFS: Exit.READ_ONLY,
    errno.ENOSPC: Exit.DISK_FULL,
    errno.EDQUOT: Exit.DISK_FULL,
    errno.EFBIG: Exit.DISK_FULL,
    errno.ETXTBSY: Exit.BUSY,
    errno.EBUSY: Exit.BUSY,
    errno.EMFILE: Exit.TOO_MANY,
    errno.ENFILE: Exit.TOO_MANY,
    errno.EAGAIN: Exit.TOO_MANY,  # fork
    errno.ECONNREFUSED: Exit.NETWORK,
    errno.EHOSTUNREACH: Exit.NETWORK,
    errno.ENETUNREACH: Exit.NETWORK,
    errno.ETIMEDOUT: Exit.NETWORK,
    errno.ECONNRESET: Exit.SERVER_GONE,
    errno.ECONNABORTED: Exit.SERVER_GONE,
    errno.EPIPE: Exit.SERVER_GONE,
}
# What the drivers and servers say; their classes and codes differ from driver to driver, and
# SQLAlchemy 2.0 lets some through that 2.1 wraps.
WORDS = tuple(
    (re.compile(words), code)
    for words, code in (
        (r"database or disk is full|No space left on device", Exit.DISK_FULL),
        (r"attempt to write a readonly database", Exit.NO_RIGHT),
        (r"database is locked", Exit.BUSY),
        (r"closed in the middle of operation|connection is closed", Exit.SERVER_GONE),
        (r"server closed the connection|terminating connection", Exit.SERVER_GONE),
        (r"Lost connection|has gone away|Connection reset", Exit.SERVER_GONE),
        # starting up, shutting down, in recovery
        (r"the database system is ", Exit.NETWORK),
        (r"[Cc]onnection refused|Connect call failed|Name or service not known", Exit.NETWORK),
        (r"[Cc]ould not connect|Can't connect to", Exit.NETWORK),
        (r"password authentication failed|Access denied for user", Exit.LOGIN),
        (r"database \"[^\"]*\" does not exist|Unknown database", Exit.DATABASE),
    )
)
REMEDIES = {
    Exit.NO_RIGHT: "Give this user the right, or run it as the one who owns the project.",
    Exit.READ_ONLY: "Run it where the project can be written, or mount that for writing.",
    Exit.DISK_FULL: "Make room there, then run it again.",
    Exit.BUSY: "Run it again when the other program is done.",
    Exit.TOO_MANY: "Raise the limit (ulimit -n, ulimit -u), or end what holds them; run it again.",
    Exit.LOGIN: "test-connection.sh says what the server refuses.",
    Exit.DATABASE: "test-connection.sh says which there are.",
    Exit.NETWORK: "Start the server; test-connection.sh finds the layer that is broken.",
    Exit.SERVER_GONE: "Look into the server's log, then run it again.",
    Exit.NO_TEMPORARY: "Set TMPDIR to a folder that this user may write to.",
    Exit.OUTPUT_CLOSED: "Redirect it to a file, or to /dev/null.",
}


def ending_of(error: BaseException) -> Ending | None:
    """None for what is a bug."""
    for one in causes(error):
        if isinstance(one, OutputClosed) and one.errno == errno.EPIPE:
            return ended(Exit.OUTPUT_CLOSED, "Whoever read the output closed it before its end.")
        if isinstance(one, OSError) and "No usable temporary directory" in str(one):
            return ended(Exit.NO_TEMPORARY, "There is no folder for temporary files.")
        code = NUMBERS.get(one.errno or 0) if isinstance(one, OSError) else None
        if code is not None:
            return ended(code, words_of(one))
        code = code_in(str(one)) if is_foreign(one) else None
        if code is not None:
            return ended(code, words_of(one))
    return None


def code_in(text: str) -> Exit | None:
    """What the words of a driver or a server mean, if it is one of these things."""
    return next((code for words, code in WORDS if words.search(text)), None)


def proof_code(message: str) -> Exit:
    """Of a proof that failed: by what is proved, or by the server and the disk under it."""
    code = code_in(message)
    return code if code in {Exit.SERVER_GONE, Exit.DISK_FULL} else Exit.PROOF_FAILED


def ended(code: Exit, message: str) -> Ending:
    return Ending(code, f"{message} {REMEDIES[code]}")


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it wraps, and what it came from, each once."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        members = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        # Not __context__: a fault of ours may come while a harmless error is dealt with.
        found = (getattr(one, "orig", None), one.__cause__, *members)
        waiting += [each for each in found if isinstance(each, BaseException)]


def is_foreign(error: BaseException) -> bool:
    """Of a driver or of SQLAlchemy: words of ours that sound alike are no such thing."""
    return type(error).__module__.partition(".")[0] not in {"builtins", "toolkit"} or isinstance(
        error, OSError
    )


def words_of(error: BaseException) -> str:
    """`Permission denied: /srv/app/alembic.ini`, as a sentence."""
    if isinstance(error, OSError) and error.strerror:
        files = [os.fsdecode(one) for one in (error.filename, error.filename2) if one]
        return f"{error.strerror}: {', '.join(files)}." if files else f"{error.strerror}."
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rstrip(".") + "."


def broken_temporary_folder() -> Ending | None:
    """TMPDIR that is set to no folder: Python goes elsewhere without a word, servers do not."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        folder = os.environ.get(name)
        if folder:
            if os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK):  # noqa: PTH112
                return None
            return ended(Exit.NO_TEMPORARY, f"{name} is {folder}, no folder that can be written.")
    return None
