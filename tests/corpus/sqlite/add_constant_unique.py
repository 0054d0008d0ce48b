# expect: does-not-run fails
"""SQLite has no ADD COLUMN UNIQUE, with a default neither."""

from alembic import op

revision = "add_constant_unique"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN code VARCHAR(9) DEFAULT 'x' UNIQUE")


def downgrade() -> None:
    op.execute("SELECT 1")
