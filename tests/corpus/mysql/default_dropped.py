# expect: drop-default breaks-old-code
"""Old code leaves the column out."""

from alembic import op

revision = "default_dropped"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders ALTER COLUMN state DROP DEFAULT")


def downgrade() -> None:
    op.execute("ALTER TABLE orders ALTER COLUMN state SET DEFAULT 'new'")
