# expect: add-not-null-column fails
"""Works as long as there is no row."""

import sqlalchemy as sa
from alembic import op

revision = "add_not_null"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("size", sa.Integer, nullable=False))


def downgrade() -> None:
    op.drop_column("users", "size")
