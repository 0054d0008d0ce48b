# expect: set-not-null-scan blocks
"""Every row is read under the strongest lock."""

from alembic import op

revision = "set_not_null"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "name", nullable=False)


def downgrade() -> None:
    op.alter_column("users", "name", nullable=True)
