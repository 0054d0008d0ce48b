"""Read a file of a project: the whole of it, in its own encoding, or say why not.

Only regular files are opened: a pipe would wait for a writer, and a device has no end.
What Python cannot import either, such as a pipe with the name of a module, is no source.
"""

import contextlib
import io
import os
import re
import stat
import tokenize
from pathlib import Path

MOST = 32_000_000
"""Bytes. What is larger is no source that a person or a generator of models wrote."""
_TABLES = (
    r"__table(?:name)?__|declarative|automap|(?-i:MetaData)|[\"']\s*,\s*metadata\b|\bmapped"
    r"|\bcolumn\s*\(|\btable\s*(?:\(|=\s*True)|\bclass\s+\w+\s*\([^)]*\bBase\b"
)
_TABLES_IN_TEXT = re.compile(_TABLES, re.IGNORECASE)
_TABLES_IN_BYTES = re.compile(_TABLES.encode(), re.IGNORECASE)
"""What one of these is in may define a table. `metadata` alone is a word about files, too (#12)."""


class Unreadable(Exception):
    """A file that there is and that cannot be read; the text says why."""


class NoFile(FileNotFoundError):
    """There is something, but no regular file: a folder, a pipe, a device."""


def content_of(path: Path) -> bytes:
    """All bytes of a regular file. Raises Unreadable; FileNotFoundError where it is none."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise NoFile(f"{path} is no regular file")
        # Not blocking: it may have become a pipe just now, and /proc has files that wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NoFile(f"{path} is no regular file")
            content = file.read(MOST + 1) or b""
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(str(error)) from None
    except OSError as error:
        raise Unreadable(f"it cannot be read ({error.strerror})") from None
    if len(content) > MOST:
        raise Unreadable(f"it is larger than {MOST // 1_000_000} MB")
    return content


def source_of(path: Path) -> str:
    """The text of a Python file, decoded as Python does: by its cookie, else as UTF-8.

    Raises Unreadable; FileNotFoundError where it is no regular file.
    """
    content = content_of(path)
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return universal(content.decode(encoding))
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise Unreadable(f"it is no text in its encoding ({error})") from None


def text_of(path: Path) -> str:
    """The text of any other file, as well as it can be had; empty where there is none."""
    try:
        content = content_of(path)
    except (OSError, Unreadable):
        return ""
    for mark, encoding in (
        (b"\xff\xfe", "utf-16"),  # as PowerShell writes requirements.txt
        (b"\xfe\xff", "utf-16"),
        (b"", "utf-8-sig"),
    ):
        if content.startswith(mark):
            with contextlib.suppress(UnicodeDecodeError):
                return universal(content.decode(encoding))
    return universal(content.decode("latin-1"))


def why_no_text(path: Path) -> str:
    """Why a program that takes only UTF-8 cannot read a file; empty where it can."""
    content = content_of(path)
    if content.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return "it begins with a byte order mark"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"line {line} is no UTF-8"
    return ""


def universal(text: str) -> str:
    """All ends of lines as `\\n`, as Python reads a text."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def names_tables(text: str) -> bool:
    """The same of a text that was read."""
    return _TABLES_IN_TEXT.search(text) is not None


def may_have_tables(path: Path) -> bool:
    """Could a file that was not understood define a table? True where it cannot be looked at."""
    try:
        content = content_of(path)
    except FileNotFoundError:
        return False
    except Unreadable:
        return True
    # Without zeros: that finds the words in UTF-16 as well.
    return _TABLES_IN_BYTES.search(content.replace(b"\0", b"")) is not None
