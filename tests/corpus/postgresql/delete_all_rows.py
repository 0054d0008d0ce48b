# expect: delete-all-rows data-loss
"""Nothing is left."""

from alembic import op

revision = "delete_all_rows"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM settings")


def downgrade() -> None:
    pass
