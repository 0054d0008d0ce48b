# expect: nothing
"""A row by its key."""

from alembic import op

revision = "safe_one_row"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE orders SET state = 'old' WHERE id = 7")
    op.execute("DELETE FROM orders WHERE id = 8")


def downgrade() -> None:
    """Nothing to undo."""
