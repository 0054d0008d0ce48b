# expect: nothing
"""Rows of its own."""

from alembic import op

revision = "insert_rows"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("INSERT INTO users (id, email) VALUES (50, 'x@x')")


def downgrade() -> None:
    op.execute("DELETE FROM users WHERE id = 50")
