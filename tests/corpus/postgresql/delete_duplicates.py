# expect: backfill-not-batched blocks, delete-rows data-loss
"""A table joined with itself."""

from alembic import op

revision = "delete_duplicates"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM users a USING users b WHERE a.id < b.id AND a.nick = b.nick")


def downgrade() -> None:
    pass
