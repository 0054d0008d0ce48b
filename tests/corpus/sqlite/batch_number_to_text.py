# expect: check-lost drift, table-rebuild blocks
"""Digits come back as the number that they were."""

import sqlalchemy as sa
from alembic import op

revision = "batch_number_to_text"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.alter_column("age", existing_type=sa.Integer, type_=sa.String(20))


def downgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.alter_column("age", existing_type=sa.String(20), type_=sa.Integer)
