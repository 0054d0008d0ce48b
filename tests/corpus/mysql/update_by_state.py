# expect: nothing
"""A part of the rows."""

from alembic import op

revision = "update_by_state"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE orders SET state = 'open' WHERE state = 'new'")


def downgrade() -> None:
    op.execute("UPDATE orders SET state = 'new' WHERE state = 'open'")
