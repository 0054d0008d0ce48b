# expect: nothing
"""One writer at a time in any case."""

from alembic import op

revision = "safe_index"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_orders_user", "orders", ["user_id"])


def downgrade() -> None:
    op.drop_index("ix_orders_user", "orders")
