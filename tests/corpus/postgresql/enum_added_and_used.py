# expect: enum-value-in-transaction fails
"""Not before the COMMIT."""

from alembic import op

revision = "enum_added_and_used"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE status ADD VALUE 'lost'")
    op.execute("UPDATE orders SET status = 'lost' WHERE id = 7")


def downgrade() -> None:
    op.execute("UPDATE orders SET status = 'sent' WHERE status = 'lost'")
