"""The fixture `production`: something to harm, and the look at it afterwards."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harm.production import MySQLProduction, PostgresProduction, Production, production_of
from projects import warm

MAKERS: dict[str, type[Any]] = {"postgresql": PostgresProduction, "mysql": MySQLProduction}


@pytest.fixture(scope="session")
def productions() -> Iterator[dict[str, Any]]:
    """Those on servers that were asked for so far."""
    made: dict[str, Any] = {}
    yield made
    for one in made.values():
        one.end_session()  # the server itself goes, and all that is on it


@pytest.fixture
def production(
    dialect: str,
    productions: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Production]:
    """A production, once for each dialect; the test fails if it is not the same at its end."""
    if dialect != "sqlite":
        fixture = "postgres_server" if dialect == "postgresql" else "mysql_server"
        server = request.getfixturevalue(fixture)
        if server.keeper is None:
            pytest.skip("a server that was given to the tests is not put in harm's way")
        if dialect not in productions:
            productions[dialect] = MAKERS[dialect](server)
            productions[dialect].make()
    warm.python()  # its own folder is in the TMPDIR of all tests
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with production_of(dialect, temporary, tmp_path / "production", productions) as made:
        yield made
        found = made.harm()
    if found:
        if dialect in productions:
            productions[dialect].make()  # the next test has a whole one
        pytest.fail("production was harmed:\n" + "\n".join(found))
