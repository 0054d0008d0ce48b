# expect: nothing
"""A longer limit needs no look at the rows."""

import sqlalchemy as sa
from alembic import op

revision = "safe_varchar_wider"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "city", type_=sa.String(100), existing_type=sa.String(50))


def downgrade() -> None:
    op.alter_column("users", "city", type_=sa.String(50), existing_type=sa.String(100))
