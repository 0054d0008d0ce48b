# expect: delete-rows data-loss
"""Rows are gone, whatever it blocks."""

from alembic import op

revision = "delete_by_state"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM orders WHERE state = 'new'")


def downgrade() -> None:
    op.execute("SELECT 1")
