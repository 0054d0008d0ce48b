# expect: table-rebuild blocks
"""Two columns in one copy."""

import sqlalchemy as sa
from alembic import op

revision = "batch_two_columns"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("notes") as table:
        table.alter_column("t", existing_type=sa.Text, type_=sa.String(50))
        table.add_column(sa.Column("at", sa.DateTime))


def downgrade() -> None:
    with op.batch_alter_table("notes") as table:
        table.drop_column("at")
        table.alter_column("t", existing_type=sa.String(50), type_=sa.Text)
