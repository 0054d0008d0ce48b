# expect: table-copy blocks
"""All strings are written in another encoding."""

from alembic import op

revision = "charset"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users MODIFY name VARCHAR(20) CHARACTER SET latin1")


def downgrade() -> None:
    op.execute("ALTER TABLE users MODIFY name VARCHAR(20) CHARACTER SET utf8mb4")
