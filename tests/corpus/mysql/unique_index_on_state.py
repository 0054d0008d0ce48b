# expect: nothing
"""Rows that are alike are there."""

from alembic import op

revision = "unique_index_on_state"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ux_orders_state", "orders", ["state"], unique=True)


def downgrade() -> None:
    op.drop_index("ux_orders_state", "orders")
