# expect: rename-table breaks-old-code
"""A view has readers, too."""

from alembic import op

revision = "view_renamed"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER VIEW active_users RENAME TO live_users")


def downgrade() -> None:
    op.execute("ALTER VIEW live_users RENAME TO active_users")
