# expect: vacuum blocks
"""Writes the whole file anew."""

from alembic import op

revision = "vacuum"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("VACUUM")


def downgrade() -> None:
    op.execute("SELECT 1")
