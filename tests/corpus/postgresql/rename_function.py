# expect: rename-function breaks-old-code
"""Code that calls it by its name fails."""

from alembic import op

revision = "rename_function"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER FUNCTION touch() RENAME TO touched")


def downgrade() -> None:
    op.execute("ALTER FUNCTION touched() RENAME TO touch")
