# expect: type-change-loses data-loss, type-change-rewrite blocks
"""Fractions of a second are gone."""

from alembic import op

revision = "type_timestamp_precision"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN joined TYPE timestamp(0)")


def downgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN joined TYPE timestamp")
