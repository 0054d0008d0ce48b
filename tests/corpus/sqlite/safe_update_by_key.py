# expect: nothing
"""One row."""

from alembic import op

revision = "safe_update_by_key"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE users SET nick = 'ad' WHERE id = 1")


def downgrade() -> None:
    op.execute("UPDATE users SET nick = 'ad' WHERE id = 1")
