# expect: backfill-not-batched blocks
"""Rows that another table names, however many these are."""

from alembic import op

revision = "update_by_other_table"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "UPDATE orders SET note = 'gone' WHERE user_id IN (SELECT id FROM users WHERE NOT active)"
    )


def downgrade() -> None:
    pass
