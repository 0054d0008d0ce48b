"""What a server carries out for a role."""

import contextlib
from typing import Any

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
