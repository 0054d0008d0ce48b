# expect: unique-scan blocks
"""The index is built under the strongest lock."""

from alembic import op

revision = "unique_in_add_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN slug text UNIQUE")


def downgrade() -> None:
    op.execute("ALTER TABLE users DROP COLUMN slug")
