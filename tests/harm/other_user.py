"""Another user of the machine: what they plant, and what they see. Only root can be both."""

import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
MALLORY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


def as_another(action: Callable[[], T]) -> T:
    """What `action` returns or raises when user MALLORY does it, in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(MALLORY, MALLORY, MALLORY)
        os.setresuid(MALLORY, MALLORY, MALLORY)
        try:
            answer: tuple[bool, object] = (True, action())
        except BaseException as error:
            answer = (False, error)
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(pickle.dumps(answer))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    succeeded, value = pickle.loads(text)
    if not succeeded:
        raise value
    return value  # type: ignore[no-any-return]


def give(path: Path) -> None:
    """Make it MALLORY's, with all that is in it."""
    for one in (path, *path.rglob("*")):
        os.lchown(one, MALLORY, MALLORY)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder like /tmp, in which each user may make files: pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="asp-harm-", dir="/tmp"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)
