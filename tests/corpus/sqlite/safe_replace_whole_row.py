# expect: nothing
"""With all that the row has."""

from alembic import op

revision = "safe_replace_whole_row"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("INSERT OR REPLACE INTO notes (id, t) VALUES (1, 'x')")


def downgrade() -> None:
    op.execute("SELECT 1")
