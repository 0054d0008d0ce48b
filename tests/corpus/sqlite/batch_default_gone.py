# expect: drop-default breaks-old-code, table-rebuild blocks, trigger-lost drift
"""Old code leaves the column out."""

import sqlalchemy as sa
from alembic import op

revision = "batch_default_gone"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("orders") as table:
        table.alter_column("state", existing_type=sa.String(10), server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("orders") as table:
        table.alter_column("state", existing_type=sa.String(10), server_default="new")
