# expect: drop-trigger breaks-old-code
"""What it did for code that still runs is not done."""

from alembic import op

revision = "drop_trigger"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP TRIGGER users_touch ON users")


def downgrade() -> None:
    op.execute(
        "CREATE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch()"
    )
