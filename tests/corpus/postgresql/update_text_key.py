# expect: update-all-rows blocks
"""The batches walk a key of text."""

from alembic import op

revision = "update_text_key"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE settings SET value = lower(value)")


def downgrade() -> None:
    pass
