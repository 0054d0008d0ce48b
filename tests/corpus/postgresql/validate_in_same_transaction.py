# expect: validate-with-lock blocks
"""NOT VALID is of no use then."""

from alembic import op

revision = "validate_in_same_transaction"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_check_constraint(
        "orders_total_check", "orders", "total >= 0", postgresql_not_valid=True
    )
    op.execute("ALTER TABLE orders VALIDATE CONSTRAINT orders_total_check")


def downgrade() -> None:
    op.drop_constraint("orders_total_check", "orders")
