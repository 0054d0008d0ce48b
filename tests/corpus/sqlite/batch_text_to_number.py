# expect: check-lost drift, table-rebuild blocks, type-change-loses data-loss
"""CAST makes 0 of each text."""

import sqlalchemy as sa
from alembic import op

revision = "batch_text_to_number"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.alter_column("nick", existing_type=sa.String(20), type_=sa.Integer)


def downgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.alter_column("nick", existing_type=sa.Integer, type_=sa.String(20))
