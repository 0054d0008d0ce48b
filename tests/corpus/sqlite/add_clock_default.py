# expect: add-column-refused fails
"""SQLite refuses a default that is no constant."""

from alembic import op

revision = "add_clock_default"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN at TEXT DEFAULT CURRENT_TIMESTAMP")


def downgrade() -> None:
    op.execute("SELECT 1")
