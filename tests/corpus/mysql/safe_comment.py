# expect: nothing
"""A word about a table."""

from alembic import op

revision = "safe_comment"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders COMMENT = 'what was bought'")


def downgrade() -> None:
    op.execute("ALTER TABLE orders COMMENT = ''")
