# expect: refresh-materialized-view blocks
"""Readers wait until it is computed."""

from alembic import op

revision = "refresh_view"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("REFRESH MATERIALIZED VIEW order_counts")


def downgrade() -> None:
    pass
