# expect: explicit-lock brief-lock
"""Held until COMMIT."""

from alembic import op

revision = "lock_table"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")


def downgrade() -> None:
    pass
