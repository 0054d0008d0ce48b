# expect: disable-trigger breaks-old-code
"""In the sessions of an application it is as if it were off."""

from alembic import op

revision = "trigger_for_replication_only"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ENABLE REPLICA TRIGGER users_touch")


def downgrade() -> None:
    op.execute("ALTER TABLE users ENABLE TRIGGER users_touch")
