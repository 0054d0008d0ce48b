# expect: nothing
"""Only the schema's text changes."""

import sqlalchemy as sa
from alembic import op

revision = "safe_add_nullable"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("extra", sa.Integer))


def downgrade() -> None:
    op.drop_column("users", "extra")
