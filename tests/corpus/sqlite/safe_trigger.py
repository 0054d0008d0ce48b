# expect: nothing
"""It refuses what nobody writes."""

from alembic import op

revision = "safe_trigger"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TRIGGER users_look BEFORE UPDATE ON users WHEN NEW.age < -1 BEGIN SELECT RAISE(ABORT, 'age'); END"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER users_look")
