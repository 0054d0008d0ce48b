# expect: sequence-restarts breaks-old-code
"""The same by a function."""

from alembic import op

revision = "sequence_setval"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SELECT setval('users_id_seq', 1)")


def downgrade() -> None:
    pass
