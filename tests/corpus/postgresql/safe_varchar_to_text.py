# expect: nothing
"""No limit neither."""

import sqlalchemy as sa
from alembic import op

revision = "safe_varchar_to_text"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "city", type_=sa.Text, existing_type=sa.String(50))


def downgrade() -> None:
    op.alter_column("users", "city", type_=sa.String(50), existing_type=sa.Text)
