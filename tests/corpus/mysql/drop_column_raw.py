# expect: drop-column data-loss
"""The same in SQL."""

from alembic import op

revision = "drop_column_raw"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE `users` DROP `nick`")


def downgrade() -> None:
    op.execute("ALTER TABLE users ADD nick VARCHAR(20)")
