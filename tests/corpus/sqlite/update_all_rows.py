# expect: update-all-rows blocks
"""Nobody else writes meanwhile."""

from alembic import op

revision = "update_all_rows"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE orders SET state = 'old'")


def downgrade() -> None:
    """Nothing to undo."""
