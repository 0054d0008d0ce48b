# expect: add-not-null-column fails, table-rebuild blocks
"""The copy has nothing to put into it."""

import sqlalchemy as sa
from alembic import op

revision = "batch_not_null_added"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("notes", recreate="always") as table:
        table.add_column(sa.Column("size", sa.Integer, nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("notes") as table:
        table.drop_column("size")
