# expect: nothing
"""More digits before the point."""

from alembic import op

revision = "safe_numeric_wider"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN credit TYPE numeric(12, 2)")


def downgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN credit TYPE numeric(8, 2)")
