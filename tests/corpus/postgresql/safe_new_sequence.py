# expect: nothing
"""Nobody uses it yet."""

from alembic import op

revision = "safe_new_sequence"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SEQUENCE invoice_numbers")


def downgrade() -> None:
    op.execute("DROP SEQUENCE invoice_numbers")
