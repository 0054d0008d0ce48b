# expect: nothing
"""Unique, while others write."""

from alembic import op

revision = "safe_index_concurrently_unique"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index("ux_items_sku", "items", ["sku"], unique=True, postgresql_concurrently=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index("ux_items_sku", "items", postgresql_concurrently=True)
