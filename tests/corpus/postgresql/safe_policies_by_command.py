# expect: nothing
"""One for each command."""

from alembic import op

revision = "safe_policies_by_command"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE POLICY see ON orders FOR SELECT USING (true)")
    op.execute("CREATE POLICY add ON orders FOR INSERT WITH CHECK (true)")
    op.execute("CREATE POLICY edit ON orders FOR UPDATE USING (true) WITH CHECK (true)")
    op.execute("CREATE POLICY remove ON orders FOR DELETE USING (true)")
    op.execute("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.execute("ALTER TABLE orders DISABLE ROW LEVEL SECURITY")
    op.execute("DROP POLICY remove ON orders")
    op.execute("DROP POLICY edit ON orders")
    op.execute("DROP POLICY add ON orders")
    op.execute("DROP POLICY see ON orders")
