# expect: drop-extension breaks-old-code
"""With everything that is made of it."""

from alembic import op

revision = "drop_extension"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP EXTENSION plpgsql CASCADE")


def downgrade() -> None:
    op.execute("CREATE EXTENSION plpgsql")
