# expect: nothing
"""now() is one value for the whole statement."""

from alembic import op

revision = "safe_add_now_default"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ADD COLUMN seen timestamptz NOT NULL DEFAULT now()")


def downgrade() -> None:
    op.drop_column("users", "seen")
