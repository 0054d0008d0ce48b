"""A table that old code reads and writes while it is changed: written forms and naive ones."""

import textwrap
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from toolkit.migration.expand_contract import (
    Change,
    ChangeType,
    Column,
    Index,
    RenameColumn,
    SetNotNull,
    Table,
    expand_contract,
)

TABLE = Table("visit")
NAME = Column("name", "sa.Text()", "TEXT")
HITS = Column("hits", "sa.Integer()", "INTEGER", nullable=False)
# A request is one short transaction of one client, as of a web service.
READ = ("SELECT id, name, hits FROM visit WHERE id = %(key)s",)
WRITE = (
    "UPDATE visit SET hits = hits + 1 WHERE id = %(key)s",
    "UPDATE visit SET name = %(name)s WHERE id = %(key)s",
)
INSERT = ("INSERT INTO visit (name, kind, hits) VALUES (%(name)s, 'x', 1)",)
# A change, and the last revision before new code.
SAFE: dict[str, tuple[Change, str]] = {
    "rename": (
        RenameColumn(TABLE, NAME, "full_name", (Index("ix_visit_name", ("name",)),)),
        "visit_backfill",
    ),
    "type": (ChangeType(TABLE, HITS, "sa.BigInteger()", "BIGINT"), "visit_expand"),
    "not null": (SetNotNull(TABLE, Column("kind", "sa.Text()", "TEXT"), "'y'"), "visit_contract"),
}
NAIVE = {
    # Old code asks for a column that is not there.
    "rename": ("op.alter_column('visit', 'name', new_column_name='full_name')",),
    # One transaction: the first statement's lock is held while all rows are written.
    "copy": (
        "op.add_column('visit', sa.Column('full_name', sa.Text))",
        "op.execute('UPDATE visit SET full_name = name')",
        "op.create_index('ix_visit_full_name', 'visit', ['full_name'])",
    ),
    # All rows and both indexes are written anew, three times.
    "type": (
        "op.alter_column('visit', 'hits', type_=sa.BigInteger)",
        "op.alter_column('visit', 'id', type_=sa.BigInteger)",
        "op.alter_column('visit', 'name', type_=sa.String(200))",
    ),
    # All rows are read while nobody else may.
    "not null": ("op.alter_column('visit', 'kind', nullable=False)",),
    # And while nobody may write.
    "index": ("op.create_index('ix_visit_hits', 'visit', ['hits'])",),
}
NAIVE_FILE = """
import sqlalchemy as sa
from alembic import op

revision = "naive"
down_revision = None


def upgrade():
{}


def downgrade():
    pass
"""


def fill(rows: int) -> tuple[str, ...]:
    """The statements that make the table. One row in twenty has a name: each is copied."""
    return (
        "CREATE TABLE visit (id serial, name text, hits integer NOT NULL, kind text)",
        "INSERT INTO visit (id, name, kind, hits) "
        "SELECT i, CASE WHEN i % 20 = 0 THEN 'visitor ' || i END, 'x', i "
        f"FROM generate_series(1, {rows}) i",
        f"SELECT setval('visit_id_seq', {rows})",
        "ALTER TABLE visit ADD PRIMARY KEY (id)",
        "CREATE INDEX ix_visit_name ON visit (name)",
        # The server begins no vacuum by itself, which would make the numbers another's.
        "ALTER TABLE visit SET (autovacuum_enabled = off)",
        "VACUUM (FREEZE, ANALYZE) visit",
    )


def written(kind: str) -> tuple[dict[str, str], str]:
    """The files of a change, and the revision to upgrade to."""
    change, target = SAFE[kind]
    revisions = expand_contract(change, dialect="postgresql", parent=None, slug="visit")
    assert target in {revision.revision for revision in revisions}
    return {revision.file: revision.text for revision in revisions}, target


def naive(kind: str) -> str:
    return NAIVE_FILE.format(textwrap.indent("\n".join(NAIVE[kind]), "    "))


def address(url: str) -> dict[str, Any]:
    """As psycopg takes it."""
    made = make_url(url)
    words = {"host": made.host, "port": made.port, "user": made.username}
    return {**words, "password": made.password, "dbname": made.database}


def put(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder
