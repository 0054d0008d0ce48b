# expect: backfill-not-batched blocks
"""The rows that do not have a value are most of them."""

from alembic import op

revision = "update_all_but_a_value"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE users SET city = 'Köln' WHERE city <> 'Köln'")


def downgrade() -> None:
    pass
