# expect: trigger-refuses breaks-old-code
"""A table that is to be left alone, while code still writes to it."""

from alembic import op

revision = "trigger_refuses"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TRIGGER users_stop BEFORE UPDATE ON users FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'read only'"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER users_stop")
