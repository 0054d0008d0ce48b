# expect: update-all-rows blocks
"""Every row is locked until the end."""

from alembic import op

revision = "update_all_rows"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE users SET nick = lower(nick)")


def downgrade() -> None:
    pass
