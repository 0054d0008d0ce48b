# expect: table-rebuild blocks, trigger-lost drift
"""A default copies the table."""

import sqlalchemy as sa
from alembic import op

revision = "batch_default"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("orders") as table:
        table.alter_column("total", existing_type=sa.Integer, server_default="0")


def downgrade() -> None:
    with op.batch_alter_table("orders") as table:
        table.alter_column("total", existing_type=sa.Integer, server_default=None)
