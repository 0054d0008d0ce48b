# expect: half-way style, swap-table data-loss
"""Another table by the old name."""

from alembic import op

revision = "swap_for_empty"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.rename_table("orders", "orders_old")
    op.execute("CREATE TABLE orders LIKE orders_old")


def downgrade() -> None:
    op.drop_table("orders")
    op.rename_table("orders_old", "orders")
