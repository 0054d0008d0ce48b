# expect: nothing
"""The old name is a view that takes writes."""

from alembic import op

revision = "safe_rename_behind_view"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.rename_table("orders", "purchases")
    op.execute("CREATE VIEW `orders` AS SELECT * FROM purchases")


def downgrade() -> None:
    op.execute("DROP VIEW orders")
    op.rename_table("purchases", "orders")
