# expect: unique-scan blocks
"""Alembic sends two statements, which the form takes the place of."""

import sqlalchemy as sa
from alembic import op

revision = "unique_in_op_add_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("slug", sa.String(30), unique=True))


def downgrade() -> None:
    op.drop_column("users", "slug")
