# expect: rows-one-by-one blocks
"""A loop all the same."""

import sqlalchemy as sa
from alembic import op

revision = "rows_in_comprehension"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    rows = op.get_bind().execute(sa.text("SELECT id FROM users")).fetchall()
    sent = sa.text("UPDATE users SET name = 'x' WHERE id = :id")
    [op.get_bind().execute(sent, {"id": row.id}) for row in rows]


def downgrade() -> None:
    pass
