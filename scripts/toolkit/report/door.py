"""The one door out of this program: standard output and standard error, and files it writes.

Nothing that is printed can go round it, whoever prints: it is what `sys.stdout` and
`sys.stderr` are. It hides what is secret and writes control characters out.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

from toolkit.report.command_line import OWN_COMMAND, values_of
from toolkit.report.masking import MASKER, clean


class OutputClosed(OSError):
    """Standard output takes no more: whoever read it went away, or its disk is full."""


class Door:
    """A text stream that masks whole lines: a secret may come in pieces.

    Not a subclass of io's: what asks for `buffer` or `fileno` gets the stream's own. Who closes
    the stream that only tells how far it is (`must_arrive`) does not want the run to fail by it.
    """

    def __init__(self, stream: TextIO, *, must_arrive: bool = True) -> None:
        self.plain = stream
        self._must_arrive = must_arrive
        self._begun = ""
        self._closed: OutputClosed | None = None

    def write(self, text: str) -> int:
        lines, newline, self._begun = (self._begun + text).rpartition("\n")
        if newline:
            self._put(lines + newline)
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        begun, self._begun = self._begun, ""
        self._put(begun)
        self._send(self.plain.flush)

    def as_it_is(self, text: str) -> None:
        """Write what is safe by how it was made."""
        self.flush()
        self._send(lambda: put(self.plain, text))

    def _put(self, text: str) -> None:
        # Line ends of a diff are what they are; only a return within a line steers a terminal.
        shown = "\r\n".join(map(clean, MASKER(text).split("\r\n")))
        self._send(lambda: put(self.plain, shown))

    def _send(self, action: Callable[[], object]) -> None:
        """Raise OutputClosed, also again: argparse swallows the first."""
        try:
            if self._closed is None:
                action()
        except OSError as error:
            self._closed = OutputClosed(error.errno, error.strerror, "standard output")
        if self._closed is not None and self._must_arrive:
            raise self._closed

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self.plain, name)


def put(stream: TextIO, text: str) -> None:
    """Write all that can be written: a terminal in another encoding is no reason to fail."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def put_json(document: Any) -> None:  # noqa: ANN401
    """Print a document. It is masked as data: so what comes out is JSON, whatever is hidden."""
    text = json.dumps(MASKER.data(document), indent=2) + "\n"
    if isinstance(sys.stdout, Door):
        sys.stdout.as_it_is(text)
    else:
        sys.stdout.write(text)


def say(line: str) -> None:
    """Progress, on standard error: standard output is the result's."""
    print(f"... {line}", file=sys.stderr, flush=True)


def plain(stream: TextIO) -> TextIO:
    """The stream behind the door, for what is safe by how it was made."""
    return stream.plain if isinstance(stream, Door) else stream


@contextlib.contextmanager
def opened(arguments: Sequence[str] = ()) -> Iterator[None]:
    """Everything printed inside goes through the door; `arguments` are the command line."""
    MASKER.forget()
    MASKER.learn_environment(os.environ)
    values = list(values_of(arguments))
    MASKER.learn_folder(Path(dict(values).get("--project", "")))
    for option, value in values:
        if option == OWN_COMMAND:
            MASKER.learn_command(value)
        elif "://" in value:
            MASKER.learn(value)
    before = sys.stdout, sys.stderr
    doors = Door(sys.stdout), Door(sys.stderr, must_arrive=False)
    sys.stdout, sys.stderr = (cast(TextIO, door) for door in doors)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for door in doors:
            door.flush()


def leave() -> None:
    """In a process that runs the project's code: its streams are its own."""
    sys.stdout, sys.stderr = plain(sys.stdout), plain(sys.stderr)
