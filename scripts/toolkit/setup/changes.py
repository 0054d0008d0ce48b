"""What is to be written, as values: nothing in here touches the disk but `read_text`."""

import difflib
import io
import os
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from toolkit.files.reading import NoFile, Unreadable, content_of
from toolkit.report.exits import Exit
from toolkit.setup.errors import SetupError

SHOWN = 30
"""Lines of one file's difference that are shown; an agent pays for each that it reads."""


@dataclass(frozen=True)
class FileChange:
    """One file before and after. Both texts carry their own line ends."""

    path: Path
    before: str | None
    """None: the file does not exist yet."""
    after: str
    reason: str
    keep_backup: bool = False
    """A person's file: the text before is kept, unless git has it."""
    overwrites: bool = False
    """A person's file is replaced as a whole, which only --force may do."""


def read_text(path: Path) -> str | None:
    """The text of `path` with its own line ends, None where there is no file.

    A byte order mark stays in it. Raises SetupError for what is no text.
    """
    try:
        content = content_of(path)
        return content.decode(_encoding(path, content))
    except FileNotFoundError as error:
        if not isinstance(error, NoFile):
            return None
        reason: Exception = error
    except (Unreadable, UnicodeDecodeError, SyntaxError, LookupError) as error:
        reason = error
    raise SetupError(
        "unreadable",
        Exit.BROKEN_PROJECT,
        f"{path} cannot be edited: {reason}",
        "save it as UTF-8, let it be read, or move it out of the way",
    )


def encoded(path: Path, text: str) -> bytes:
    """The bytes of a new text: a Python file is in the encoding that it declares itself."""
    return text.encode(_encoding(path, text.encode("utf-8", "replace")))


def _encoding(path: Path, content: bytes) -> str:
    if path.suffix != ".py":
        return "utf-8"
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    return encoding.removesuffix("-sig")


def real_changes(changes: Iterable[FileChange]) -> list[FileChange]:
    """Without those that change nothing."""
    return [change for change in changes if change.before != change.after]


def relative(path: Path, root: Path) -> str:
    """`path` as a person in `root` would write it."""
    return Path(os.path.relpath(path, root)).as_posix()


def unified_diff(changes: Iterable[FileChange], root: Path) -> str:
    """All changes as one patch that `git apply` and `patch -p1` take."""
    return "".join(line for change in changes for line in patch_lines(change, root))


def shown_diff(changes: Iterable[FileChange], root: Path) -> str:
    """What a person has to look at: files that change, long ones cut in the middle (#16)."""
    lines: list[str] = []
    for change in changes:
        if change.before is None:  # nothing to compare; it is named with its length
            continue
        found = patch_lines(change, root)
        cut = len(found) - SHOWN
        if cut > 1:
            found[SHOWN // 2 : SHOWN // 2 + cut] = [f"... {cut} more lines: --full-diff\n"]
        lines += found
    return "".join(lines)


def patch_lines(change: FileChange, root: Path) -> list[str]:
    name = relative(change.path, root)
    before = "" if change.before is None else change.before
    found = difflib.unified_diff(
        before.splitlines(keepends=True),
        change.after.splitlines(keepends=True),
        "/dev/null" if change.before is None else f"a/{name}",
        f"b/{name}",
    )
    missing = "\n\\ No newline at end of file\n"
    return [line if line.endswith("\n") else f"{line}{missing}" for line in found]
