# expect: rename-column breaks-old-code
"""The column is the primary key."""

from alembic import op

revision = "rename_key_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE settings RENAME COLUMN key TO name")


def downgrade() -> None:
    op.execute("ALTER TABLE settings RENAME COLUMN name TO key")
