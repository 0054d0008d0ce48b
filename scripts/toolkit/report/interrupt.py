"""Ctrl-C and `kill`: one orderly way out, which takes no longer than two seconds.

The first signal raises KeyboardInterrupt, so that everything that was opened is closed.
Closing may wait for a server that never answers again; so after a while whatever waits is
interrupted once more, and the next thing is closed (#11). Only what must not be left half
done, the project's files, is `undisturbed`. Further signals change nothing: terminals and
the programs around us often send one twice.
"""

import atexit
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 1.3
"""Seconds for closing everything in order."""
AGAIN = 0.1
"""Seconds between interruptions of what still waits after that."""
MOST = 4
"""So many, then the process ends, whatever waits."""
GLANCE = 0.2
"""Seconds between two looks for a signal while a thread works."""
STATUS = 130
LEFT = (
    "interrupted; something did not answer while it was being closed: the next run removes what"
    " is left of it"
)


class _Ending:
    """How far it is."""

    asked = False
    hurried = 0
    depth = 0
    """Blocks of `undisturbed` around what runs now."""
    waiting = False
    """A signal came in such a block."""


def listen() -> None:
    """Take the signals of this process from now on."""
    for number in SIGNALS:
        signal.signal(number, stop)


def stop(signum: int, frame: FrameType | None) -> None:
    """The first signal; others come here to no effect."""
    if not _Ending.asked:
        begin()
        _interrupt()


def begin() -> None:
    """Count the time from now: for who takes the signals in another way, as asyncio does."""
    if not _Ending.asked:
        _Ending.asked = True
        signal.signal(signal.SIGALRM, _hurry)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE, AGAIN)


def was_asked() -> bool:
    """Was there a signal?"""
    return _Ending.asked


def status_of(status: int) -> int:
    """The exit code of a run that came to an end by itself, unless it did so for a signal."""
    return finish() if _Ending.asked else status


def leave(status: int) -> NoReturn:
    """The program's end. After a signal Python's own is not waited for: it takes our handlers
    away before it is done, and the next alarm would then be what the program died of (#10).
    """
    if _Ending.asked:
        atexit._run_exitfuncs()
        end(status)
    # Else Python looks through all that a large project left behind: 4 of 10 seconds (#12).
    gc.freeze()
    sys.exit(status)


def finish() -> int:
    """Say how it ended; the time for what Python itself still does goes on being counted."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(STATUS))
    if _Ending.hurried:
        print(LEFT, file=sys.stderr)
        end(STATUS)
    print("interrupted; nothing was left behind", file=sys.stderr)
    return STATUS


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No signal interrupts this; one that came does so at the end."""
    _Ending.depth += 1
    try:
        yield
    finally:
        _Ending.depth -= 1
    if _Ending.waiting and not _Ending.depth:
        _Ending.waiting = False
        raise KeyboardInterrupt


def result_of(future: "Future[T]") -> T:
    """What a thread's work comes to, in a main thread that goes on hearing signals.

    One that comes just before a wait begins does not end that wait: so it is none for ever.
    """
    from concurrent.futures import wait  # noqa: PLC0415  (slow to import, and not always needed)

    while not wait([future], timeout=GLANCE).done:
        pass
    return future.result()


def end(status: int) -> NoReturn:
    """End now. Threads that wait for a server would hold up an ordinary exit."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _hurry(signum: int, frame: FrameType | None) -> None:
    _Ending.hurried += 1
    if _Ending.hurried > MOST and not _Ending.depth:
        with contextlib.suppress(OSError):
            os.write(2, f"{LEFT}\n".encode())
        end(STATUS)
    _interrupt()


def _interrupt() -> None:
    if _Ending.depth:
        _Ending.waiting = True
    else:
        raise KeyboardInterrupt
