# expect: truncate data-loss
"""Committed at once."""

from alembic import op

revision = "truncate"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("TRUNCATE TABLE orders")


def downgrade() -> None:
    pass
