# expect: check-lost drift, drop-column data-loss, table-rebuild blocks
"""Batch mode copies the table without the column."""

import sqlalchemy as sa
from alembic import op

revision = "batch_drop_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.drop_column("nick")


def downgrade() -> None:
    op.add_column("users", sa.Column("nick", sa.String(20)))
