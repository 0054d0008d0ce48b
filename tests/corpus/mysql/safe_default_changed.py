# expect: nothing
"""For rows to come."""

from alembic import op

revision = "safe_default_changed"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders ALTER COLUMN state SET DEFAULT 'open'")


def downgrade() -> None:
    op.execute("ALTER TABLE orders ALTER COLUMN state SET DEFAULT 'new'")
