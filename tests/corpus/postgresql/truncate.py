# expect: truncate data-loss
"""Nothing is left, and nobody may look."""

from alembic import op

revision = "truncate"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("TRUNCATE settings")


def downgrade() -> None:
    pass
