# expect: backfill-not-batched blocks, delete-rows data-loss
"""All rows of years, in one transaction."""

from alembic import op

revision = "delete_old_rows"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM orders WHERE placed < now() - interval '2 years'")


def downgrade() -> None:
    pass
