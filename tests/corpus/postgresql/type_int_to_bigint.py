# expect: type-change-rewrite blocks
"""Four bytes become eight."""

import sqlalchemy as sa
from alembic import op

revision = "type_int_to_bigint"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("orders", "number", type_=sa.BigInteger, existing_type=sa.Integer)


def downgrade() -> None:
    op.alter_column("orders", "number", type_=sa.Integer, existing_type=sa.BigInteger)
