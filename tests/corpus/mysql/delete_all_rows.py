# expect: delete-all-rows data-loss
"""No WHERE."""

from alembic import op

revision = "delete_all_rows"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM orders")


def downgrade() -> None:
    """Nothing to undo."""
