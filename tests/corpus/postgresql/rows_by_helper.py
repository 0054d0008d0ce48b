# expect: rows-one-by-one blocks
"""The loop stands in a function of the file."""

import sqlalchemy as sa
from alembic import op

revision = "rows_by_helper"
down_revision = "before"
branch_labels = None
depends_on = None


def fill() -> None:
    bind = op.get_bind()
    for row in bind.execute(sa.text("SELECT id FROM users ORDER BY id")).fetchall():
        bind.execute(sa.text("UPDATE users SET name = 'x' WHERE id = :id"), {"id": row.id})


def upgrade() -> None:
    fill()


def downgrade() -> None:
    pass
