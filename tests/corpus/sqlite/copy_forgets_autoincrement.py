# expect: autoincrement-lost breaks-old-code, table-rebuild blocks
"""A copy by hand gives keys of deleted rows once more."""

from alembic import op

revision = "copy_forgets_autoincrement"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE marks_new (id INTEGER PRIMARY KEY, t TEXT)")
    op.execute("INSERT INTO marks_new SELECT id, t FROM marks")
    op.execute("DROP TABLE marks")
    op.execute("ALTER TABLE marks_new RENAME TO marks")


def downgrade() -> None:
    op.execute("SELECT 1")
