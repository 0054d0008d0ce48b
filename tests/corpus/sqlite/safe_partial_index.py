# expect: nothing
"""An index of some rows."""

from alembic import op

revision = "safe_partial_index"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX ix_orders_open ON orders (user_id) WHERE state = 'new'")


def downgrade() -> None:
    op.drop_index("ix_orders_open", "orders")
