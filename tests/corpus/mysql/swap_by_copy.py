# expect: half-way style, swap-table data-loss
"""What is written between the copy and the two renames is lost."""

from alembic import op

revision = "swap_by_copy"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE orders_new LIKE orders")
    op.execute("ALTER TABLE orders_new ADD COLUMN note TEXT")
    op.execute("INSERT INTO orders_new SELECT orders.*, NULL FROM orders")
    op.execute("RENAME TABLE orders TO orders_old, orders_new TO orders")


def downgrade() -> None:
    op.execute("RENAME TABLE orders TO orders_new, orders_old TO orders")
    op.execute("DROP TABLE orders_new")
