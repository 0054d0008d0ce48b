# expect: nothing
"""For rows to come."""

from alembic import op

revision = "safe_fillfactor"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users SET (fillfactor = 80)")


def downgrade() -> None:
    op.execute("ALTER TABLE users RESET (fillfactor)")
