# expect: foreign-key-scan blocks
"""The same, hidden in a column."""

import sqlalchemy as sa
from alembic import op

revision = "foreign_key_in_add_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "orders",
        sa.Column("buyer_id", sa.Integer, sa.ForeignKey("users.id", name="orders_buyer_id_fkey")),
    )


def downgrade() -> None:
    op.drop_column("orders", "buyer_id")
