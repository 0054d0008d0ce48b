# expect: update-all-rows blocks
"""The batches walk a key of two columns, through partitions."""

from alembic import op

revision = "update_composite_key"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE visits SET user_id = 2")


def downgrade() -> None:
    pass
