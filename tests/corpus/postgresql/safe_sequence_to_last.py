# expect: nothing
"""The number comes from the rows."""

from alembic import op

revision = "safe_sequence_to_last"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SELECT setval('users_id_seq', (SELECT coalesce(max(id), 1) FROM users))")


def downgrade() -> None:
    pass
