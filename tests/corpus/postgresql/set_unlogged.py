# expect: set-unlogged data-loss
"""Writes the table again, and a crash empties it."""

from alembic import op

revision = "set_unlogged"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE settings SET UNLOGGED")


def downgrade() -> None:
    op.execute("ALTER TABLE settings SET LOGGED")
