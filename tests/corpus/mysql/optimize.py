# expect: nothing
"""Builds the table anew."""

from alembic import op

revision = "optimize"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("OPTIMIZE TABLE orders")


def downgrade() -> None:
    op.execute("SELECT 1")
