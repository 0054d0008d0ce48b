"""What a server carries out for a role, or for its administrator."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from harm.production import Production
from projects import plans_capture as capture
from toolkit.database.session import FAILURES, Session


def succeeding(url: Any, statements: list[str]) -> list[str]:
    """Those that the server carries out."""
    session = Session(url)
    found = []
    for statement in statements:
        with contextlib.suppress(*FAILURES):
            session.run(statement)
            found.append(statement)
    assert session.run("SELECT 1")
    session.close()
    return found


def succeeds(url: Any, statement: str) -> bool:
    return succeeding(url, [statement]) == [statement]


@contextlib.contextmanager
def also(production: Production, made: Sequence[str], gone: Sequence[str]) -> Iterator[None]:
    """Something more in this production, whose fingerprint has it then."""
    capture.script(production.superuser_url, *(one.replace(":", r"\:") for one in made))
    production.before = production.fingerprint()
    try:
        yield
        assert production.harm() == []
    finally:
        capture.script(production.superuser_url, *gone)
        production.before = production.fingerprint()
