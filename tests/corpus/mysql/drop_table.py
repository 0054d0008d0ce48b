# expect: drop-table data-loss
"""With all its rows."""

import sqlalchemy as sa
from alembic import op

revision = "drop_table"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("orders")


def downgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("user_id", sa.Integer),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("state", sa.String(10), server_default="new", nullable=False),
    )
