# expect: drop-column data-loss
"""Without a copy, and without a way back."""

from alembic import op

revision = "drop_two_columns"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users DROP COLUMN nick")
    op.execute("ALTER TABLE users DROP COLUMN bio")


def downgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN nick VARCHAR(20)")
    op.execute("ALTER TABLE users ADD COLUMN bio TEXT")
