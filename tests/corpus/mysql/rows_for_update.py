# expect: rows-held blocks
"""Nothing is changed, and every writer waits until COMMIT."""

from alembic import op

revision = "rows_for_update"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SELECT id FROM users FOR UPDATE")


def downgrade() -> None:
    pass
