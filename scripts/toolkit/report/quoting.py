"""Names in commands and statements, quoted for whoever will read them: a shell or a server.

A printed command is there to be copied: whatever a path, a revision or a role is called, it
stays one word.
"""

import shlex
from collections.abc import Iterable
from pathlib import Path

from toolkit.report.masking import in_a_line

SCRIPTS = Path(__file__).resolve().parents[2]


def word(text: object) -> str:
    """One word of a command; what steers a terminal as bash's `$'...'` writes it."""
    text = str(text)
    if in_a_line(text) == text:
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{in_a_line(escaped)}'"


def command(words: Iterable[object]) -> str:
    return " ".join(map(word, words))


def script(name: str, *words: object) -> str:
    """One of ours as it is started from here: no shell finds it by its name alone (#16)."""
    path, here = SCRIPTS / name, Path.cwd().resolve()
    return command(["bash", path.relative_to(here) if here in path.parents else path, *words])


def identifier(name: object, kind: str = "postgresql") -> str:
    """A name in SQL."""
    mark = "`" if kind == "mysql" else '"'
    return f"{mark}{str(name).replace(mark, mark * 2)}{mark}"


def qualified(*names: object) -> str:
    """A name in SQL with those of what it is in, from the outermost."""
    return ".".join(map(identifier, names))


def literal(text: object, kind: str = "postgresql") -> str:
    """A text in SQL; MySQL reads backslashes in it."""
    text = str(text).replace("\\", "\\\\") if kind == "mysql" else str(text)
    return "'" + text.replace("'", "''") + "'"
