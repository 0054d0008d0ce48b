# expect: view-loses-index breaks-old-code
"""The index went with the view that it was on."""

from alembic import op

revision = "materialized_view_made_again"
down_revision = "before"
branch_labels = None
depends_on = None

VIEW = "CREATE MATERIALIZED VIEW order_counts AS SELECT user_id, count(*) FROM orders GROUP BY 1"


def upgrade() -> None:
    op.execute("DROP MATERIALIZED VIEW order_counts")
    op.execute(VIEW)


def downgrade() -> None:
    op.execute("DROP MATERIALIZED VIEW order_counts")
    op.execute(VIEW)
    op.execute("CREATE UNIQUE INDEX ix_order_counts ON order_counts (user_id)")
