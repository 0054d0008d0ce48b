# expect: row-security breaks-old-code
"""The policy lets fewer rows through."""

from alembic import op

revision = "policy_narrower"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER POLICY letters_all ON archive.letters USING (id > 1)")


def downgrade() -> None:
    op.execute("ALTER POLICY letters_all ON archive.letters USING (true)")
