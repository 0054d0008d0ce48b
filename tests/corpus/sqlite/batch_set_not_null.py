# expect: check-lost drift, table-rebuild blocks
"""Rows without a value stop it."""

import sqlalchemy as sa
from alembic import op

revision = "batch_set_not_null"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.alter_column("nick", existing_type=sa.String(20), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.alter_column("nick", existing_type=sa.String(20), nullable=True)
