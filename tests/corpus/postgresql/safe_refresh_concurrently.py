# expect: nothing
"""Readers go on."""

from alembic import op

revision = "safe_refresh_concurrently"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY order_counts")


def downgrade() -> None:
    pass
