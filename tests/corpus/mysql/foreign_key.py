# expect: foreign-key-scan blocks
"""All rows are compared while writers wait."""

from alembic import op

revision = "foreign_key"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_foreign_key("fk_orders_user", "orders", "users", ["user_id"], ["id"])


def downgrade() -> None:
    op.drop_constraint("fk_orders_user", "orders", type_="foreignkey")
    op.drop_index("fk_orders_user", "orders")
