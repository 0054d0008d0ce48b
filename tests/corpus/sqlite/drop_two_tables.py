# expect: drop-table data-loss
"""Both are gone with their rows."""

import sqlalchemy as sa
from alembic import op

revision = "drop_two_tables"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("orders")
    op.drop_table("notes")


def downgrade() -> None:
    op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), sa.Column("t", sa.Text))
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("user_id", sa.Integer),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
    )
