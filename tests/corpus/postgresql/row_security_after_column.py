# expect: row-security-without-policy breaks-old-code
"""The statement before has taken the lock already."""

from alembic import op

revision = "row_security_after_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders ADD COLUMN tenant integer")
    op.execute("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.execute("ALTER TABLE orders DISABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE orders DROP COLUMN tenant")
