# expect: disable-trigger breaks-old-code
"""What it kept right is not kept any more."""

from alembic import op

revision = "disable_trigger"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users DISABLE TRIGGER users_touch")


def downgrade() -> None:
    op.execute("ALTER TABLE users ENABLE TRIGGER users_touch")
