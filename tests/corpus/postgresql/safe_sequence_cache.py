# expect: nothing
"""More numbers at a time."""

from alembic import op

revision = "safe_sequence_cache"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER SEQUENCE users_id_seq CACHE 20")


def downgrade() -> None:
    op.execute("ALTER SEQUENCE users_id_seq CACHE 1")
