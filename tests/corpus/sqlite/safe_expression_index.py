# expect: nothing
"""An index over an expression."""

from alembic import op

revision = "safe_expression_index"
down_revision = "before"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX ix_users_lower ON users (lower(email))")


def downgrade() -> None:
    op.drop_index("ix_users_lower", "users")
