# expect: nothing
"""For the planner."""

from alembic import op

revision = "safe_statistics"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN city SET STATISTICS 500")


def downgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN city SET STATISTICS -1")
