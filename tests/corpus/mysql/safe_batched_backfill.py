# expect: nothing
"""Along the key, some rows at a time."""

import sqlalchemy as sa
from alembic import op

revision = "safe_batched_backfill"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for start in range(0, 3000, 1000):
            op.execute(
                sa.text(
                    "UPDATE users SET nick = name WHERE nick IS NULL AND id BETWEEN :a AND :b"
                ).bindparams(a=start, b=start + 999)
            )


def downgrade() -> None:
    """Nothing to undo."""
