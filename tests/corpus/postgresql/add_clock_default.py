# expect: add-column-rewrite blocks
"""clock_timestamp() is volatile, now() is not."""

from alembic import op

revision = "add_clock_default"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders ADD COLUMN seen timestamptz DEFAULT clock_timestamp()")


def downgrade() -> None:
    op.execute("ALTER TABLE orders DROP COLUMN seen")
