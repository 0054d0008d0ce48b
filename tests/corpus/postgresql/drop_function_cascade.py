# expect: drop-function breaks-old-code
"""The trigger that needs it goes, too, and nobody sees it."""

from alembic import op

revision = "drop_function_cascade"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP FUNCTION touch() CASCADE")


def downgrade() -> None:
    op.execute("SELECT 1")
