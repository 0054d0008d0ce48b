# expect: nothing
"""Within 255 bytes the rows stay as they are."""

from alembic import op

revision = "safe_varchar_wider"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users MODIFY nick VARCHAR(60)")


def downgrade() -> None:
    op.execute("ALTER TABLE users MODIFY nick VARCHAR(20)")
