# expect: nothing
"""Not used there."""

from alembic import op

revision = "safe_enum_value_in_transaction"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE status ADD VALUE IF NOT EXISTS 'lost'")


def downgrade() -> None:
    pass
