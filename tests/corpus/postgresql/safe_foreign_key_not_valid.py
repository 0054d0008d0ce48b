# expect: nothing
"""Rows that are there are not read."""

from alembic import op

revision = "safe_foreign_key_not_valid"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_foreign_key(
        "orders_user_id_fkey", "orders", "users", ["user_id"], ["id"], postgresql_not_valid=True
    )


def downgrade() -> None:
    op.drop_constraint("orders_user_id_fkey", "orders")
