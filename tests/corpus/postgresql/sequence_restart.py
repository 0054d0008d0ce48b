# expect: sequence-restarts breaks-old-code
"""Inserts give numbers that rows have."""

from alembic import op

revision = "sequence_restart"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER SEQUENCE users_id_seq RESTART WITH 1")


def downgrade() -> None:
    pass
