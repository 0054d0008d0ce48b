# expect: cascade-delete data-loss, check-lost drift, table-rebuild blocks
"""Foreign keys are on: DROP TABLE users takes the orders along."""

import sqlalchemy as sa
from alembic import op

revision = "batch_cascade"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("PRAGMA foreign_keys = ON")
    with op.batch_alter_table("users") as table:
        table.alter_column("age", existing_type=sa.Integer, type_=sa.BigInteger)


def downgrade() -> None:
    with op.batch_alter_table("users") as table:
        table.alter_column("age", existing_type=sa.BigInteger, type_=sa.Integer)
