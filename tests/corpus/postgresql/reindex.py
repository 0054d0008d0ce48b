# expect: reindex blocks
"""Builds the indexes while writers wait."""

from alembic import op

revision = "reindex"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("REINDEX TABLE users")


def downgrade() -> None:
    pass
