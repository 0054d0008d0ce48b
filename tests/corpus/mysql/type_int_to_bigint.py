# expect: type-change-rewrite blocks
"""Every row is written anew."""

import sqlalchemy as sa
from alembic import op

revision = "type_int_to_bigint"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column(
        "orders", "total", existing_type=sa.Integer, type_=sa.BigInteger, existing_nullable=False
    )


def downgrade() -> None:
    op.alter_column(
        "orders", "total", existing_type=sa.BigInteger, type_=sa.Integer, existing_nullable=False
    )
