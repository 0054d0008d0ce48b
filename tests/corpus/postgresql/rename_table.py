# expect: rename-table breaks-old-code
"""Old code names the old table."""

from alembic import op

revision = "rename_table"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.rename_table("settings", "preferences")


def downgrade() -> None:
    op.rename_table("preferences", "settings")
