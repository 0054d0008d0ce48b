# expect: drop-default-of-new-column breaks-old-code
"""Old code does not know the column that has no default now."""

import sqlalchemy as sa
from alembic import op

revision = "default_taken_away"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("level", sa.Integer, nullable=False, server_default="0"))
    op.alter_column("users", "level", server_default=None)


def downgrade() -> None:
    op.drop_column("users", "level")
