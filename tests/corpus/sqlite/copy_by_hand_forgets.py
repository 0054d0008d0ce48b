# expect: drop-table data-loss, table-rebuild blocks
"""The rows are not copied."""

from alembic import op

revision = "copy_by_hand_forgets"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE notes_new (id INTEGER PRIMARY KEY, t TEXT, at TEXT)")
    op.execute("DROP TABLE notes")
    op.execute("ALTER TABLE notes_new RENAME TO notes")


def downgrade() -> None:
    op.execute("ALTER TABLE notes DROP COLUMN at")
