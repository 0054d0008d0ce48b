# expect: foreign-key-scan blocks
"""As autogenerate writes another ON DELETE."""

from alembic import op

revision = "foreign_key_replaced"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint("items_order_id_fkey", "items", type_="foreignkey")
    op.create_foreign_key(
        "items_order_id_fkey", "items", "orders", ["order_id"], ["id"], ondelete="CASCADE"
    )


def downgrade() -> None:
    op.drop_constraint("items_order_id_fkey", "items", type_="foreignkey")
    op.create_foreign_key("items_order_id_fkey", "items", "orders", ["order_id"], ["id"])
