# expect: drop-column data-loss
"""The values are gone."""

import sqlalchemy as sa
from alembic import op

revision = "drop_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("users", "nick")


def downgrade() -> None:
    op.add_column("users", sa.Column("nick", sa.String(20)))
