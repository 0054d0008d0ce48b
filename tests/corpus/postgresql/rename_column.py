# expect: rename-column breaks-old-code
"""Old code names the old column."""

from alembic import op

revision = "rename_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "nick", new_column_name="nickname")


def downgrade() -> None:
    op.alter_column("users", "nickname", new_column_name="nick")
