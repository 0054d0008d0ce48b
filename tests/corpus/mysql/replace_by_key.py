# expect: replace-row data-loss
"""Puts one row in the place of another."""

from alembic import op

revision = "replace_by_key"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("REPLACE INTO orders (id, total) VALUES (1, 9)")


def downgrade() -> None:
    op.execute("SELECT 1")
