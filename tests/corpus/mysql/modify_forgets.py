# expect: drop-default breaks-old-code
"""A longer text; what MODIFY does not name is gone: the default, and NOT NULL with it."""

from alembic import op

revision = "modify_forgets"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders MODIFY state VARCHAR(12)")


def downgrade() -> None:
    op.execute("ALTER TABLE orders MODIFY state VARCHAR(10) NOT NULL DEFAULT 'new'")
