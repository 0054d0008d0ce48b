# expect: nothing
"""Filled and indexed beside the old one, which others read meanwhile."""

from alembic import op

revision = "safe_materialized_view_swapped"
down_revision = "before"
branch_labels = None
depends_on = None


def swap(columns: str) -> None:
    op.execute(
        f"CREATE MATERIALIZED VIEW new_counts AS SELECT {columns} FROM orders GROUP BY user_id"
    )
    op.execute("CREATE UNIQUE INDEX ix_new_counts ON new_counts (user_id)")
    op.execute("DROP MATERIALIZED VIEW order_counts")
    op.execute("ALTER MATERIALIZED VIEW new_counts RENAME TO order_counts")
    op.execute("ALTER INDEX ix_new_counts RENAME TO ix_order_counts")


def upgrade() -> None:
    swap("user_id, count(*), sum(total) AS total")


def downgrade() -> None:
    swap("user_id, count(*)")
