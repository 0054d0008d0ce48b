# expect: nothing
"""Rows by their names, in the forms that people write."""

import sqlalchemy as sa
from alembic import op

revision = "safe_rows_by_name"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    users = sa.table("users", sa.column("id", sa.Integer), sa.column("city", sa.Text))
    op.execute(users.update().where(users.c.id.in_([1, 2, 3])).values(city="Bonn"))
    op.execute(
        "INSERT INTO settings SELECT 'a', 'b'"
        " WHERE NOT EXISTS (SELECT 1 FROM settings WHERE key = 'a')"
    )


def downgrade() -> None:
    pass
