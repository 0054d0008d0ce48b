# expect: nothing
"""One row, and a batch that leaves out what others hold."""

from alembic import op

revision = "safe_rows_for_update"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SELECT id FROM users WHERE id = 2 FOR UPDATE")
    op.execute("SELECT id FROM orders ORDER BY id LIMIT 10 OFFSET 50 FOR UPDATE SKIP LOCKED")


def downgrade() -> None:
    pass
