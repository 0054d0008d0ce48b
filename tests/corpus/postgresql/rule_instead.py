# expect: rule-instead breaks-old-code
"""What is inserted is thrown away."""

from alembic import op

revision = "rule_instead"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE RULE no_ins AS ON INSERT TO users DO INSTEAD NOTHING")


def downgrade() -> None:
    op.execute("DROP RULE no_ins ON users")
