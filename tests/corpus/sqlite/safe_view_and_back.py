# expect: nothing
"""A view that is there only meanwhile."""

from alembic import op

revision = "safe_view_and_back"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE VIEW lately AS SELECT id FROM orders")
    op.execute("DROP VIEW lately")


def downgrade() -> None:
    op.execute("SELECT 1")
