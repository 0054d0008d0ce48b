# expect: table-copy blocks
"""Text becomes wider by another encoding."""

from alembic import op

revision = "table_charset"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users CONVERT TO CHARACTER SET latin1")


def downgrade() -> None:
    op.execute("ALTER TABLE users CONVERT TO CHARACTER SET utf8mb4")
