# expect: batches-in-one-transaction blocks
"""Batches that never commit."""

import sqlalchemy as sa
from alembic import op

revision = "batches_together"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    conn = op.get_bind()
    last = 0
    while True:
        rows = (
            conn.execute(
                sa.text("SELECT id FROM users WHERE id > :last ORDER BY id LIMIT 100"),
                {"last": last},
            )
            .scalars()
            .all()
        )
        if not rows:
            break
        conn.execute(
            sa.text("UPDATE users SET nick = lower(nick) WHERE id = ANY(:ids)"), {"ids": rows}
        )
        last = rows[-1]


def downgrade() -> None:
    pass
