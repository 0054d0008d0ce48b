# expect: sequence-maximum fails
"""Rows have greater numbers."""

from alembic import op

revision = "sequence_maximum"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER SEQUENCE tickets_number_seq MAXVALUE 100")


def downgrade() -> None:
    op.execute("ALTER SEQUENCE tickets_number_seq NO MAXVALUE")
