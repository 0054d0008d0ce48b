# expect: nothing
"""Instant, and old code need not know it."""

import sqlalchemy as sa
from alembic import op

revision = "safe_add_with_default"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("size", sa.Integer, server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("users", "size")
