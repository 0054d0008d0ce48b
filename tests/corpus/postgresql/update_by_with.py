# expect: backfill-not-batched blocks
"""The rows are chosen before."""

from alembic import op

revision = "update_by_with"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "WITH grown AS (SELECT id FROM users WHERE age < 18) UPDATE users SET city = 'x' FROM grown WHERE grown.id = users.id"
    )


def downgrade() -> None:
    pass
