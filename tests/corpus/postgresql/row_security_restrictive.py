# expect: row-security breaks-old-code
"""One policy lets everybody through, the other does not."""

from alembic import op

revision = "row_security_restrictive"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE POLICY everyone ON users USING (true)")
    op.execute(
        "CREATE POLICY own ON users AS RESTRICTIVE USING (id = current_setting('app.user')::int)"
    )
    op.execute("ALTER TABLE users ENABLE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.execute("ALTER TABLE users DISABLE ROW LEVEL SECURITY")
    op.execute("DROP POLICY own ON users")
    op.execute("DROP POLICY everyone ON users")
