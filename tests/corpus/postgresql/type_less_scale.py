# expect: type-change-loses data-loss, type-change-rewrite blocks
"""Rounded without a word."""

import sqlalchemy as sa
from alembic import op

revision = "type_less_scale"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("orders", "total", type_=sa.Numeric(10, 0))


def downgrade() -> None:
    op.alter_column("orders", "total", type_=sa.Numeric(10, 2))
