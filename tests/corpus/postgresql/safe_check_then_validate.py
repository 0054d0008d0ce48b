# expect: nothing
"""Validated in a transaction of its own."""

from alembic import op

revision = "safe_check_then_validate"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_check_constraint(
        "orders_total_check", "orders", "total >= 0", postgresql_not_valid=True
    )
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE orders VALIDATE CONSTRAINT orders_total_check")


def downgrade() -> None:
    op.drop_constraint("orders_total_check", "orders")
