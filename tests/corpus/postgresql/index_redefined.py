# expect: index-not-concurrent blocks
"""As autogenerate writes another index of the same name."""

from alembic import op

revision = "index_redefined"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_orders_user_id", "orders")
    op.create_index("ix_orders_user_id", "orders", ["user_id", "placed"])


def downgrade() -> None:
    op.drop_index("ix_orders_user_id", "orders")
    op.create_index("ix_orders_user_id", "orders", ["user_id"])
