"""The productions themselves: what is done to them is seen, and named."""

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from harm.production import CRM, SHOP, Production, differences

pytestmark = pytest.mark.any_sqlalchemy
TERMINATE = """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE application_name = 'production'"""


def test_nothing_was_done_and_nothing_differs(production: Production, dialect: str) -> None:
    started = time.monotonic()
    assert production.harm() == []
    assert len(production.before) > 3, f"a fingerprint of nothing on {dialect}"
    # Only said: a slow moment of the machine is no fault.
    print(f"fingerprint of {dialect}: {time.monotonic() - started:.3f} s")


HARM = {
    "postgresql": [
        ("postgres", "ALTER ROLE harm_app SET work_mem = '9MB'", "settings of"),
        ("postgres", "ALTER ROLE harm_app PASSWORD 'x'", "role harm_app"),
        ("postgres", "REVOKE harm_reader FROM harm_app", "gone: membership"),
        ("postgres", "ALTER SYSTEM SET vacuum_cost_limit = 202", "setting vacuum"),
        ("postgres", "CREATE DATABASE harm_more", "new: database harm_more"),
        ("postgres", TERMINATE, "gone: session production"),
        (CRM, "UPDATE calls SET note = 'x' WHERE id = 3", "rows of calls in harm_crm"),
        (SHOP, "SELECT audit.note('x')", "rows of audit.log"),
        (SHOP, "DROP TABLE audit.log", "gone: relation audit.log"),
    ],
    "mysql": [
        ("", "SELECT harm_crm.note('x')", "rows of harm_crm.log"),
        ("", "DROP TABLE harm_crm.log", "gone: table harm_crm.log"),
        ("", "UPDATE harm_crm.calls SET note = 'x'", "rows of harm_crm.calls"),
        ("", "REVOKE SELECT ON harm_crm.* FROM harm_app@'%'", "gone: rights of"),
        ("", "SET GLOBAL max_allowed_packet = 2097152", "max_allowed_packet"),
        ("", "CREATE DATABASE harm_more", "new: database harm_more"),
    ],
    "sqlite": [
        (CRM, "UPDATE calls SET note = 'x'", "changed: file harm_crm.db-wal"),
        (SHOP, "PRAGMA wal_checkpoint(TRUNCATE)", "changed: file harm_shop.db"),
    ],
}


def test_harm_is_seen(productions: dict[str, Any], production: Production, dialect: str) -> None:
    for database, statement, said in HARM[dialect]:
        if dialect == "sqlite":
            assert production.folder is not None
            with contextlib.closing(sqlite3.connect(production.folder / f"{database}.db")) as other:
                other.execute(statement)
                other.commit()
        elif dialect == "mysql":
            productions[dialect].run([statement])
        else:
            with productions[dialect].connect(database) as other:
                other.execute(statement)
        harm = production.harm()
        assert any(said in line for line in harm), (statement, harm)
    undo(productions, production, dialect)


def undo(productions: dict[str, Any], production: Production, dialect: str) -> None:
    """Make it anew; this harm was wanted."""
    if dialect == "mysql":
        productions[dialect].run(["SET GLOBAL max_allowed_packet = 16777216"])
    if dialect != "sqlite":
        productions[dialect].make()
        productions[dialect].prepare()
    production.before = production.fingerprint()


def test_differences_are_readable() -> None:
    before = {"role a": "1", "role b": "2"}
    assert differences(before, {"role b": "3", "role c": "1"}) == [
        "changed: role b: 2 -> 3",
        "gone: role a",
        "new: role c",
    ]


def test_left_files_are_harm(production: Production, dialect: str, tmp_path: Path) -> None:
    left = production.temporary / "left"
    left.touch()
    assert production.harm() == [f"new: file {left}"]
    left.unlink()
