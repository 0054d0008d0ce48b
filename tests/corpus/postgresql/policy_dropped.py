# expect: row-security breaks-old-code
"""Row level security stays on: without a policy there are no rows."""

from alembic import op

revision = "policy_dropped"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP POLICY letters_all ON archive.letters")


def downgrade() -> None:
    op.execute("CREATE POLICY letters_all ON archive.letters USING (true)")
