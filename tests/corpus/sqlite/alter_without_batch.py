# expect: does-not-run fails
"""SQLite has no ALTER COLUMN."""

import sqlalchemy as sa
from alembic import op

revision = "alter_without_batch"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "age", existing_type=sa.Integer, nullable=False)


def downgrade() -> None:
    op.alter_column("users", "age", existing_type=sa.Integer, nullable=True)
