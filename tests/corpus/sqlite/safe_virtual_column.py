# expect: nothing
"""Computed when it is read."""

from alembic import op

revision = "safe_virtual_column"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN loud TEXT GENERATED ALWAYS AS (upper(name)) VIRTUAL")


def downgrade() -> None:
    op.execute("ALTER TABLE users DROP COLUMN loud")
