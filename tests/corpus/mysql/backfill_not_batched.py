# expect: backfill-not-batched blocks
"""The same, for all that have none."""

from alembic import op

revision = "backfill_not_batched"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE users SET nick = name WHERE nick IS NULL")


def downgrade() -> None:
    """Nothing to undo."""
