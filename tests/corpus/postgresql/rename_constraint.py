# expect: rename-constraint breaks-old-code
"""Old code names it in ON CONFLICT ON CONSTRAINT."""

from alembic import op

revision = "rename_constraint"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders RENAME CONSTRAINT orders_number_key TO uq_orders_number")


def downgrade() -> None:
    op.execute("ALTER TABLE orders RENAME CONSTRAINT uq_orders_number TO orders_number_key")
