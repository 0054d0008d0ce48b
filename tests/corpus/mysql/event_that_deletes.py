# expect: event-deletes data-loss
"""An event deletes rows, later."""

from alembic import op

revision = "event_that_deletes"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE EVENT old_orders ON SCHEDULE EVERY 1 DAY DO DELETE FROM orders WHERE state = 'old'"
    )


def downgrade() -> None:
    op.execute("DROP EVENT old_orders")
