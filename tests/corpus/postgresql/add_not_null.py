# expect: add-not-null-column fails
"""NOT NULL without a default."""

import sqlalchemy as sa
from alembic import op

revision = "add_not_null"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("phone", sa.String(20), nullable=False))


def downgrade() -> None:
    op.drop_column("users", "phone")
