# expect: nothing
"""In place without reading a row; a query looks for orphans."""

from alembic import op

revision = "safe_foreign_key_unchecked"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET SESSION foreign_key_checks = 0")
    op.create_foreign_key("fk_orders_user", "orders", "users", ["user_id"], ["id"])
    op.execute("SET SESSION foreign_key_checks = 1")


def downgrade() -> None:
    op.drop_constraint("fk_orders_user", "orders", type_="foreignkey")
    op.drop_index("fk_orders_user", "orders")
