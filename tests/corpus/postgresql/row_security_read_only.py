# expect: row-security breaks-old-code
"""All may read, nobody may write."""

from alembic import op

revision = "row_security_read_only"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY readers ON orders FOR SELECT USING (true)")


def downgrade() -> None:
    op.execute("DROP POLICY readers ON orders")
    op.execute("ALTER TABLE orders DISABLE ROW LEVEL SECURITY")
