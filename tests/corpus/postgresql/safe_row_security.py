# expect: nothing
from alembic import op

revision = "safe_row_security"
down_revision = "before"


def upgrade() -> None:
    op.execute("CREATE POLICY everyone ON orders USING (true)")
    op.execute("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.execute("ALTER TABLE orders DISABLE ROW LEVEL SECURITY")
    op.execute("DROP POLICY everyone ON orders")
