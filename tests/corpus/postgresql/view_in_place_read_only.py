# expect: view-in-its-place breaks-old-code
"""Old code reads it, and can't write."""

from alembic import op

revision = "view_in_place_read_only"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE settings RENAME TO preferences")
    op.execute("CREATE VIEW settings AS SELECT DISTINCT key, value FROM preferences")


def downgrade() -> None:
    op.execute("DROP VIEW settings")
    op.execute("ALTER TABLE preferences RENAME TO settings")
