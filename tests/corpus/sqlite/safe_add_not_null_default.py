# expect: nothing
"""A constant for old rows, and for old code."""

import sqlalchemy as sa
from alembic import op

revision = "safe_add_not_null_default"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("paid", sa.Boolean, nullable=False, server_default="0"))


def downgrade() -> None:
    op.execute("ALTER TABLE orders DROP COLUMN paid")
