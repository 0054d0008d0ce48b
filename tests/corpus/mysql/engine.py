# expect: nothing
"""Builds the table anew."""

from alembic import op

revision = "engine"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders ENGINE = InnoDB")


def downgrade() -> None:
    op.execute("SELECT 1")
