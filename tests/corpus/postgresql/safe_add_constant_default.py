# expect: nothing
"""Since PostgreSQL 11 the catalog only."""

import sqlalchemy as sa
from alembic import op

revision = "safe_add_constant_default"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("level", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("users", "level")
