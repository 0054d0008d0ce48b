# expect: explicit-lock brief-lock
"""Nobody writes until UNLOCK."""

from alembic import op

revision = "lock_tables"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("LOCK TABLES users WRITE")
    op.execute("ALTER TABLE users ALTER COLUMN age SET DEFAULT 1")
    op.execute("UNLOCK TABLES")


def downgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN age DROP DEFAULT")
