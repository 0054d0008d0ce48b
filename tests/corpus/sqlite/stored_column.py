# expect: add-column-refused fails
"""SQLite adds no stored column."""

from alembic import op

revision = "stored_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN loud TEXT GENERATED ALWAYS AS (upper(name)) STORED")


def downgrade() -> None:
    op.execute("SELECT 1")
