"""What a SQLite connection in the fence may attach, where the kernel does not help."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from toolkit.fence.hook import Fence
from toolkit.fence.sqlite import connection_class


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A file outside of the fence's folder."""
    path = tmp_path / "real.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE keep (x)")
        connection.commit()
    return path


@pytest.fixture
def fence(tmp_path: Path) -> Fence:
    ours = tmp_path / "ours"
    ours.mkdir()
    return Fence({"root": str(tmp_path), "writable": [str(ours)]})


@pytest.fixture(params=[sqlite3.Connection, "ours"])
def connection(
    request: pytest.FixtureRequest, fence: Fence, tmp_path: Path
) -> Iterator[sqlite3.Connection]:
    """As a project's own call makes it in memory, and as the guard does."""
    made = connection_class(fence, str(tmp_path / "ours"))
    factory = made if request.param == "ours" else request.param
    with contextlib.closing(sqlite3.connect(":memory:", factory=factory, uri=True)) as opened:
        fence._sqlite_opened(opened)
        yield opened


@pytest.mark.parametrize(
    "attach",
    [
        ("ATTACH ? AS crm", ["{real}"]),
        ("ATTACH ?1 AS crm", ["{real}"]),
        ("ATTACH :file AS crm", {"file": "{real}"}),
        ("ATTACH '{folder}' || '/real.db' AS crm", []),
        ("ATTACH (SELECT '{real}') AS crm", []),
        ("ATTACH [{real}] AS crm", []),
        ("ATTACH/**/'{real}'/**/AS crm", []),
        ("ATTACH '{real}' crm", []),
        ("ATTACH 'file:{quoted}' AS crm", []),
        ("ATTACH 'file:{real}?nomode=memory' AS crm", []),
    ],
)
def test_a_file_of_others_is_not_changed(
    attach: tuple[str, Any],
    connection: sqlite3.Connection,
    real: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Refused, or a copy: however its name is said, also where SQLite tells it to nobody."""
    statement, parameters = attach
    monkeypatch.chdir(tmp_path / "ours")  # a name that is not understood would lie in there
    names = {"real": real, "folder": tmp_path, "quoted": quote(str(real), safe="")}
    if isinstance(parameters, dict):
        parameters = {name: value.format(**names) for name, value in parameters.items()}
    else:
        parameters = [value.format(**names) for value in parameters]
    before = real.read_bytes()
    with contextlib.suppress(sqlite3.DatabaseError):
        connection.execute(statement.format(**names), parameters)
        connection.execute("DROP TABLE crm.keep")
        connection.commit()
    assert real.read_bytes() == before


def test_a_parameter_is_a_copy(real: Path, fence: Fence, tmp_path: Path) -> None:
    made = connection_class(fence, str(tmp_path / "ours"))
    with contextlib.closing(sqlite3.connect(":memory:", factory=made)) as connection:
        fence._sqlite_opened(connection)
        connection.execute("ATTACH ? AS crm", (str(real),))
        connection.execute("ATTACH :file AS same", {"file": str(real)})
        connection.execute("DROP TABLE crm.keep")
        attached = [Path(row[2]) for row in connection.execute("PRAGMA database_list")]
    assert [path.parent for path in attached if path.name] == [tmp_path / "ours"] * 2
    assert not fence.refused
