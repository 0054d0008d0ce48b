# expect: rename-column breaks-old-code
"""Old code asks for both."""

from alembic import op

revision = "rename_two_columns"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE notes RENAME COLUMN t TO body")
    op.execute("ALTER TABLE users RENAME COLUMN nick TO handle")


def downgrade() -> None:
    op.execute("ALTER TABLE users RENAME COLUMN handle TO nick")
    op.execute("ALTER TABLE notes RENAME COLUMN body TO t")
