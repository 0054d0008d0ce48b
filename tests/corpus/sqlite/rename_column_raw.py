# expect: rename-column breaks-old-code
"""Old code asks for the old name."""

from alembic import op

revision = "rename_column_raw"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users RENAME COLUMN name TO full_name")


def downgrade() -> None:
    op.execute("ALTER TABLE users RENAME COLUMN full_name TO name")
