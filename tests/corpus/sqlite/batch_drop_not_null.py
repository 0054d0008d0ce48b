# expect: table-rebuild blocks, trigger-lost drift
"""Gentler for all who write; it copies the table."""

import sqlalchemy as sa
from alembic import op

revision = "batch_drop_not_null"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("orders") as table:
        table.alter_column("total", existing_type=sa.Integer, nullable=True)


def downgrade() -> None:
    with op.batch_alter_table("orders") as table:
        table.alter_column("total", existing_type=sa.Integer, nullable=False)
