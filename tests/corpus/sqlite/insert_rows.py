# expect: nothing
"""Rows of its own."""

from alembic import op

revision = "insert_rows"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("INSERT INTO notes (id, t) VALUES (50, 'hello')")


def downgrade() -> None:
    op.execute("DELETE FROM notes WHERE id = 50")
