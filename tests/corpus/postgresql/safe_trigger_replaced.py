# expect: nothing
"""Another comes in its place."""

from alembic import op

revision = "safe_trigger_replaced"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP TRIGGER users_touch ON users")
    op.execute(
        "CREATE TRIGGER users_touch BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER users_touch ON users")
    op.execute(
        "CREATE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch()"
    )
