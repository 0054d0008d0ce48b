# expect: index-not-concurrent blocks
"""The same, and unique."""

from alembic import op

revision = "index_made_unique"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_orders_reference", "orders")
    op.create_index("ix_orders_reference", "orders", ["reference"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_orders_reference", "orders")
    op.create_index("ix_orders_reference", "orders", ["reference"])
