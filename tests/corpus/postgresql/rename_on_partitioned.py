# expect: rename-column breaks-old-code
"""Said once, of the parent."""

from alembic import op

revision = "rename_on_partitioned"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE visits RENAME COLUMN user_id TO visitor_id")


def downgrade() -> None:
    op.execute("ALTER TABLE visits RENAME COLUMN visitor_id TO user_id")
