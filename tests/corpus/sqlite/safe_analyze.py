# expect: nothing
"""Statistics for the planner."""

from alembic import op

revision = "safe_analyze"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ANALYZE")


def downgrade() -> None:
    op.execute("SELECT 1")
