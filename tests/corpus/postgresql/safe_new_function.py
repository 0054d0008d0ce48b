# expect: nothing
"""Nobody calls it yet."""

from alembic import op

revision = "safe_new_function"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n'")


def downgrade() -> None:
    op.execute("DROP FUNCTION twice(int)")
