# expect: sequence-restarts breaks-old-code
"""Numbers go down again, to those that rows have."""

from alembic import op

revision = "sequence_backwards"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER SEQUENCE tickets_number_seq INCREMENT BY -1")


def downgrade() -> None:
    op.execute("ALTER SEQUENCE tickets_number_seq INCREMENT BY 1")
