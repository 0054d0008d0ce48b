# expect: rename-table breaks-old-code
"""Old code asks for the old name."""

from alembic import op

revision = "rename_table"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("RENAME TABLE orders TO purchases")


def downgrade() -> None:
    op.rename_table("purchases", "orders")
