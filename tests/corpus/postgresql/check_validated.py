# expect: check-scan blocks
"""All rows are read under the strongest lock."""

from alembic import op

revision = "check_validated"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_check_constraint("orders_total_check", "orders", "total >= 0")


def downgrade() -> None:
    op.drop_constraint("orders_total_check", "orders")
