# expect: check-lost drift, table-rebuild blocks
"""All rows are copied, and a CHECK without a name is not."""

import sqlalchemy as sa
from alembic import op

revision = "batch_type"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.alter_column("age", existing_type=sa.Integer, type_=sa.BigInteger)


def downgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.alter_column("age", existing_type=sa.BigInteger, type_=sa.Integer)
