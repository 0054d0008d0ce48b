# expect: backfill-with-lock blocks
"""The column's lock is held while all rows are written."""

import sqlalchemy as sa
from alembic import op

revision = "backfill_after_ddl"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("handle", sa.Text))
    op.execute("UPDATE users SET handle = lower(nick) WHERE handle IS NULL")


def downgrade() -> None:
    op.drop_column("users", "handle")
