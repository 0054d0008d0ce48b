# expect: nothing
"""Batch mode without need of a copy."""

import sqlalchemy as sa
from alembic import op

revision = "safe_batch_add_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.add_column(sa.Column("extra", sa.Integer))


def downgrade() -> None:
    op.drop_column("users", "extra")
