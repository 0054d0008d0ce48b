# expect: type-change-loses data-loss, type-change-rewrite blocks
"""The cents are gone."""

import sqlalchemy as sa
from alembic import op

revision = "type_numeric_to_int"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("orders", "total", type_=sa.Integer(), postgresql_using="round(total)::int")


def downgrade() -> None:
    op.alter_column("orders", "total", type_=sa.Numeric(10, 2))
