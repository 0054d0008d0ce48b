# expect: drop-column data-loss, half-way style
"""Both with their values."""

import sqlalchemy as sa
from alembic import op

revision = "drop_two_columns"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("users", "nick")
    op.drop_column("users", "bio")


def downgrade() -> None:
    op.add_column("users", sa.Column("nick", sa.String(20)))
    op.add_column("users", sa.Column("bio", sa.Text))
