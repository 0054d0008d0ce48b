# expect: drop-view breaks-old-code
"""Old code reads it."""

from alembic import op

revision = "drop_materialized_view"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP MATERIALIZED VIEW order_counts")


def downgrade() -> None:
    op.execute(
        "CREATE MATERIALIZED VIEW order_counts AS"
        " SELECT user_id, count(*) FROM orders GROUP BY user_id"
    )
    op.execute("CREATE UNIQUE INDEX ix_order_counts ON order_counts (user_id)")
