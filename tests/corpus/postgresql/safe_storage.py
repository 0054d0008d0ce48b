# expect: nothing
"""How large values are kept, from now on."""

from alembic import op

revision = "safe_storage"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN name SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN name SET STORAGE EXTENDED")
