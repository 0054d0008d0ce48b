# expect: nothing
"""A row by its key."""

import sqlalchemy as sa
from alembic import op

revision = "safe_one_row"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("INSERT INTO settings (key, value) VALUES ('theme', 'dark')")
    op.execute("UPDATE settings SET value = 'light' WHERE key = 'theme'")
    op.execute(sa.text("DELETE FROM settings WHERE key = :key").bindparams(key="theme"))


def downgrade() -> None:
    pass
