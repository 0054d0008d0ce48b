# expect: check-scan blocks
"""The CHECK comes with the column, and all rows are read for it."""

from alembic import op

revision = "check_in_add_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN rank int CHECK (rank > 0)")


def downgrade() -> None:
    op.execute("ALTER TABLE users DROP COLUMN rank")
