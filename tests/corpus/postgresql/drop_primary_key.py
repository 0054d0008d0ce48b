# expect: drop-unique breaks-old-code
"""Rows cannot be told apart."""

from alembic import op

revision = "drop_primary_key"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE settings DROP CONSTRAINT settings_pkey")


def downgrade() -> None:
    op.execute("ALTER TABLE settings ADD PRIMARY KEY (key)")
