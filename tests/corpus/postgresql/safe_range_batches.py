# expect: nothing
"""Ranges with two ends."""

import sqlalchemy as sa
from alembic import op

revision = "safe_range_batches"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for start in range(0, 3000, 1000):
        op.get_bind().execute(
            sa.text(
                "UPDATE users SET city = 'Ulm' WHERE city IS NULL AND id >= :low AND id < :high"
            ),
            {"low": start, "high": start + 1000},
        )


def downgrade() -> None:
    pass
