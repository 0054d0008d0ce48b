# expect: values-removed data-loss
"""Values are gone."""

from alembic import op

revision = "update_to_null"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE users SET nick = NULL")


def downgrade() -> None:
    op.execute("SELECT 1")
