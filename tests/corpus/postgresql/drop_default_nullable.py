# expect: drop-default breaks-old-code
"""Old code that leaves it out gets NULL."""

from alembic import op

revision = "drop_default_nullable"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN joined DROP DEFAULT")


def downgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN joined SET DEFAULT now()")
