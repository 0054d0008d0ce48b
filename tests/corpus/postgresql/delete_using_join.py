# expect: backfill-not-batched blocks, delete-rows data-loss
"""Rows are gone, by another table."""

from alembic import op

revision = "delete_using_join"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "DELETE FROM items USING orders WHERE orders.id = items.order_id AND orders.number > 10"
    )


def downgrade() -> None:
    op.execute("SELECT 1")
