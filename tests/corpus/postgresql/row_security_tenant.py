# expect: row-security breaks-old-code
"""Running code does not say whose rows it wants."""

from alembic import op

revision = "row_security_tenant"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE orders FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY p ON orders USING (user_id = current_setting('app.user')::int)")


def downgrade() -> None:
    op.execute("DROP POLICY p ON orders")
    op.execute("ALTER TABLE orders NO FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE orders DISABLE ROW LEVEL SECURITY")
