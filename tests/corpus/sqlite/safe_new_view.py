# expect: nothing
"""A view hides nothing."""

from alembic import op

revision = "safe_new_view"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE VIEW open_orders AS SELECT id FROM orders WHERE state = 'new'")


def downgrade() -> None:
    op.execute("DROP VIEW open_orders")
