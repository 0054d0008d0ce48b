# expect: rename-column breaks-old-code
"""Instant, and old code does not find it."""

import sqlalchemy as sa
from alembic import op

revision = "rename_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "name", new_column_name="full_name", existing_type=sa.String(20))


def downgrade() -> None:
    op.alter_column("users", "full_name", new_column_name="name", existing_type=sa.String(20))
