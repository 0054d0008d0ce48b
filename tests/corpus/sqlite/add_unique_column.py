# expect: does-not-run fails
"""SQLite has no ADD COLUMN UNIQUE."""

from alembic import op

revision = "add_unique_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN handle TEXT UNIQUE")


def downgrade() -> None:
    op.execute("SELECT 1")
